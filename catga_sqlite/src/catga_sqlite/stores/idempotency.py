"""Idempotency in SQLite: claims and results by key."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Final, TypeAlias

from catga_core.errors import LeaseLostError
from catga_core.interfaces.idempotency import Claimed, ClaimOutcome, Completed, InProgress
from catga_sqlite.engine.fence import next_fencing_token
from catga_sqlite.engine.wakeups import IDEMPOTENCY
from catga_sqlite.storage import SqliteStorage

_GET: Final = "SELECT fencing_token, expires_at, result FROM catga_idempotency WHERE key = ?"
_CLAIM: Final = "INSERT OR REPLACE INTO catga_idempotency VALUES (?, ?, ?, NULL)"
_RENEW: Final = "UPDATE catga_idempotency SET expires_at = ? WHERE key = ?"
_COMPLETE: Final = "UPDATE catga_idempotency SET expires_at = ?, result = ? WHERE key = ?"
_DELETE: Final = "DELETE FROM catga_idempotency WHERE key = ?"
_PRUNE: Final = (
    "DELETE FROM catga_idempotency WHERE key IN (SELECT key FROM catga_idempotency "
    "WHERE expires_at <= ? AND (result IS NOT NULL OR expires_at <= ?) ORDER BY expires_at LIMIT ?)"
)
# Seconds after which a claim that ran out is pruned as a result is; until then its owner may still complete it.
_ABANDONED: Final = 24 * 3600.0

_Entry: TypeAlias = tuple[int, float, bytes | None]


class SqliteIdempotencyStore:
    """Claims and results in the file.

    Args:
        storage: The file.
    """

    def __init__(self, storage: SqliteStorage) -> None:
        self._storage = storage
        self._clock = storage.clock

    async def claim(self, key: str, /, *, lease: float) -> ClaimOutcome:
        """Take a key that is free, whose lease has run out, or whose result has expired; of n at once one gets it."""
        if not key:
            msg = "an idempotency key has at least one character: key='' names nothing"
            raise ValueError(msg)
        return await self._storage.write(_claim, key, lease, self._clock.time())

    async def renew(self, claim: Claimed, /, *, lease: float) -> Claimed:
        """Extend a lease, counted from now."""
        return await self._storage.write(_renew, claim, lease, self._clock.time(), topics=IDEMPOTENCY)

    async def complete(self, claim: Claimed, result: bytes, /, *, ttl: float) -> None:
        """Record the result, once; joins the ambient unit of work."""
        await self._storage.write(_complete, claim, result, ttl, self._clock.time(), topics=IDEMPOTENCY)

    async def release(self, claim: Claimed, /) -> None:
        """Give the key back without a result; a claim that was lost is left alone."""
        await self._storage.write(_release, claim, topics=IDEMPOTENCY)

    async def wait(self, key: str, /, *, timeout: float) -> Completed | None:
        """Wait for somebody's result."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        awaited: int | None = None
        entry: _Entry | None = None

        async def due() -> float | None:
            nonlocal entry
            entry = await self._storage.read(_get, key)
            left = 0.0 if entry is None else entry[1] - self._clock.time()
            # Done, free, or claimed anew by another: there is nothing to wait for.
            done = entry is None or entry[2] is not None or (awaited is not None and awaited != entry[0])
            return 0.0 if done else left

        while True:
            last = end - loop.time() <= 0
            await self._storage.wakeups.wait(IDEMPOTENCY, 0.0 if last else end - loop.time(), due)
            if entry is None or entry[1] <= self._clock.time():
                return None
            token, _, result = entry
            if result is not None:
                return Completed(key, result)
            if last or (awaited is not None and awaited != token):
                return None
            awaited = token

    async def prune(self, *, limit: int = 1000) -> int:
        """Remove results that have expired, at most `limit`; return how many."""
        return await self._storage.write(_prune, self._clock.time(), limit)


def _get(connection: sqlite3.Connection, key: str) -> _Entry | None:
    found: _Entry | None = connection.execute(_GET, (key,)).fetchone()
    return found


def _claim(connection: sqlite3.Connection, key: str, lease: float, now: float) -> ClaimOutcome:
    found = _get(connection, key)
    if found is not None and found[1] > now:
        _, expires_at, result = found
        return InProgress(key, expires_at) if result is None else Completed(key, result)
    token = next_fencing_token(connection)
    connection.execute(_CLAIM, (key, token, now + lease))
    return Claimed(key, token, now + lease)


def _renew(connection: sqlite3.Connection, claim: Claimed, lease: float, now: float) -> Claimed:
    _require(claim, _get(connection, claim.key))
    expires_at = now + lease
    connection.execute(_RENEW, (expires_at, claim.key))
    return Claimed(claim.key, claim.fencing_token, expires_at)


def _complete(connection: sqlite3.Connection, claim: Claimed, result: bytes, ttl: float, now: float) -> None:
    found = _get(connection, claim.key)
    if found is not None and found[0] == claim.fencing_token and found[2] == result:
        # The same again, after an outcome that was not known.
        return
    _require(claim, found)
    connection.execute(_COMPLETE, (now + ttl, result, claim.key))


def _release(connection: sqlite3.Connection, claim: Claimed) -> None:
    found = _get(connection, claim.key)
    if found is not None and found[0] == claim.fencing_token and found[2] is None:
        connection.execute(_DELETE, (claim.key,))


def _prune(connection: sqlite3.Connection, now: float, limit: int) -> int:
    return connection.execute(_PRUNE, (now, now - _ABANDONED, limit)).rowcount


def _require(claim: Claimed, entry: _Entry | None) -> None:
    if entry is None:
        reason = "it was released, and has no holder now"
    elif entry[0] != claim.fencing_token:
        reason = "another has claimed it since"
    elif entry[2] is not None:
        reason = "its result was recorded"
    else:
        return
    raise LeaseLostError("the idempotency claim", reason)
