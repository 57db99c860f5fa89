"""Finish work despite cancellation, then raise the cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

CLEANUP_SECONDS = 5.0
"""Seconds that `cleanup` waits for a store's answer."""

# Cleanup that takes longer; referenced here so that it is not garbage-collected while it runs.
_unfinished: set[asyncio.Future[None]] = set()


async def shielded(work: Awaitable[T]) -> T:
    """Finish work even if the caller is cancelled; the cancellation is raised afterwards.

    Args:
        work: A coroutine, task or future. It is awaited to its end however long it takes.

    Returns:
        The result of the work.

    Raises:
        asyncio.CancelledError: The caller was cancelled meanwhile; its cause is the error of the work, if any.
    """
    result, cancelled = await settled(work)
    if cancelled is not None:
        raise cancelled
    return result


async def settled(work: Awaitable[T]) -> tuple[T, asyncio.CancelledError | None]:
    """Finish work like `shielded`, and return a cancellation instead of raising it.

    For callers that have more to do before the cancellation goes on; they must raise it themselves.

    Args:
        work: A coroutine, task or future.

    Returns:
        The result, and the cancellation that arrived meanwhile or `None`.

    Raises:
        asyncio.CancelledError: The work failed and the caller was cancelled; the failure is its cause.
    """
    running = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError as error:
            cancelled = error
    try:
        return running.result(), cancelled
    except Exception as error:
        if cancelled is not None:
            raise cancelled from error
        raise


async def cleanup(work: Coroutine[Any, Any, None], *, within: float = CLEANUP_SECONDS) -> None:
    """Finish a cleanup even if the caller is cancelled, but do not wait for it without limit.

    Args:
        work: The cleanup. After the time limit it continues in the background.
        within: Real seconds to wait for it.

    Raises:
        asyncio.CancelledError: The caller was cancelled meanwhile.
    """
    running = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + within
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        left = ends_at - loop.time()
        if left <= 0:
            _unfinished.add(running)
            running.add_done_callback(_forget)
            break
        try:
            await asyncio.wait([running], timeout=left)
        except asyncio.CancelledError as error:
            cancelled = error
    if running.done() and not running.cancelled() and (failed := running.exception()) is not None:
        if cancelled is not None:
            raise cancelled from failed
        raise failed
    if cancelled is not None:
        raise cancelled


async def acquire_or_release(acquire: Coroutine[Any, Any, T], release: Callable[[T], Awaitable[None]]) -> T:
    """Acquire something from a store; if cancelled meanwhile, release what the store may have granted.

    Args:
        acquire: Asks the store. It is awaited to its end so that nothing granted is forgotten.
        release: Returns what was granted; called only after a cancellation.

    Returns:
        What was acquired.

    Raises:
        asyncio.CancelledError: The caller was cancelled; nothing stays acquired.
    """
    answer = asyncio.ensure_future(acquire)
    try:
        return await asyncio.shield(answer)
    except asyncio.CancelledError:
        await cleanup(_release(answer, release))
        raise


async def _release(answer: asyncio.Future[T], release: Callable[[T], Awaitable[None]]) -> None:
    try:
        acquired = await answer
    except (Exception, asyncio.CancelledError):  # noqa: BLE001 - nothing was granted
        return
    await release(acquired)


def _forget(running: asyncio.Future[None]) -> None:
    _unfinished.discard(running)
    if not running.cancelled():
        running.exception()
