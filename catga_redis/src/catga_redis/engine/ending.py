"""Ends a task that is inside of redis-py."""

from __future__ import annotations

import asyncio
from typing import Any

_ASK_AGAIN = 0.1


async def end(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task and return when it is over.

    `asyncio.wait_for`, which redis-py sends and connects with, swallows a cancellation that comes in the moment in which it is
    done (Python 3.11), so one may not be enough.

    Parameters:
        task: the task, `None` for nothing to do.
    """
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_ASK_AGAIN)
