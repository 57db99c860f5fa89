"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime

from catga_core.option_checks import check_count, check_seconds
from catga_testing.waiting import NotInTimeError

START = datetime(2030, 1, 1, tzinfo=UTC)
"""What a `ManualClock` shows when it is not told otherwise."""

_CLOSE = 1e-9  # seconds: three sleeps of 0.1 s fit into 0.3 s, whatever binary fractions say


class ManualClock:
    """Gives a test its own time: `overrides={"clock": ManualClock()}`.

    Nothing moves it but the test. It is the container's clock, so it decides what `clock.time()` says and when
    `clock.sleep()` ends; the limit that `send(..., timeout=)` sets is waited for in real seconds.

    Args:
        start: What it shows first: an aware datetime, or seconds since the epoch.

    Raises:
        ValueError: For a datetime without a time zone.
    """

    __slots__ = ("_elapsed", "_numbers", "_sleepers", "_start", "_watchers")

    def __init__(self, start: datetime | float = START) -> None:
        if isinstance(start, datetime) and start.tzinfo is None:
            msg = f"start={start!r} has no time zone: write datetime(..., tzinfo=UTC)"
            raise ValueError(msg)
        self._start = start.timestamp() if isinstance(start, datetime) else float(start)
        self._elapsed = 0.0
        self._numbers = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._watchers: list[tuple[int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def time(self) -> float:
        """Return seconds since the Unix epoch."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Return the seconds it was moved so far."""
        return self._elapsed

    @property
    def sleepers(self) -> list[float]:
        """In how many seconds each `sleep` that waits would end, the next first."""
        return [due - self._elapsed for due, _, future in sorted(self._sleepers) if not future.done()]

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has been moved so far; at once, but after a turn of the loop, for 0 or less.

        Args:
            seconds: Of this clock.
        """
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._numbers), future))
        self._tell_watchers()
        # A sleeper that is cancelled is skipped when its time comes.
        await future

    def advance(self, seconds: float) -> None:
        """Move the clock; whose time has come wakes up, the earliest first, at the next turn of the loop.

        All of them see the new time. For code that sleeps again and again, use `run_for`.

        Args:
            seconds: 0 or more.

        Raises:
            ValueError: For less than 0; time does not go back.
        """
        self._elapsed = self._after(seconds)
        while self._sleepers and self._sleepers[0][0] <= self._elapsed + _CLOSE:
            _wake(heapq.heappop(self._sleepers)[2])

    async def run_for(self, seconds: float) -> None:
        """Move the clock from sleeper to sleeper, each waking at its own time, until so many seconds have passed.

        A task that sleeps again before it waits for anything else is woken again within the same call, as often as it
        fits. Returns when the woken tasks have run until they wait.

        Args:
            seconds: 0 or more.

        Raises:
            ValueError: For less than 0; time does not go back.
        """
        end = self._after(seconds)
        while self._sleepers and self._sleepers[0][0] <= end + _CLOSE:
            due, _, future = heapq.heappop(self._sleepers)
            if future.done():
                continue
            self._elapsed = max(self._elapsed, due)
            _wake(future)
            # The sleeper's own turn, which the loop has put in line just now, comes before ours.
            await asyncio.sleep(0)
        self._elapsed = max(self._elapsed, end)
        await asyncio.sleep(0)

    async def sleeping(self, count: int = 1, *, within: float = 5.0) -> None:
        """Return when so many tasks sleep on this clock, so that a test moves it at the right moment.

        Args:
            count: How many.
            within: Real seconds to wait for them.

        Raises:
            NotInTimeError: Telling how many there are.
        """
        check_count("count", count, least=0)
        check_seconds("within", within, least=0)
        if len(self.sleepers) >= count:
            return
        watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (count, watcher)
        self._watchers.append(entry)
        try:
            async with asyncio.timeout(within):
                await watcher
        except TimeoutError:
            msg = f"{len(self.sleepers)} of {count} tasks sleep on the clock after {within:g} s"
            raise NotInTimeError(msg) from None
        finally:
            self._watchers.remove(entry)

    def _after(self, seconds: float) -> float:
        check_seconds("seconds", seconds, least=0)
        return self._elapsed + seconds

    def _tell_watchers(self) -> None:
        asleep = len(self.sleepers)
        for count, watcher in self._watchers:
            if asleep >= count:
                _wake(watcher)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
