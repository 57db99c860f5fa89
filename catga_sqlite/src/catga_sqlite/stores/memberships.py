"""Memberships in SQLite."""

from __future__ import annotations

import sqlite3
from typing import Final

from catga_core.interfaces.memberships import check_member
from catga_sqlite.storage import SqliteStorage

_FORGET: Final = "DELETE FROM catga_members WHERE group_name = ? AND expires_at <= ?"
_ANNOUNCE: Final = "INSERT OR REPLACE INTO catga_members VALUES (?, ?, ?)"
_ALIVE: Final = "SELECT member FROM catga_members WHERE group_name = ? AND expires_at > ?"
_LEAVE: Final = "DELETE FROM catga_members WHERE group_name = ? AND member = ? RETURNING expires_at"


class SqliteMembershipStore:
    """Keeps the members of groups in the file.

    Args:
        storage: the file.
    """

    def __init__(self, storage: SqliteStorage) -> None:
        self._storage = storage

    async def announce(self, group: str, member: str, /, *, lease: float) -> list[str]:
        """Announce a member, or renew its lease; return every living member."""
        check_member(group, member)
        return await self._storage.write(_announce, group, member, lease, self._storage.clock.time())

    async def members(self, group: str, /) -> list[str]:
        """Return every living member of a group."""
        return await self._storage.read(_alive, group, self._storage.clock.time())

    async def leave(self, group: str, member: str, /) -> bool:
        """Remove a member at once; return whether it was alive until now."""
        return await self._storage.write(_leave, group, member, self._storage.clock.time())


def _announce(connection: sqlite3.Connection, group: str, member: str, lease: float, now: float) -> list[str]:
    connection.execute(_FORGET, (group, now))
    connection.execute(_ANNOUNCE, (group, member, now + lease))
    return _alive(connection, group, now)


def _alive(connection: sqlite3.Connection, group: str, now: float) -> list[str]:
    # Sorted here: SQLite orders texts by their bytes.
    return sorted(member for (member,) in connection.execute(_ALIVE, (group, now)))


def _leave(connection: sqlite3.Connection, group: str, member: str, now: float) -> bool:
    return any(expires_at > now for (expires_at,) in connection.execute(_LEAVE, (group, member)).fetchall())
