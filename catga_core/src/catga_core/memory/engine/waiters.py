"""Those who wait for a change, each for one key."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Hashable
from typing import Any


class Waiters:
    """Wakes who waits for a key; nothing of a waiter is left when it has gone, however it went."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[Hashable, set[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def wake(self, key: Hashable = None) -> None:
        """Wake all who wait for a key."""
        for future in self._waiting.get(key, ()):
            _wake(future)

    async def wait(
        self, key: Hashable = None, *, timeout: float, sleep: Coroutine[Any, Any, None] | None = None
    ) -> None:
        """Return when the key is woken.

        Parameters:
            key: what is waited for.
            timeout: seconds of real time to wait at most.
            sleep: a sleep of another clock that ends the wait as well.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(key, set()).add(future)
        timer = loop.call_later(timeout, _wake, future)
        sleeper = None if sleep is None else loop.create_task(sleep)
        if sleeper is not None:
            sleeper.add_done_callback(lambda _: _wake(future))
        try:
            await future
        finally:
            timer.cancel()
            if sleeper is not None:
                sleeper.cancel()
            waiting = self._waiting[key]
            waiting.discard(future)
            if not waiting:
                del self._waiting[key]


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
