"""Checkpoints in SQLite."""

from __future__ import annotations

import builtins
import sqlite3
from typing import Final

from catga_core.errors import CheckpointConflictError, LeaseLostError
from catga_core.interfaces.checkpoints import Checkpoint
from catga_sqlite.storage import SqliteStorage

_LIST: Final = "SELECT name, position, updated_at, fencing_token, event_id FROM catga_checkpoints"
_LOAD: Final = f"{_LIST} WHERE name = ?"
_SAVE: Final = "INSERT OR REPLACE INTO catga_checkpoints VALUES (?, ?, ?, ?, ?)"
_DELETE: Final = "DELETE FROM catga_checkpoints WHERE name = ?"
_MICROSECONDS: Final = 1_000_000


class SqliteCheckpointStore:
    """The positions of consumers, in the file.

    Args:
        storage: The file.
    """

    def __init__(self, storage: SqliteStorage) -> None:
        self._storage = storage

    async def load(self, name: str, /) -> Checkpoint | None:
        """Return a checkpoint, `None` where there is none yet."""
        return await self._storage.read(_load, name)

    async def save(
        self,
        name: str,
        position: int,
        /,
        *,
        fencing_token: int = 0,
        expected_position: int | None = None,
        event_id: str | None = None,
    ) -> None:
        """Keep a position; joins the ambient unit of work."""
        now = round(self._storage.clock.time() * _MICROSECONDS)
        checkpoint = Checkpoint(name, position, now, fencing_token, event_id)
        await self._storage.write(_save, checkpoint, expected_position)

    async def list(self) -> builtins.list[Checkpoint]:
        """Return every checkpoint, ordered by name."""
        return await self._storage.read(_list)

    async def delete(self, name: str, /) -> bool:
        """Remove a checkpoint; tell whether there was one. Joins the ambient unit of work."""
        return await self._storage.write(_delete, name)


def _load(connection: sqlite3.Connection, name: str) -> Checkpoint | None:
    row = connection.execute(_LOAD, (name,)).fetchone()
    return None if row is None else Checkpoint(*row)


def _list(connection: sqlite3.Connection) -> list[Checkpoint]:
    # Sorted here: SQLite orders texts by their bytes.
    return sorted((Checkpoint(*row) for row in connection.execute(_LIST)), key=lambda each: each.name)


def _save(connection: sqlite3.Connection, checkpoint: Checkpoint, expected: int | None) -> None:
    name, token = checkpoint.name, checkpoint.fencing_token
    before = _load(connection, name)
    if before is not None and before.fencing_token > token:
        reason = (
            f"somebody with the fencing token {before.fencing_token} has saved it since ({token} is older)"
        )
        raise LeaseLostError(f"the checkpoint {name!r}", reason)
    stored = 0 if before is None else before.position
    if expected is not None and expected != stored:
        raise CheckpointConflictError(name, expected, stored)
    connection.execute(_SAVE, (name, checkpoint.position, checkpoint.updated_at, token, checkpoint.event_id))


def _delete(connection: sqlite3.Connection, name: str) -> bool:
    return connection.execute(_DELETE, (name,)).rowcount > 0
