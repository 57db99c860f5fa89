"""`Intake`: run incoming messages concurrently, up to a limit, and finish them before the end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from catga_core.log import STOP_FAILED, logger
from catga_core.option_checks import check_count
from catga_core.runtime.tasks import STARTS_AT_ONCE, start_task

_CANCELLED_WITHIN = 1.0  # seconds that cancelled work has to end


class Intake:
    """Bounded concurrency for one subscription of a transport.

    Args:
        limit: How many messages may be handled at the same time.
        freed: Called whenever one more message may be handled.
    """

    __slots__ = ("_ended", "_freed", "_held", "_tasks", "limit")

    def __init__(self, limit: int, freed: Callable[[], None] = lambda: None) -> None:
        check_count("limit", limit)
        self.limit: int = limit
        self._freed = freed
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = 0
        self._held: deque[tuple[Callable[[], None], Callable[[], None]]] = deque()

    @property
    def running(self) -> int:
        """Number of messages that are being handled."""
        return len(self._tasks)

    @property
    def full(self) -> bool:
        """Whether one more message would exceed the limit."""
        return len(self._tasks) >= self.limit

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Handle one message concurrently with the others, with context variables of its own.

        On Python 3.12 and later it is started here and now, and costs no turn of the loop where it does not wait.

        Args:
            work: Raises nothing but cancellation: its outcomes are answers and records.
        """
        task = start_task(self._tracked(work), context=Context())
        # An eager task may have ended already.
        if not task.done():
            self._tasks.add(task)

    def hold(self, admit: Callable[[], None], refuse: Callable[[], None]) -> None:
        """Decide on a message that is over the limit: it is refused when all that is handled waits.

        On Python 3.11 tasks of one burst have not run yet when its next message arrives; those that do not wait make place
        for it.

        Args:
            admit: Handles the message.
            refuse: Answers that the limit is reached.
        """
        if STARTS_AT_ONCE:
            refuse()
            return
        self._held.append((admit, refuse))
        if len(self._held) == 1:
            self._look_soon()

    def _look_soon(self) -> None:
        loop = asyncio.get_running_loop()
        # A task that does not wait ends in the next turn of the loop, before this.
        loop.call_soon(self._look, self._ended)

    def _look(self, ended: int) -> None:
        while self._held and not self.full:
            self._held.popleft()[0]()
        if self._ended == ended:
            while self._held:
                self._held.popleft()[1]()
        elif self._held:
            self._look_soon()

    async def _tracked(self, work: Coroutine[Any, Any, None]) -> None:
        # A done callback would cost each message a turn of the loop.
        try:
            await work
        finally:
            self._ended += 1
            tasks, task = self._tasks, asyncio.current_task()
            if task in tasks:
                tasks.remove(task)
                self._freed()

    async def drain(self, timeout: float) -> int:
        """Wait for the messages that are being handled, then cancel the rest.

        Returns one second after the timeout at the latest. Work that does not end when it is cancelled is left behind and
        logged.

        Args:
            timeout: Seconds to wait.

        Returns:
            The number of messages that had to be cancelled.
        """
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=timeout)
        left = tuple(self._tasks)
        for task in left:
            task.cancel()
        if left:
            _, stuck = await asyncio.wait(left, timeout=_CANCELLED_WITHIN)
            if stuck:
                reason = "Work in flight continues after its cancellation. Let CancelledError pass."
                logger().error(STOP_FAILED, reason=reason, left=len(stuck))
        # What was cancelled before it began has not left by itself.
        self._tasks.difference_update(each for each in left if each.done())
        return len(left)
