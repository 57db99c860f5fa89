"""Using something from an event loop other than the one it was started in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

from catga_testing.contracts.limits import SOON


async def in_another_loop(use: Callable[[], Awaitable[Any]]) -> Any:
    """Run something in another event loop and thread; return its result or its exception.

    Args:
        use: Called in that loop; given up after `SOON`.
    """

    async def run() -> Any:
        try:
            async with asyncio.timeout(SOON):
                return await use()
        except Exception as error:  # noqa: BLE001  # what the test looks at
            return error

    # Without the context of the test: a unit of work in it belongs to its loop.
    return await asyncio.get_running_loop().run_in_executor(None, lambda: Context().run(asyncio.run, run()))


def loop_that_was_closed(use: Callable[[], Awaitable[Any]]) -> Any:
    """Run something in an event loop that is closed around whatever is still under way; return its result.

    Args:
        use: Called in that loop.
    """
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(use())
    finally:
        loop.close()
