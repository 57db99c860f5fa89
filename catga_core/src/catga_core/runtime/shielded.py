"""Finishing what has to be finished although the task is cancelled: giving back what was taken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_SETTLE_SECONDS = 5.0  # how long a cancelled task waits for a store's answer

# What a store has not answered in that time; held here so that it is not collected while it runs.
_unfinished: set[asyncio.Future[None]] = set()


async def given(asking: Coroutine[Any, Any, T], give_back: Callable[[T], Awaitable[None]]) -> T:
    """Return what is asked for; cancelled meanwhile, give it back, because it may be given all the same.

    Parameters:
        asking: asks a store for a lease.
        give_back: gives back what came; must not raise.
    """
    answer = asyncio.ensure_future(asking)
    try:
        return await asyncio.shield(answer)
    except asyncio.CancelledError:
        await to_its_end(_undo(answer, give_back))
        raise


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Finish a piece of cleaning up even when cancelled meanwhile; the cancellation then goes on.

    Parameters:
        work: must not raise; where a store does not answer within 5 s, it goes on in the background.
    """
    working = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + _SETTLE_SECONDS
    cancelled: asyncio.CancelledError | None = None
    while not working.done():
        left = ends_at - loop.time()
        if left <= 0:
            _unfinished.add(working)
            working.add_done_callback(_unfinished.discard)
            break
        try:
            await asyncio.wait([working], timeout=left)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _undo(answer: asyncio.Future[T], give_back: Callable[[T], Awaitable[None]]) -> None:
    try:
        taken = await answer
    except (Exception, asyncio.CancelledError):  # noqa: BLE001 - then there is nothing to give back
        return
    await give_back(taken)
