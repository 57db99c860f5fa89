"""Validation: declared types, constraints and registered validators."""
