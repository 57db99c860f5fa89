"""Orders: decides what becomes of an order, with the help of inventory and payments."""
