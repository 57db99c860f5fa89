"""Locks in memory."""

from __future__ import annotations

import asyncio

from catga_core.clock import Clock
from catga_core.errors import LeaseLostError
from catga_core.identifiers import new_id
from catga_core.interfaces.locks import LockLease
from catga_core.memory.storage import MemoryStorage
from catga_core.option_checks import check_name
from catga_core.runtime.waiter import Waiter


class _Held:
    """Who holds what; no table, because a unit of work neither delays nor takes back who holds a lock."""

    def __init__(self, _storage: MemoryStorage) -> None:
        self.leases: dict[str, LockLease] = {}
        self.waiter = Waiter()


class MemoryLockProvider:
    """Gives a named lock to one at a time among all that use the storage; a unit of work has no part in it.

    Args:
        storage: Where it is kept who holds what.
        clock: Measures leases.
    """

    def __init__(self, storage: MemoryStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._held = storage.part(_Held)

    async def acquire(self, name: str, /, *, lease: float) -> LockLease | None:
        """Take a lock that is free or whose lease has run out; return `None`, at once, for one that is held."""
        check_name("name", name)
        if not name:
            msg = "a lock has a name: name='' names nothing"
            raise ValueError(msg)
        self._storage.check_loop()
        now = self._clock.time()
        held = self._held.leases.get(name)
        if held is not None and held.expires_at > now:
            return None
        taken = LockLease(name, new_id(), self._storage.next_fencing_token(), now + lease)
        self._held.leases[name] = taken
        return taken

    async def renew(self, held: LockLease, /, *, lease: float) -> LockLease:
        """Extend a lease, counted from now."""
        self._storage.check_loop()
        now = self._clock.time()
        if not self._is_held(held):
            raise LeaseLostError(f"the lock {held.name!r}", self._what_became_of(held))
        renewed = LockLease(held.name, held.token, held.fencing_token, now + lease)
        self._held.leases[held.name] = renewed
        return renewed

    async def release(self, held: LockLease, /) -> bool:
        """Give a lock back; `False` when it was no longer the caller's."""
        self._storage.check_loop()
        if not self._is_held(held):
            return False
        del self._held.leases[held.name]
        self._held.waiter.wake(held.name)
        return True

    async def wait(self, name: str, /, *, timeout: float) -> None:
        """Return when a lock may be free, at the latest after so many seconds of real time."""
        self._storage.check_loop()
        # Other tasks get a turn in any case, also where a caller waits in a loop.
        await asyncio.sleep(0)
        held = self._held.leases.get(name)
        left = 0.0 if held is None else held.expires_at - self._clock.time()
        if left > 0:
            await self._held.waiter.wait(name, timeout=timeout, work=self._clock.sleep(left))

    def _is_held(self, held: LockLease) -> bool:
        current = self._held.leases.get(held.name)
        return current is not None and current.token == held.token and current.expires_at > self._clock.time()

    def _what_became_of(self, held: LockLease) -> str:
        current = self._held.leases.get(held.name)
        if current is None:
            return "it was released"
        return "its lease has run out" if current.token == held.token else "another has acquired it since"
