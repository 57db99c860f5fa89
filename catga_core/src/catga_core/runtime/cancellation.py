"""Cancellation: whose it is, and how a task is ended by it."""

from __future__ import annotations

import asyncio
from typing import Any

from catga_core.errors import CatgaError, ErrorCode

_CANCEL_AGAIN_SECONDS = 5.0  # longer than a cleanup may take, which a second cancellation would interrupt


def being_cancelled() -> bool:
    """Return whether the running task was asked to end.

    If it was not, a `CancelledError` comes from inside the handler: it awaited something that was cancelled elsewhere.
    That is a failure of this handler only.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def passes_through(error: BaseException) -> bool:
    """Return whether an exception is not a handler's outcome, and must be raised on.

    That is a cancellation of the running task, what ends the program (`KeyboardInterrupt`, `SystemExit`), and the end of a
    coroutine that is closed. Everything else that a handler raises is its failure, other `BaseException`s included.

    Args:
        error: What was raised.
    """
    if isinstance(error, asyncio.CancelledError):
        return being_cancelled()
    return isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit))


def cancelled_itself(name: str) -> CatgaError:
    """Return the error of a handler that raised `CancelledError` although nothing outside of it has cancelled it.

    Args:
        name: Name of the message or of the handler.
    """
    return CatgaError(
        f"{name} was cancelled from within: its handler raised CancelledError, awaited a cancelled task, or cancelled the "
        "task that it runs in. Catch CancelledError where the handler awaits other tasks.",
        code=ErrorCode.HANDLER_FAILED,
        details={"exception": "CancelledError"},
    )


async def cancel_and_wait(
    task: asyncio.Future[Any], *, within: float | None = None, again_after: float = _CANCEL_AGAIN_SECONDS
) -> bool:
    """Cancel a task and wait for its end.

    One cancellation may not be enough: `asyncio.wait_for` on Python 3.11 swallows one that arrives while its own work
    completes. The task is therefore cancelled again while it runs.

    Args:
        task: The task; one that has ended is left alone.
        within: Real seconds to wait; `None` waits until the task ends.
        again_after: Real seconds between two cancellations.

    Returns:
        Whether the task has ended. Its exception is marked as retrieved.
    """
    loop = asyncio.get_running_loop()
    ends_at = None if within is None else loop.time() + within
    while not task.done():
        left = again_after if ends_at is None else min(again_after, ends_at - loop.time())
        if left <= 0:
            return False
        task.cancel()
        await asyncio.wait([task], timeout=left)
    if not task.cancelled():
        task.exception()
    return True
