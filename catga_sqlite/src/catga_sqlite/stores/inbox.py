"""The inbox in SQLite."""

from __future__ import annotations

import sqlite3
from typing import Final

from catga_core.errors import MessageIdConflictError
from catga_core.messages.fingerprints import same_content
from catga_sqlite.engine.ids import pack_id
from catga_sqlite.storage import SqliteStorage

_RECORD: Final = "INSERT INTO catga_inbox VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_NOTED: Final = "SELECT fingerprint FROM catga_inbox WHERE message_id = ? AND handler = ?"
_SEEN: Final = "SELECT 1 FROM catga_inbox WHERE message_id = ? AND handler = ?"
_FORGET: Final = "DELETE FROM catga_inbox WHERE message_id = ? AND handler = ?"
_PRUNE: Final = (
    "DELETE FROM catga_inbox WHERE (message_id, handler) IN ("
    "SELECT message_id, handler FROM catga_inbox WHERE recorded_at < ? ORDER BY recorded_at LIMIT ?)"
)


class SqliteInboxStore:
    """Which handler has had which message, in the file.

    Args:
        storage: The file.
    """

    def __init__(self, storage: SqliteStorage) -> None:
        self._storage = storage
        self._clock = storage.clock

    async def record(self, message_id: str, handler: str, /, *, fingerprint: str = "") -> bool:
        """Note that a handler has had a message; joins the ambient unit of work."""
        return await self._storage.write(_record, message_id, handler, self._clock.time(), fingerprint)

    async def seen(self, message_id: str, handler: str, /) -> bool:
        """Tell whether a handler has had a message."""
        return await self._storage.read(_seen, message_id, handler)

    async def forget(self, message_id: str, handler: str, /) -> None:
        """Take a note back: for a handler that failed outside of a unit of work."""
        await self._storage.write(_forget, message_id, handler)

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        """Remove notes, at most `limit`; return how many."""
        return await self._storage.write(_prune, self._clock.time(), older_than, limit)


def _record(
    connection: sqlite3.Connection, message_id: str, handler: str, now: float, fingerprint: str
) -> bool:
    packed = pack_id(message_id)
    if connection.execute(_RECORD, (packed, handler, now, fingerprint)).rowcount > 0:
        return True
    (noted,) = connection.execute(_NOTED, (packed, handler)).fetchone()
    if not same_content(noted, fingerprint):
        raise MessageIdConflictError(message_id, f"the inbox of {handler}")
    return False


def _seen(connection: sqlite3.Connection, message_id: str, handler: str) -> bool:
    return connection.execute(_SEEN, (pack_id(message_id), handler)).fetchone() is not None


def _forget(connection: sqlite3.Connection, message_id: str, handler: str) -> None:
    connection.execute(_FORGET, (pack_id(message_id), handler))


def _prune(connection: sqlite3.Connection, now: float, older_than: float, limit: int) -> int:
    return connection.execute(_PRUNE, (now - older_than, limit)).rowcount
