"""Queues: events delivered at least once, and enqueued commands."""
