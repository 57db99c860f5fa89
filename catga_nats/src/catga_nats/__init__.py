"""NATS for Catga."""
