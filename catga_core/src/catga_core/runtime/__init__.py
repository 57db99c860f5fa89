"""Primitives that everything that runs is built from: leases, retries, scopes, units of work."""
