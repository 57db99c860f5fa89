"""How long the kit waits for what."""

PATIENCE = 15.0
"""Seconds after which the kit gives up: no test may hang."""

DEADLINE = 10.0
"""Seconds that a request of the kit has, where a test says nothing else."""

SOON = 2.0
"""Seconds within which "at once" has to happen, also on a busy machine."""
