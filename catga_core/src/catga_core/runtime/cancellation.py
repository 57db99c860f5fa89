"""Tells a task that is being cancelled from a handler that only raised the same error."""

from __future__ import annotations

import asyncio

from catga_core.errors import CatgaError, ErrorCode


def being_cancelled() -> bool:
    """Tell whether someone wants the running task to end.

    If nobody does, a `CancelledError` is a handler's own: it awaited what was cancelled elsewhere, say. That is a failure
    of this handler, and none of whoever runs beside it.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def cancelled_itself(name: str) -> CatgaError:
    """Return the error for a message whose handler raised `CancelledError` though nobody cancelled it.

    Parameters:
        name: the message's name, or the handler's.
    """
    return CatgaError(
        f"{name} was cancelled from within: its handler raised CancelledError, or awaited what was cancelled",
        code=ErrorCode.HANDLER_FAILED,
        details={"exception": "CancelledError"},
    )
