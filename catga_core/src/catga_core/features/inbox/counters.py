"""Counters of the inbox, for `health()`."""

from __future__ import annotations

import msgspec


class InboxCounters(msgspec.Struct):
    """Counts since the container was built.

    Args:
        skipped_duplicates: Events that a handler had received before.
    """

    skipped_duplicates: int = 0
