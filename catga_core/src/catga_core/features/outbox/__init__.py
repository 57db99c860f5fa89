"""Outbox: events stored with a unit of work and relayed after its commit."""
