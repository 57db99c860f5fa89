"""Contract kits, fixtures and test tools for Catga."""
