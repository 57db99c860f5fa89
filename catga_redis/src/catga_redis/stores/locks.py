"""Locks in Redis."""

from __future__ import annotations

import asyncio

from catga_core.errors import LeaseLostError
from catga_core.identifiers import new_id
from catga_core.interfaces.locks import LockLease
from catga_redis.engine.news import look_again_within
from catga_redis.storage import RedisStorage


class RedisLockProvider:
    """Gives a named lock to one at a time: one hash for each name, which the server removes when the lease ends.

    Args:
        storage: Where.
    """

    def __init__(self, storage: RedisStorage) -> None:
        self._storage = storage
        self._commands = storage.commands

    async def acquire(self, name: str, /, *, lease: float) -> LockLease | None:
        """Take a lock that is free or whose lease has run out; return `None`, at once, for one that is held."""
        token = new_id()
        answer = await self._commands.run("acquire", name, token, lease)
        return None if answer is None else LockLease(name, token, answer[0], float(answer[1]))

    async def renew(self, held: LockLease, /, *, lease: float) -> LockLease:
        """Extend a lease, counted from now."""
        ends = await self._commands.run("renew_lock", held.name, held.token, lease)
        if ends is None:
            raise LeaseLostError(f"the lock {held.name!r}", "its lease has run out, or it was given back")
        return LockLease(held.name, held.token, held.fencing_token, float(ends))

    async def release(self, held: LockLease, /) -> bool:
        """Give a lock back; `False` when it was no longer the caller's.

        Where the first answer was lost, `False` may also mean that it was given back by the first try.
        """
        released = bool(await self._commands.run("release_lock", held.name, held.token))
        self._storage.news.wake(f"l:{held.name}")
        return released

    async def wait(self, name: str, /, *, timeout: float) -> None:
        """Return when a lock may be free, at the latest after so many seconds of real time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while True:
            with self._storage.news.expect(f"l:{name}") as news:
                lease_left = await self._commands.run("lock_left", name)
                left = until - loop.time()
                if lease_left is None or left <= 0:
                    return
                await news.wait(timeout=look_again_within(min(left, float(lease_left) + 0.001)))
