"""Idempotency in memory: claims and results by key."""

from __future__ import annotations

import asyncio
import heapq

import msgspec

from catga_core.clock import Clock
from catga_core.errors import LeaseLostError
from catga_core.interfaces.idempotency import Claimed, ClaimOutcome, Completed, InProgress
from catga_core.memory.engine.table import Table
from catga_core.memory.storage import MemoryStorage
from catga_core.option_checks import check_name
from catga_core.runtime.waiter import Waiter


class _Entry(msgspec.Struct, frozen=True):
    """A key that somebody has, or its result.

    Args:
        fencing_token: Of the claim.
        expires_at: When its lease ends, or the result is forgotten.
        result: `None` while it is being worked on.
    """

    fencing_token: int
    expires_at: float
    result: bytes | None = None


class _Entries(Table[str, _Entry]):
    """All keys; `expiring` has every result once for each time it was to be forgotten, the next one first."""

    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__(storage)
        self.waiter = Waiter()
        self.expiring: list[tuple[float, str]] = []


class MemoryIdempotencyStore:
    """Keeps claims and results in memory.

    Args:
        storage: Where they are kept.
        clock: Measures leases.
    """

    def __init__(self, storage: MemoryStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._entries = storage.part(_Entries)

    async def claim(self, key: str, /, *, lease: float) -> ClaimOutcome:
        """Take a key that is free, whose lease has run out, or whose result has expired; of n at once one gets it."""
        check_name("key", key)
        rows = self._entries.write(await self._storage.write())
        now = self._clock.time()
        entry = rows.get(key)
        if entry is not None and entry.expires_at > now:
            if entry.result is not None:
                return Completed(key, entry.result)
            return InProgress(key, entry.expires_at)
        claim = Claimed(key, self._storage.next_fencing_token(), now + lease)
        rows[key] = _Entry(claim.fencing_token, claim.expires_at)
        return claim

    async def renew(self, claim: Claimed, /, *, lease: float) -> Claimed:
        """Extend a lease, counted from now."""
        rows = self._entries.write(await self._storage.write())
        _require(claim, rows.get(claim.key))
        renewed = Claimed(claim.key, claim.fencing_token, self._clock.time() + lease)
        rows[claim.key] = _Entry(renewed.fencing_token, renewed.expires_at)
        self._storage.wake(self._entries.waiter, claim.key)
        return renewed

    async def complete(self, claim: Claimed, result: bytes, /, *, ttl: float) -> None:
        """Record the result, once; joins the ambient unit of work."""
        rows = self._entries.write(await self._storage.write())
        entry = rows.get(claim.key)
        repeated = entry is not None and entry.fencing_token == claim.fencing_token and entry.result == result
        if repeated:
            return
        _require(claim, entry)
        expires_at = self._clock.time() + ttl
        rows[claim.key] = _Entry(claim.fencing_token, expires_at, result)
        # Also for one that is rolled back: what is taken out of the heap is looked at again.
        heapq.heappush(self._entries.expiring, (expires_at, claim.key))
        self._storage.wake(self._entries.waiter, claim.key)

    async def release(self, claim: Claimed, /) -> None:
        """Give the key back without a result; a claim that was lost is left alone."""
        rows = self._entries.write(await self._storage.write())
        entry = rows.get(claim.key)
        if entry is not None and entry.result is None and entry.fencing_token == claim.fencing_token:
            del rows[claim.key]
            self._storage.wake(self._entries.waiter, claim.key)

    async def wait(self, key: str, /, *, timeout: float) -> Completed | None:
        """Wait for somebody's result."""
        # Other tasks get a turn in any case, also where a caller waits in a loop.
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        awaited: int | None = None
        while True:
            entry = self._entries.read().get(key)
            now = self._clock.time()
            if entry is None or entry.expires_at <= now:
                return None
            if entry.result is not None:
                return Completed(key, entry.result)
            left = end - loop.time()
            if left <= 0 or awaited not in {None, entry.fencing_token}:
                # Released meanwhile, and claimed again: that is another's work.
                return None
            awaited = entry.fencing_token
            sleep = self._clock.sleep(entry.expires_at - now)
            await self._entries.waiter.wait(key, timeout=left, work=sleep)

    async def prune(self, *, limit: int = 1000) -> int:
        """Remove results that have expired, at most `limit`; return how many."""
        rows = self._entries.write(await self._storage.write())
        expiring = self._entries.expiring
        now = self._clock.time()
        removed = 0
        while expiring and removed < limit and expiring[0][0] <= now:
            _, key = heapq.heappop(expiring)
            entry = rows.get(key)
            if entry is not None and entry.result is not None and entry.expires_at <= now:
                del rows[key]
                removed += 1
        return removed


def _require(claim: Claimed, entry: _Entry | None) -> None:
    if entry is None:
        reason = "it was released, and has no holder now"
    elif entry.fencing_token != claim.fencing_token:
        reason = "another has claimed it since"
    elif entry.result is not None:
        reason = "its result was recorded"
    else:
        return
    raise LeaseLostError("the idempotency claim", reason)
