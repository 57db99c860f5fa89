"""Units of work around handlers."""
