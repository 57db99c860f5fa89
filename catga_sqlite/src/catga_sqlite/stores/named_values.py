"""Named values in SQLite."""

from __future__ import annotations

import sqlite3
from typing import Final

from catga_core.interfaces.named_values import NamedValueConflictError, check_value
from catga_sqlite.storage import SqliteStorage

_GET: Final = "SELECT value FROM catga_named_values WHERE name = ?"
_LIST: Final = "SELECT name, value FROM catga_named_values"
_SET: Final = "INSERT OR REPLACE INTO catga_named_values VALUES (?, ?)"
_DELETE: Final = "DELETE FROM catga_named_values WHERE name = ?"


class SqliteNamedValueStore:
    """Keeps named values in the file.

    Args:
        storage: the file.
    """

    def __init__(self, storage: SqliteStorage) -> None:
        self._storage = storage

    async def get(self, name: str, /) -> int | None:
        """Return a value, `None` where there is none."""
        return await self._storage.read(_get, name)

    async def set(self, name: str, value: int, /) -> None:
        """Keep a value; joins the ambient unit of work."""
        check_value(value)
        await self._storage.write(_set, name, value)

    async def compare_and_set(self, name: str, value: int, /, *, expected: int | None) -> None:
        """Keep a value if another one is stored now; joins the ambient unit of work."""
        check_value(value)
        await self._storage.write(_compare_and_set, name, value, expected)

    async def delete(self, name: str, /) -> bool:
        """Remove a value; joins the ambient unit of work."""
        return await self._storage.write(_delete, name)

    async def list(self, prefix: str = "", /) -> dict[str, int]:
        """Return the values whose names begin with a prefix."""
        return await self._storage.read(_list, prefix)


def _get(connection: sqlite3.Connection, name: str) -> int | None:
    row = connection.execute(_GET, (name,)).fetchone()
    return None if row is None else int(row[0])


def _set(connection: sqlite3.Connection, name: str, value: int) -> None:
    connection.execute(_SET, (name, value))


def _compare_and_set(connection: sqlite3.Connection, name: str, value: int, expected: int | None) -> None:
    actual = _get(connection, name)
    if actual != expected:
        raise NamedValueConflictError(name, expected, actual)
    if actual != value:
        connection.execute(_SET, (name, value))


def _delete(connection: sqlite3.Connection, name: str) -> bool:
    return connection.execute(_DELETE, (name,)).rowcount > 0


def _list(connection: sqlite3.Connection, prefix: str) -> dict[str, int]:
    # Sorted and compared here: SQLite orders texts by their bytes, and LIKE knows wildcards.
    return dict(sorted((name, value) for name, value in connection.execute(_LIST) if name.startswith(prefix)))
