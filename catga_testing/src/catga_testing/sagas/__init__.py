"""Tools to test sagas: crash exploration, given/when/then, replay checks, determinism."""
