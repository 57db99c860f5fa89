"""The kit of durable messaging: events delivered at least once, and enqueued commands."""
