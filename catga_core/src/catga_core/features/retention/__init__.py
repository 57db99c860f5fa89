"""Removal of records whose retention has passed."""
