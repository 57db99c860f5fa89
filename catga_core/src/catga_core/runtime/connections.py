"""An application's own data in a unit of work: the storage's connection, by its type."""

from __future__ import annotations

from typing import TypeVar

from catga_core.errors import PersistenceError
from catga_core.interfaces.storage import UnitOfWork

C = TypeVar("C")


def connection_of(unit: UnitOfWork, kind: type[C]) -> C:
    """Return the connection of a unit of work, typed: write your own data with it, in the same transaction.

    Args:
        unit: What `app.unit_of_work()` or `storage.unit_of_work()` yields.
        kind: The connection's class: `MemoryConnection`, `SqliteConnection` or `RedisConnection`.

    Returns:
        `unit.connection`.

    Raises:
        PersistenceError: The storage gives a connection of another class, or the unit of work has ended.
    """
    found = unit.connection
    if isinstance(found, kind):
        return found
    actual = type(found).__name__
    msg = (
        f"The storage of this unit of work gives a {actual}; expected a {kind.__name__}. Ask for a {actual}, or configure "
        f"the store whose connection is a {kind.__name__}."
    )
    raise PersistenceError(msg, retryable=False)
