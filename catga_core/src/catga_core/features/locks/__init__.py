"""Named locks across processes."""
