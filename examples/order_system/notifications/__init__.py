"""Notifications: tells every customer what became of the order, once."""
