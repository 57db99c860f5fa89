"""Runs what arrives: each message in a task of its own, up to a limit, and all of it finished before the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

from catga_core.log import STOP_FAILED, logger

_CANCELLED_WITHIN = 1.0  # seconds that cancelled work has for its end


class Intake:
    """Bounded concurrency for one subscription of a transport.

    Parameters:
        limit: how many messages may be handled at the same time.
    """

    __slots__ = ("_tasks", "limit")

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """How many messages are being handled."""
        return len(self._tasks)

    @property
    def full(self) -> bool:
        """Whether one more message would be over the limit."""
        return len(self._tasks) >= self.limit

    def spawn(self, work: Coroutine[Any, Any, None], context: Context | None = None) -> None:
        """Handle one message concurrently with the others, in surroundings of its own.

        Parameters:
            work: never raises but for cancellation: its outcomes are answers and records.
            context: the context variables of work that has begun already, `None` for none.
        """
        task = asyncio.get_running_loop().create_task(work, context=Context() if context is None else context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, timeout: float) -> int:
        """Wait for what runs, then cancel the rest.

        It ends a second after that at the latest: work that does not let itself be cancelled is left behind and told in
        the log.

        Parameters:
            timeout: seconds to wait.

        Returns:
            how many messages had to be cancelled.
        """
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=timeout)
        left = tuple(self._tasks)
        for task in left:
            task.cancel()
        if left:
            _, stuck = await asyncio.wait(left, timeout=_CANCELLED_WITHIN)
            if stuck:
                reason = "work in flight goes on after its cancellation: let CancelledError pass"
                logger().error(STOP_FAILED, reason=reason, left=len(stuck))
        return len(left)
