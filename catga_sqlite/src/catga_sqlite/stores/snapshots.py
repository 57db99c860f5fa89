"""Snapshots in SQLite."""

from __future__ import annotations

import sqlite3
from typing import Final

from catga_core.interfaces.snapshots import Snapshot
from catga_sqlite.storage import SqliteStorage

_SAVE: Final = (
    "INSERT OR REPLACE INTO catga_snapshots (stream_id, name, version, schema_version, format, taken_at, data) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_TRIM: Final = (
    "DELETE FROM catga_snapshots WHERE stream_id = ? AND name = ? AND version < ("
    "SELECT version FROM catga_snapshots WHERE stream_id = ? AND name = ? ORDER BY version DESC LIMIT 1 OFFSET ?)"
)
_LOAD: Final = (
    "SELECT version, format, data, taken_at FROM catga_snapshots WHERE stream_id = ? AND name = ? AND version <= ? "
    "AND schema_version = ? ORDER BY version DESC LIMIT 1"
)
_DELETE_ALL: Final = "DELETE FROM catga_snapshots WHERE stream_id = ?"
_DELETE: Final = f"{_DELETE_ALL} AND name = ?"
_LAST: Final = 2**63 - 1


class SqliteSnapshotStore:
    """States of streams in the file.

    Args:
        storage: The file.
    """

    def __init__(self, storage: SqliteStorage) -> None:
        self._storage = storage

    async def save(self, snapshot: Snapshot, /, *, keep: int = 1) -> None:
        """Keep a snapshot beside the newest others of the same stream and name; joins the ambient unit of work."""
        if keep < 1:
            msg = f"keep={keep}: at least one snapshot is kept"
            raise ValueError(msg)
        await self._storage.write(_save, snapshot, keep)

    async def load(
        self, stream_id: str, name: str, /, *, schema_version: int, max_version: int | None = None
    ) -> Snapshot | None:
        """Return the newest snapshot of a stream, `None` for none that fits."""
        highest = _LAST if max_version is None else max_version
        return await self._storage.read(_load, stream_id, name, highest, schema_version)

    async def delete(self, stream_id: str, name: str | None = None, /) -> int:
        """Remove the snapshots of a stream, of one name or of all; return how many there were."""
        return await self._storage.write(_delete, stream_id, name)


def _save(connection: sqlite3.Connection, snapshot: Snapshot, keep: int) -> None:
    stream_id, name = snapshot.stream_id, snapshot.name
    connection.execute(
        _SAVE,
        (
            stream_id,
            name,
            snapshot.version,
            snapshot.schema_version,
            snapshot.format,
            snapshot.taken_at,
            snapshot.data,
        ),
    )
    connection.execute(_TRIM, (stream_id, name, stream_id, name, keep - 1))


def _load(
    connection: sqlite3.Connection, stream_id: str, name: str, highest: int, schema_version: int
) -> Snapshot | None:
    row = connection.execute(_LOAD, (stream_id, name, highest, schema_version)).fetchone()
    if row is None:
        return None
    version, format, data, taken_at = row
    return Snapshot(stream_id, version, name, schema_version, format, data, taken_at)


def _delete(connection: sqlite3.Connection, stream_id: str, name: str | None) -> int:
    if name is None:
        return connection.execute(_DELETE_ALL, (stream_id,)).rowcount
    return connection.execute(_DELETE, (stream_id, name)).rowcount
