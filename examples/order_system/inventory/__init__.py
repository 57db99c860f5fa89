"""Inventory: knows the products, their prices and how many there are."""
