"""Runs what arrives: each message in a task of its own, up to a limit, and all of it finished before the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


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

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Handle one message concurrently with the others.

        Parameters:
            work: never raises but for cancellation: its outcomes are answers and records.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, timeout: float) -> int:
        """Wait for what runs, then cancel the rest.

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
            await asyncio.wait(left)
        return len(left)
