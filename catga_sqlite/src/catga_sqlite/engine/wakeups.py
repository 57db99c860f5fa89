"""Waiting for writes: woken by this process's writes, polling for those of other connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from catga_core.clock import Clock, SystemClock
from catga_core.errors import CatgaError
from catga_core.runtime import Waiter, Worker

EVENTS: Final = 1
OUTBOX: Final = 2
IDEMPOTENCY: Final = 4
LOCKS: Final = 8
QUEUES: Final = 16
SAGAS_DUE: Final = 32
SAGA_TURNS: Final = 64
"""A saga may be due, or there is room for one that waits for its turn."""
SAGA_ENDS: Final = 128

_TOPICS = (EVENTS, OUTBOX, IDEMPOTENCY, LOCKS, QUEUES, SAGAS_DUE, SAGA_TURNS, SAGA_ENDS)
ALL: Final = sum(_TOPICS)


class Wakeups:
    """Wakes the tasks that wait for a topic.

    Args:
        clock: The container's clock; measures when entries become due without a write.
        changed: Returns whether another connection has written since the last call.
        interval: Seconds between two polls, while any task waits.
    """

    def __init__(self, clock: Clock, changed: Callable[[], Awaitable[bool]], interval: float) -> None:
        self._clock = clock
        self._changed = changed
        self._waiter = Waiter()
        self._begun = Waiter()
        self._polling = False
        self._poll = Worker(
            "sqlite poll", self._look, every=interval, clock=SystemClock(), first=False, idle=self._pause
        )

    def wake(self, topics: int) -> None:
        """Wake the tasks that wait for one of some topics.

        Args:
            topics: The topics, as a sum.
        """
        for topic in _TOPICS:
            if topics & topic:
                self._waiter.wake(topic)

    async def wait(self, topic: int, timeout: float, due: Callable[[], Awaitable[float | None]]) -> None:
        """Wait until a topic is written, an entry becomes due, or a timeout.

        Args:
            topic: The topic to wait for.
            timeout: Real seconds to wait.
            due: Called once, when wake-ups already count: returns the clock's seconds until an entry becomes due without a
                write, 0 for now, `None` for never.
        """
        with self._waiter.expect(topic) as expectation:
            soon = await due()
            if timeout <= 0 or (soon is not None and soon <= 0):
                return
            self._begin()
            await expectation.wait(None if soon is None else self._clock.sleep(soon), timeout=timeout)

    async def stop(self) -> None:
        """Wake every task, and stop polling."""
        self.wake(ALL)
        self._polling = False
        await self._poll.stop(cancel=True)

    def _begin(self) -> None:
        if self._polling:
            self._begun.wake()
        else:
            self._polling = True
            self._poll.start()

    async def _pause(self, seconds: float) -> None:
        # Nothing is scheduled while no task waits.
        if not self._waiter.waiting:
            await self._begun.wait()
        await asyncio.sleep(seconds)

    async def _look(self) -> None:
        try:
            changed = await self._changed()
        except CatgaError:
            # Unknown: the waiting tasks look for themselves.
            changed = True
        if changed:
            self.wake(ALL)
