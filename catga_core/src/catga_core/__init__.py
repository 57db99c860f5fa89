"""Catga: commands, queries and events, in one process or over a message bus."""
