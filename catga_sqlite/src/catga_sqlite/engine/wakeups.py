"""Waiting for what is written: at once for this process's writes, by looking now and then for those of others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from catga_core.clock import Clock
from catga_core.errors import CatgaError

EVENTS: Final = 1
OUTBOX: Final = 2
IDEMPOTENCY: Final = 4
LOCKS: Final = 8
ALL: Final = EVENTS | OUTBOX | IDEMPOTENCY | LOCKS


class Wakeups:
    """Who waits for which topic.

    Parameters:
        clock: tells when what needs no write is due.
        changed: tells whether another connection has written since it was asked last.
        interval: seconds between two looks, while anybody waits.
    """

    def __init__(self, clock: Clock, changed: Callable[[], Awaitable[bool]], interval: float) -> None:
        self._clock = clock
        self._changed = changed
        self._interval = interval
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._looking: asyncio.Task[None] | None = None

    def wake(self, topics: int) -> None:
        """Wake those who wait for one of these topics."""
        if not self._waiting:
            return
        for future, wanted in list(self._waiting.items()):
            if wanted & topics:
                _wake(future)

    async def wait(self, topic: int, timeout: float, due: Callable[[], Awaitable[float | None]]) -> None:
        """Return when a topic was written, or it is time.

        Parameters:
            topic: what to wait for.
            timeout: seconds of real time at most.
            due: asked once, when writes have begun to count: seconds of the clock until there is something without a
                write, 0 for now, `None` for never.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = topic
        sleeping: asyncio.Task[None] | None = None
        try:
            soon = await due()
            if timeout <= 0 or (soon is not None and soon <= 0):
                return
            if self._looking is None:
                self._looking = asyncio.create_task(self._look(), name="catga-sqlite-poll")
            if soon is not None:
                sleeping = asyncio.create_task(self._clock.sleep(soon), name="catga-sqlite-due")
                sleeping.add_done_callback(lambda _: _wake(future))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await future
        finally:
            del self._waiting[future]
            if sleeping is not None:
                sleeping.cancel()
            if not self._waiting:
                self._rest()

    async def stop(self) -> None:
        """Wake everybody, and look no more."""
        self.wake(ALL)
        looking = self._looking
        self._rest()
        if looking is not None:
            await asyncio.wait([looking])

    def _rest(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                changed = await self._changed()
            except CatgaError:
                # It cannot be told: better that they look for themselves.
                changed = True
            if changed:
                self.wake(ALL)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
