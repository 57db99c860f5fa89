"""`Intake`: run incoming messages concurrently, up to a limit, and finish them before the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

from catga_core.log import STOP_FAILED, logger
from catga_core.runtime.tasks import start_task

_CANCELLED_WITHIN = 1.0  # seconds that cancelled work has to end


class Intake:
    """Bounded concurrency for one subscription of a transport.

    Args:
        limit: How many messages may be handled at the same time.
    """

    __slots__ = ("_tasks", "limit")

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self._tasks: set[asyncio.Task[None]] = set()

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
        task = start_task(work, context=Context())
        # An eager task may have ended already.
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

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
        return len(left)
