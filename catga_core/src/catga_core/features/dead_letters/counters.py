"""Counters of dead letters, for `health()`."""

from __future__ import annotations

import msgspec


class DeadLetterCounters(msgspec.Struct):
    """Counts since the container was built.

    Args:
        dead_letters: Dead letters that were written for failed event handlers.
        lost_dead_letters: Dead letters that could not be written.
    """

    dead_letters: int = 0
    lost_dead_letters: int = 0
