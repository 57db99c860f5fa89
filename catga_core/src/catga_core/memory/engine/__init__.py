"""The engine below the in-memory stores: tables with isolation."""
