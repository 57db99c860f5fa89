"""Kinds of events: name, version and format are kept once, and each event has their number.

The number is made of the three, not counted: it is the same in every file and after every rollback, so that what a thread has
read of it once holds for ever. A third of the time of reading an event was spent on these columns.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from typing import Final

from catga_core.interfaces.event_log import EventKind

_KEEP: Final = (
    "INSERT INTO catga_event_kinds VALUES (?, ?, ?, ?) ON CONFLICT (name, schema_version, format) DO NOTHING"
)
_ALL: Final = "SELECT id, name, schema_version, format FROM catga_event_kinds"

_read: dict[int, EventKind] = {}


def number_of(kind: EventKind) -> int:
    """Return the number of a kind: 64 bits of a hash of it, so that no two are ever likely to have the same."""
    text = "\0".join(map(str, kind))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)


def keep_kind(connection: sqlite3.Connection, kind: EventKind) -> int:
    """Write a kind down where it is not known yet, and return its number.

    Args:
        connection: In a transaction.
        kind: What is to be known.

    Raises:
        sqlite3.IntegrityError: When another kind has its number.
    """
    number = number_of(kind)
    connection.execute(_KEEP, (number, *kind))
    return number


def known_kinds() -> Mapping[int, EventKind]:
    """Return what was read of kinds so far; one that is missing is to be had by `read_kinds`."""
    return _read


def read_kinds(connection: sqlite3.Connection) -> None:
    """Make every kind of a file known."""
    _read.update(
        (number, (name, version, format)) for number, name, version, format in connection.execute(_ALL)
    )
