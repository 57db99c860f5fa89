"""Dependency injection: registration, resolution, scopes, overrides and the graph."""
