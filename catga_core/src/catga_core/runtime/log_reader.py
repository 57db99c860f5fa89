"""`LogReader`: read the event log once for all consumers of a process."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Coroutine, Sequence
from contextvars import Context
from typing import Any, ClassVar, TypeVar

import msgspec

from catga_core.interfaces.event_log import EventLog, RecordedEvent
from catga_core.runtime.cancellation import cancel_and_wait
from catga_core.runtime.retry import jittered

T = TypeVar("T")

PAGE = 500
"""Events that one read of the log returns at most."""

_WINDOWS = 4
_KEPT_EVENTS = 4 * PAGE  # of a window
_KEPT_BYTES = 8 * 2**20  # of a window, besides its newest page


class LogPage(msgspec.Struct, frozen=True):
    """Events of the log after a position, in the order of their positions, none left out.

    Args:
        events: The events, at most `PAGE`; empty at the head of the log.
        head: The last position of the log that is known.
        at_head: Whether the log had no event after these when it was read.
    """

    events: Sequence[RecordedEvent]
    head: int
    at_head: bool


class LogReader:
    """Reads the log for every consumer of a process, each at its own pace.

    It keeps a few windows of the log: runs of events without a gap. Consumers that are near one another read the log once
    between them: at its head, and the partitions of a subscription that catches up. A consumer that is elsewhere gets a
    window of its own, or reads pages of its own where more consumers than windows are far apart. No consumer holds up
    another. Consumers at the head share one wait for the next event.

    Args:
        log: The log.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._windows: list[_Window] = []
        self._head = 0
        self._head_known_at = -1.0
        self._waiting: list[tuple[int, float]] = []
        self._poll: asyncio.Task[None] | None = None
        self._poll_after = 0
        self._poll_seconds = 0.0

    async def read(self, after: int) -> LogPage:
        """Return the events after a position.

        Args:
            after: The position before the first event; 0 for the beginning.

        Raises:
            CatgaError: `PERSISTENCE_FAILED` when the log cannot be read.
        """
        while True:
            window = self._window(after)
            if after == window.end:
                reading = window.reading
                if reading is None:
                    # Not in a unit of work of the caller: what it reads is for all.
                    reading = window.reading = _start(self._extend(window))
                await asyncio.shield(reading)
            if window.start <= after:
                break
        events = window.after(after)
        end = events[-1].position if events else after
        return LogPage(events, max(self._head, end), window.at_head and end == window.end)

    async def wait(self, after: int, *, poll_seconds: float) -> None:
        """Return when there is an event after a position.

        Args:
            after: A position, up to which the caller has read.
            poll_seconds: Real seconds between two looks where the storage cannot tell of appends by other processes. The
                shortest of all callers counts.

        Raises:
            CatgaError: `PERSISTENCE_FAILED` when the log cannot be read.
        """
        waiting = (after, poll_seconds)
        self._waiting.append(waiting)
        try:
            while self._head <= after:
                poll = self._poll
                if poll is not None and (after < self._poll_after or poll_seconds < self._poll_seconds):
                    await cancel_and_wait(poll)
                    continue
                if poll is None:
                    self._poll_after = min(position for position, _ in self._waiting)
                    self._poll_seconds = min(seconds for _, seconds in self._waiting)
                    poll = self._poll = _start(self._look())
                    poll.add_done_callback(self._polled)
                await asyncio.wait([poll])
                if not poll.cancelled():
                    poll.result()
        finally:
            self._waiting.remove(waiting)
            if not self._waiting and self._poll is not None:
                await cancel_and_wait(self._poll)

    async def head(self, *, max_age: float) -> int:
        """Return the last position of the log, as of a moment ago.

        Args:
            max_age: Real seconds that it may be old.

        Raises:
            CatgaError: `PERSISTENCE_FAILED` when the log cannot be read.
        """
        if self._head_known_at < 0 or _now() - self._head_known_at > max_age:
            self._saw_head(await self._log.head())
        return self._head

    async def _look(self) -> None:
        """Wait once, then read for all who wait."""
        await self._log.wait(after=self._poll_after, timeout=jittered(self._poll_seconds))
        await self.read(self._poll_after)

    def _polled(self, poll: asyncio.Task[None]) -> None:
        if self._poll is poll:
            self._poll = None

    async def _extend(self, window: _Window) -> None:
        try:
            found = await self._log.read_all(after=window.end, limit=PAGE)
            window.add(found)
            # An empty page says only that the head is not after the window.
            self._saw_head(window.end if found and window.at_head else await self._log.head())
        finally:
            window.reading = None

    def _saw_head(self, head: int) -> None:
        if head < self._head:
            # The log has lost its end, in a failover or by a restore; what was read of that must not be handled.
            self._windows.clear()
        self._head = head
        self._head_known_at = _now()

    def _window(self, after: int) -> _Window:
        """Return a window with events after a position, else one that ends there."""
        found = next((each for each in self._windows if each.start <= after < each.end), None)
        if found is None:
            found = next((each for each in self._windows if each.end == after), None)
        if found is None:
            found = _Window(after)
        else:
            self._windows.remove(found)
        self._windows = [found, *self._windows[: _WINDOWS - 1]]
        return found


class _Window:
    """A run of the log without a gap: every event after `start`, up to and including `end`."""

    def __init__(self, start: int) -> None:
        self.start: int = start
        self.end: int = start
        self.at_head: bool = False
        self.reading: asyncio.Task[None] | None = None
        self._events: list[RecordedEvent] = []
        self._positions: list[int] = []
        self._bytes = 0

    def after(self, position: int) -> Sequence[RecordedEvent]:
        first = bisect_right(self._positions, position)
        return self._events[first : first + PAGE]

    def add(self, found: Sequence[RecordedEvent]) -> None:
        self.at_head = len(found) < PAGE
        if not found:
            return
        self._events += found
        self._positions += [each.position for each in found]
        self._bytes += _size(found)
        self.end = self._positions[-1]
        surplus = len(self._events) - _KEPT_EVENTS
        left = self._bytes
        for each in self._events[: -len(found)]:
            if surplus <= 0 and left <= _KEPT_BYTES:
                break
            surplus -= 1
            left -= len(each.record.data)
            self.start = each.position
        dropped = bisect_right(self._positions, self.start)
        del self._events[:dropped], self._positions[:dropped]
        self._bytes = left


def _size(events: Sequence[RecordedEvent]) -> int:
    return sum(len(each.record.data) for each in events)


def _start(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    task = asyncio.create_task(work, context=Context())
    # Where all who asked have been cancelled meanwhile, nobody else looks at its error.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def _now() -> float:
    return asyncio.get_running_loop().time()
