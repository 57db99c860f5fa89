"""The event log in memory: one list of all events, and one of each stream's."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter

from catga_core.errors import ConcurrencyError, EventIdConflictError, RepeatedEventError
from catga_core.interfaces.event_log import ANY, AppendResult, RecordedEvent, StreamAppend
from catga_core.memory.storage import MemoryStorage
from catga_core.runtime.waiter import Waiter
from catga_core.storage_support.append_checks import (
    all_repeated,
    check_appends,
    guard_result,
    refused_guard,
    same_record,
)

_position = attrgetter("position")


class _Stream:
    """The events of one stream, and the version each message id has in it."""

    __slots__ = ("events", "versions")

    def __init__(self) -> None:
        self.events: list[RecordedEvent] = []
        self.versions: dict[str, int] = {}


_NO_EVENTS = _Stream()


class _Log:
    """All events. A unit of work appends to the very lists; who is outside of it reads up to what is committed."""

    def __init__(self, _storage: MemoryStorage) -> None:
        self.events: list[RecordedEvent] = []
        self.streams: dict[str, _Stream] = {}
        self.committed = 0
        self.waiter = Waiter()

    def commit(self) -> None:
        self.committed = len(self.events)

    def roll_back(self) -> None:
        self.roll_back_to(self.committed)

    def save(self) -> int:
        return len(self.events)

    def roll_back_to(self, mark: int, /) -> None:
        for event in reversed(self.events[mark:]):
            stream = self.streams[event.stream_id]
            stream.events.pop()
            del stream.versions[event.record.message_id]
            if not stream.events:
                del self.streams[event.stream_id]
        del self.events[mark:]

    def release(self, mark: int, /) -> None:
        """Nothing is kept for a mark."""


class MemoryEventLog:
    """Keeps streams of events in memory; appending and reading cost the same however long the log is.

    Args:
        storage: Where they are kept.
    """

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self._log = storage.part(_Log)

    async def append(self, appends: Sequence[StreamAppend], /) -> list[AppendResult]:
        """Append to one or several streams, all or nothing; joins the ambient unit of work."""
        check_appends(appends)
        unit = await self._storage.write()
        log = self._log
        # Every stream is looked at before any is written to: all or nothing.
        found = [self._repeated(each) if each.records else None for each in appends]
        moved = refused_guard(appends, self._newest)
        if moved is not None and not all_repeated(appends, found):
            raise moved
        results: list[AppendResult] = []
        if unit is not None and len(log.events) == log.committed:
            unit.wrote(log)
        for append, result in zip(appends, found, strict=True):
            results.append(self._append(append) if result is None else result)
        if unit is None:
            log.commit()
        self._storage.wake(log.waiter)
        return results

    async def read_stream(
        self, stream_id: str, /, *, from_version: int, to_version: int | None, limit: int, backward: bool
    ) -> list[RecordedEvent]:
        """Return events of one stream, at most `limit`."""
        end = self._version(stream_id)
        if to_version is not None:
            end = min(end, to_version)
        start = max(from_version, 1) - 1
        if start >= end:
            return []
        events = self._log.streams[stream_id].events
        if backward:
            newest_first = events[max(start, end - limit) : end]
            newest_first.reverse()
            return newest_first
        return events[start : min(end, start + limit)]

    async def read_all(self, *, after: int, limit: int) -> list[RecordedEvent]:
        """Return events of all streams in the order of their positions, at most `limit`."""
        start = max(after, 0)
        return self._log.events[start : min(self._end(), start + limit)]

    async def version(self, stream_id: str, /) -> int:
        """Return a stream's version: the number of its events, 0 for none."""
        return self._version(stream_id)

    async def head(self) -> int:
        """Return the position of the last event, 0 for none."""
        return self._end()

    async def wait(self, *, after: int, timeout: float) -> None:
        """Return when there may be an event after a position, at the latest after so many seconds."""
        # Other tasks get a turn in any case, also where a caller waits in a loop.
        await asyncio.sleep(0)
        if self._end() <= after:
            await self._log.waiter.wait(timeout=timeout)

    def _end(self) -> int:
        log = self._log
        return len(log.events) if self._storage.reads_its_own() else log.committed

    def _version(self, stream_id: str) -> int:
        stream = self._log.streams.get(stream_id)
        end = self._end()
        if stream is None:
            return 0
        events = stream.events
        return len(events) if events[-1].position <= end else bisect_right(events, end, key=_position)

    def _repeated(self, append: StreamAppend) -> AppendResult | None:
        """Return the answer to an append that was done before, `None` for one that may be done now."""
        stream = self._log.streams.get(append.stream_id, _NO_EVENTS)
        records, expected, actual = append.records, append.expected_version, len(stream.events)
        known = [stream.versions[each.message_id] for each in records if each.message_id in stream.versions]
        if known:
            first, last = known[0], known[-1]
            here = expected == ANY or (expected, actual) == (first - 1, last)
            if here and len(known) == len(records) and known == list(range(first, last + 1)):
                for event, record in zip(stream.events[first - 1 : last], records, strict=True):
                    if not same_record(event.record, record):
                        raise EventIdConflictError(append.stream_id, record.message_id, event.version)
                return AppendResult(last, stream.events[last - 1].position)
        if expected not in {ANY, actual}:
            raise ConcurrencyError(append.stream_id, expected, actual)
        if known:
            event = stream.events[known[0] - 1]
            raise RepeatedEventError(append.stream_id, event.record.message_id, event.version)
        return None

    def _newest(self, stream_id: str) -> int:
        return len(self._log.streams.get(stream_id, _NO_EVENTS).events)

    def _append(self, append: StreamAppend) -> AppendResult:
        log = self._log
        stream = log.streams.get(append.stream_id)
        if not append.records:
            return guard_result(append, self._newest(append.stream_id))
        if stream is None:
            stream = log.streams[append.stream_id] = _Stream()
        version, position = len(stream.events), len(log.events)
        for record in append.records:
            version += 1
            position += 1
            event = RecordedEvent(append.stream_id, version, position, record)
            log.events.append(event)
            stream.events.append(event)
            stream.versions[record.message_id] = version
        return AppendResult(version, position)
