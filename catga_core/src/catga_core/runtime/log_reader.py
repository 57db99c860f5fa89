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
from catga_core.runtime.tasks import background_task

T = TypeVar("T")

PAGE = 500
"""Events that one read of the log returns at most."""

_WINDOWS = 4
_KEPT_EVENTS = 4 * PAGE  # of a window
_KEPT_BYTES = 8 * 2**20  # of a window, besides its newest page


class LogEndLost(Exception):  # noqa: N818 - tells a consumer, and is never seen outside
    """The log no longer has the event that a consumer has read at its position.

    Args:
        position: The position.
        head: The last position of the log now.
    """

    def __init__(self, position: int, head: int) -> None:
        super().__init__()
        self.position: int = position
        self.head: int = head

    @property
    def reason(self) -> str:
        """What has happened, for health and logs."""
        if self.head < self.position:
            now = f"the log ends at position {self.head}"
        else:
            now = "another event is there"
        return f"the log has lost the event at position {self.position} ({now})"


class LogPage(msgspec.Struct, frozen=True):
    """Events of the log after a position, in the order of their positions, none left out.

    Args:
        events: The events, at most `PAGE`; empty at the head of the log.
        head: The last position of the log that is known.
        at_head: Whether the log had no event after these when it was read.
        event_id: The message id of the event at the position, `None` where there is none.
        read_at: The event loop's time before the log was read.
    """

    events: Sequence[RecordedEvent]
    head: int
    at_head: bool
    event_id: str | None
    read_at: float


