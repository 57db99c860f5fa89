"""Inbox: deduplicate events by message id and handler."""
