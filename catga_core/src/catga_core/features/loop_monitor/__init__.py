"""Warns of handlers that block the event loop."""
