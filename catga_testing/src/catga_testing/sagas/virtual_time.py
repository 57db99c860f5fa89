"""Virtual time: an event loop that jumps to its next timer whenever nothing else runs."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

from catga_testing.clock import START

T = TypeVar("T")

_THREADS_SECONDS = 5.0
"""Real seconds to wait for another thread where the loop has nothing else to do."""


class _Selector(selectors.SelectSelector):
    """Moves the time of its loop where another selector would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now: float = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return []
        ready = super().select(_THREADS_SECONDS if timeout is None else 0)
        if not ready and timeout is None:
            msg = "Virtual time is deadlocked: no task can run and no timer is left. Find the task that waits forever."
            raise RuntimeError(msg)
        if not ready and timeout is not None:
            # At least to the next number: a small step is lost in a large one.
            self.now = max(self.now + timeout, math.nextafter(self.now, math.inf))
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which a sleep takes no real time."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self.set_debug(enabled=False)
        # Added to the time, the machine's own is nothing after some months: the timer that is due now would never run.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Return the virtual seconds that have passed."""
        return self._virtual.now

    def rewind(self) -> None:
        """Begin at 0 again, when no timer is left."""
        self._virtual.now = 0.0


class VirtualClock:
    """The container's clock of a virtual loop."""

    def now(self) -> datetime:
        """Return the virtual time of day, aware, in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def time(self) -> float:
        """Return virtual seconds since the Unix epoch."""
        return START.timestamp() + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        """Return the virtual seconds that have passed."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Suspend the task for a number of virtual seconds."""
        await asyncio.sleep(seconds)


def run_virtually(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function in virtual time; also from within another event loop, which stands still meanwhile.

    Args:
        main: The coroutine function.

    Returns:
        Its result.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(main)
    with ThreadPoolExecutor(1, "catga virtual time") as pool:
        return pool.submit(_run, main).result()


def _run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    loop = VirtualLoop()
    # A task of a process that has died ends with its death, which nothing awaits.
    loop.set_exception_handler(lambda _loop, _context: None)
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


async def end_other_tasks() -> None:
    """Cancel every other task of the loop, and wait for their ends."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for each in others:
        each.cancel()
    if others:
        await asyncio.wait(others)
        for each in others:
            if not each.cancelled():
                each.exception()