class LogReader:
    """Reads the log for every consumer of a process, each at its own pace.

    It keeps a few windows of the log: runs of events without a gap. Consumers that are near one another read the log once
    between them: at its head, and the partitions of a subscription that catches up. A consumer that is elsewhere gets a
    window to itself, or reads its own pages where more consumers than windows are far apart. No consumer holds up
    another. Consumers at the head share one wait for the next event.

    A log may lose its end: in a lossy failover, by a restored backup, by a restart without data. Each read therefore includes
    the last event that was read before. Where it is gone, what was read is dropped, and each consumer whose
    event is gone gets a `LogEndLost`.

    Args:
        log: The log.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._windows: list[_Window] = []
        # What was read before the log lost its end, to find the last event that it still has.
        self._dropped: list[_Window] = []
        self._breaks = 0
        self._head = 0
        self._head_known_at = -1.0
        self._waiting: list[tuple[int, float]] = []
        self._poll: asyncio.Task[None] | None = None
        self._poll_after = 0
        self._poll_seconds = 0.0

    async def read(self, after: int, event_id: str | None = None) -> LogPage:
        """Return the events after a position.

        Args:
            after: The position before the first event; 0 for the beginning.
            event_id: The message id of the event that was read at that position; `None` where it is not known.

        Raises:
            LogEndLost: The log has no event, or another one, at the position.
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
            if window.start <= after and not window.dropped:
                break
        found = window.id_at(after)
        if event_id is not None and found != event_id:
            raise LogEndLost(after, self._head)
        events = window.after(after)
        end = events[-1].position if events else after
        head = max(self._head, end) if events else self._head
        return LogPage(events, head, window.at_head and end == window.end, found, window.read_at)

    async def contains(self, position: int, event_id: str | None) -> bool:
        """Return whether the log has the event that was read at a position; asks the log.

        Args:
            position: The position; 0 for the beginning, which every log has.
            event_id: The message id of that event; with `None`, any event at the position or after it counts.

        Raises:
            CatgaError: `PERSISTENCE_FAILED` when the log cannot be read.
        """
        if not position:
            return True
        found = await self._log.read_all(after=position - 1, limit=1)
        if event_id is None:
            return bool(found)
        return bool(found) and (found[0].position, found[0].record.message_id) == (position, event_id)

    async def last_known(self, position: int) -> int | None:
        """Return the last position up to which the log still has the events that were read, `None` where that is not known.

        Args:
            position: Where the log has lost its event.

        Raises:
            CatgaError: `PERSISTENCE_FAILED` when the log cannot be read.
        """
        for window in self._dropped:
            if window.start <= position <= window.end:
                return await self._last_of(window)
        return None

    async def _last_of(self, window: _Window) -> int | None:
        last = window.start if window.start == 0 else None
        after = max(window.start - 1, 0)
        while True:
            page = await self._log.read_all(after=after, limit=PAGE)
            for each in page:
                if window.id_at(each.position) != each.record.message_id:
                    return last
                last = each.position
            if len(page) < PAGE:
                return last
            after = page[-1].position

    async def wait(self, after: int, *, poll_seconds: float) -> None:
        """Return when there is an event after a position.

        Args:
            after: A position, up to which the caller has read.
            poll_seconds: Real seconds between two looks where the storage does not notify of appends by other processes. The
                shortest of all callers counts. It returns as well when the log has lost its end.

        Raises:
            CatgaError: `PERSISTENCE_FAILED` when the log cannot be read.
        """
        waiting = (after, poll_seconds)
        self._waiting.append(waiting)
        try:
            breaks = self._breaks
            while self._head <= after and self._breaks == breaks:
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
            began, end = _now(), window.end
            # With the last event that was read before, which has to be there still.
            page = await self._log.read_all(after=max(end - 1, 0), limit=PAGE + 1 if end else PAGE)
            last, found = (page[0], page[1:]) if end and page and page[0].position == end else (None, page)
            if not window.follows(last):
                self._drop()
                return
            window.add(found)
            window.read_at = began
            # A page without any event says only that the head is before the window.
            ends = window.at_head and (found or last is not None)
            self._saw_head(window.end if ends else await self._log.head())
        finally:
            window.reading = None

    def _saw_head(self, head: int) -> None:
        if head < self._head:
            self._drop()
        self._head = head
        self._head_known_at = _now()

    def _drop(self) -> None:
        """Drop what was read: the log has lost its end, and the events of that must not be handled."""
        for each in self._windows:
            each.dropped = True
        self._dropped = [*(each for each in self._windows if each.end > each.start), *self._dropped][
            :_WINDOWS
        ]
        self._windows.clear()
        self._breaks += 1

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
        self.read_at: float = 0.0
        self.dropped: bool = False
        self.reading: asyncio.Task[None] | None = None
        # The id of the event at `start`, `None` where there is none or it was not read.
        self._first_id: str | None = None
        self._events: list[RecordedEvent] = []
        self._positions: list[int] = []
        self._bytes = 0

    def id_at(self, position: int) -> str | None:
        """Return the message id of the event at a position, `None` where there is none or it was not read."""
        if position == self.start:
            return self._first_id
        place = bisect_right(self._positions, position) - 1
        if place < 0 or self._positions[place] != position:
            return None
        return self._events[place].record.message_id

    def follows(self, last: RecordedEvent | None) -> bool:
        """Return whether the log still has the last event of the window, where one was read.

        Args:
            last: The event that the log has at `end`.
        """
        known, found = self.id_at(self.end), None if last is None else last.record.message_id
        if known is None and self.start == self.end:
            self._first_id = found
            return True
        return known == found

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
        before = self.start
        surplus = len(self._events) - _KEPT_EVENTS
        left = self._bytes
        for each in self._events[: -len(found)]:
            if surplus <= 0 and left <= _KEPT_BYTES:
                break
            surplus -= 1
            left -= len(each.record.data)
            self.start = each.position
        dropped = bisect_right(self._positions, self.start)
        if self.start != before:
            self._first_id = self._events[dropped - 1].record.message_id
        del self._events[:dropped], self._positions[:dropped]
        self._bytes = left


def _size(events: Sequence[RecordedEvent]) -> int:
    return sum(len(each.record.data) for each in events)


def _start(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    task = background_task(work, context=Context())
    # Where all callers were cancelled meanwhile, the error is not retrieved otherwise.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def _now() -> float:
    return asyncio.get_running_loop().time()
