"""Idempotency: deduplicate commands by key."""
