"""Fencing numbers: one row that only ever rises, whatever becomes of the keys and locks that were given one."""

from __future__ import annotations

import sqlite3
from typing import Final

_NEXT: Final = "UPDATE catga_fence SET value = value + 1 RETURNING value"


def next_fencing_token(connection: sqlite3.Connection) -> int:
    """Return a number higher than every one before; in a transaction that writes."""
    # fetchall, because an UPDATE is finished only when its rows have been read to the end.
    [(value,)] = connection.execute(_NEXT).fetchall()
    return int(value)
