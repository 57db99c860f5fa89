"""Counters of idempotent commands, for `health()`."""

from __future__ import annotations

import msgspec


class IdempotencyCounters(msgspec.Struct):
    """Counts since the container was built.

    Args:
        repeated_commands: Commands that were answered with a recorded result.
    """

    repeated_commands: int = 0
