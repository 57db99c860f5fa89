"""Locks in SQLite."""

from __future__ import annotations

import sqlite3
from typing import Final

from catga_core.errors import LeaseLostError
from catga_core.identifiers import new_id
from catga_core.interfaces.locks import LockLease
from catga_sqlite.engine.fence import next_fencing_token
from catga_sqlite.engine.wakeups import LOCKS
from catga_sqlite.storage import SqliteStorage

_GET: Final = "SELECT token, expires_at FROM catga_locks WHERE name = ?"
_SET: Final = "INSERT OR REPLACE INTO catga_locks VALUES (?, ?, ?, ?)"
_RENEW: Final = "UPDATE catga_locks SET expires_at = ? WHERE name = ?"
_DELETE: Final = "DELETE FROM catga_locks WHERE name = ?"


class SqliteLockProvider:
    """Gives a named lock to one at a time among all processes that use the file.

    In a unit of work a lock is taken and given back with the transaction, as everything in it.

    Args:
        storage: The file.
    """

    def __init__(self, storage: SqliteStorage) -> None:
        self._storage = storage
        self._clock = storage.clock

    async def acquire(self, name: str, /, *, lease: float) -> LockLease | None:
        """Take a lock that is free or whose lease has run out; return `None`, at once, for one that is held."""
        if not name:
            msg = "a lock has a name: name='' names nothing"
            raise ValueError(msg)
        return await self._storage.write(_acquire, name, lease, self._clock.time())

    async def renew(self, held: LockLease, /, *, lease: float) -> LockLease:
        """Extend a lease, counted from now."""
        return await self._storage.write(_renew, held, lease, self._clock.time(), topics=LOCKS)

    async def release(self, held: LockLease, /) -> bool:
        """Give a lock back; `False` when it was no longer the caller's."""
        return await self._storage.write(_release, held, self._clock.time(), topics=LOCKS)

    async def wait(self, name: str, /, *, timeout: float) -> None:
        """Return when a lock may be free, at the latest after so many seconds of real time."""

        async def due() -> float:
            found = await self._storage.read(_get, name)
            return 0.0 if found is None else found[1] - self._clock.time()

        await self._storage.wakeups.wait(LOCKS, timeout, due)


def _get(connection: sqlite3.Connection, name: str) -> tuple[str, float] | None:
    found: tuple[str, float] | None = connection.execute(_GET, (name,)).fetchone()
    return found


def _acquire(connection: sqlite3.Connection, name: str, lease: float, now: float) -> LockLease | None:
    found = _get(connection, name)
    if found is not None and found[1] > now:
        return None
    taken = LockLease(name, new_id(), next_fencing_token(connection), now + lease)
    connection.execute(_SET, (name, taken.token, taken.fencing_token, taken.expires_at))
    return taken


def _renew(connection: sqlite3.Connection, held: LockLease, lease: float, now: float) -> LockLease:
    found = _get(connection, held.name)
    if found is None:
        reason = "it was released"
    elif found[0] != held.token:
        reason = "another has acquired it since"
    elif found[1] <= now:
        reason = "its lease has run out"
    else:
        connection.execute(_RENEW, (now + lease, held.name))
        return LockLease(held.name, held.token, held.fencing_token, now + lease)
    raise LeaseLostError(f"the lock {held.name!r}", reason)


def _release(connection: sqlite3.Connection, held: LockLease, now: float) -> bool:
    found = _get(connection, held.name)
    if found is None or found[0] != held.token or found[1] <= now:
        return False
    connection.execute(_DELETE, (held.name,))
    return True
