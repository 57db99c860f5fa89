"""Background tasks, referenced until they end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from catga_core.log import QUEUE_UNREACHABLE, WORKER_FAILED, logger, traceback_of
from catga_core.runtime import background_task


class Background:
    """Starts tasks, and keeps them from being collected."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task."""
        task = background_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def cancel(self) -> None:
        """Cancel what runs."""
        for task in tuple(self._tasks):
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger().error(WORKER_FAILED, worker="jetstream queues", stack=traceback_of(error))


def log_unreachable(error: Exception, delay: float) -> None:
    """Log that a worker could not ask the server, and when it will again."""
    logger().error(
        QUEUE_UNREACHABLE, error=f"{type(error).__name__}: {error}", retry_in_seconds=round(delay, 3)
    )
