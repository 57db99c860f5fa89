"""What is inside of the in-memory stores: rows, waiters, and who may write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from catga_core.memory.engine.table import Table
from catga_core.memory.stores import MemoryStorage
from catga_core.runtime import Waiter


def _slots(part: object) -> Iterator[tuple[str, Any]]:
    if isinstance(part, Table):
        yield "rows", part
    yield from getattr(part, "__dict__", {}).items()


def _parts(storage: MemoryStorage) -> Iterator[tuple[str, Any]]:
    for kind, part in storage._parts.items():
        for name, value in _slots(part):
            yield f"{kind.__name__}.{name}", value


def rows_of(storage: MemoryStorage) -> dict[str, Any]:
    """Return a copy of all that is committed and of all that a unit of work has left, by where it is.

    Numbers that only rise, and the heap of results to be looked at for expiry, are not taken back by a rollback.
    """
    found: dict[str, Any] = {"writer": storage.writer, "turn": storage._lock.locked()}
    for name, value in _parts(storage):
        if isinstance(value, Table):
            found[name] = dict(value._rows)
            found[f"{name} overlay"] = list(value._overlays)
        elif name == "_Log.events":
            found[name] = list(value)
        elif name == "_Log.committed":
            found[name] = value
        elif name == "_Log.streams":
            found[name] = {key: (list(each.events), dict(each.versions)) for key, each in value.items()}
        elif name == "_Held.leases":
            found[name] = dict(value)
    return found


def waiters_of(storage: MemoryStorage) -> list[Waiter]:
    """Return every waiter in a storage."""
    return [value for _, value in _parts(storage) if isinstance(value, Waiter)]


def waiting_in(storage: MemoryStorage) -> int:
    """Return how many tasks wait."""
    return sum(each.waiting for each in waiters_of(storage))
