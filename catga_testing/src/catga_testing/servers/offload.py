"""Run blocking work beside the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def offload(work: Callable[[], T], *, undo: Callable[[], object] | None = None) -> T:
    """Run blocking work in a thread.

    A thread cannot be interrupted: a cancelled caller waits until the work is done and undone, so that nothing
    goes on behind its back.

    Args:
        work: Runs in a thread.
        undo: Runs in a thread when the caller was cancelled meanwhile.

    Returns:
        What `work` returns.

    """
    task = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await task
        if undo is not None:
            await asyncio.to_thread(undo)
        raise
