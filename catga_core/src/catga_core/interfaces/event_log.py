"""The port of an append-only log of events as bytes: what a storage implements, and the event store is built on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, TypeAlias, runtime_checkable

import msgspec

from catga_core.interfaces.port import port
from catga_core.messages.message_context import NO_HEADERS

ANY: Final[int] = -1
"""Append whatever the stream's version is."""

NO_STREAM: Final[int] = 0
"""Append only when the stream has no event yet."""


EventKind: TypeAlias = tuple[str, int, str]
"""The wire name of an event, the version of its shape, and the serializer of its bytes."""


# gc=False: they hold nothing that could refer back to them, and a page of them is made at once.
class EventRecord(msgspec.Struct, frozen=True, gc=False):
    """One event as it is to be stored.

    Args:
        message_id: The event's identity; appended again to the same stream it is recognised, not stored twice.
        name: Its stable wire name.
        schema_version: The version of its shape, from 1.
        format: The serializer that made the bytes.
        data: The bytes.
        recorded_at: Microseconds since the Unix epoch.
        correlation_id: The conversation it belongs to, `None` for none.
        causation_id: The message whose handling made it, `None` for none.
        headers: Strings beside it.
    """

    message_id: str
    name: str
    schema_version: int
    format: str
    data: bytes
    recorded_at: int
    correlation_id: str | None = None
    causation_id: str | None = None
    headers: Mapping[str, str] = NO_HEADERS


class RecordedEvent(msgspec.Struct, frozen=True, gc=False):
    """One event as it is stored.

    Args:
        stream_id: The stream it is in.
        version: Its number in the stream, from 1.
        position: Its place among all events of the log, rising from 1.
        record: What was stored.
    """

    stream_id: str
    version: int
    position: int
    record: EventRecord


class StreamAppend(msgspec.Struct, frozen=True):
    """Events for the end of one stream; without any, a guard: the others are appended only while it is at that version.

    Args:
        stream_id: The stream.
        expected_version: The version the stream must have: a number of events, `NO_STREAM`, or `ANY`, with which a guard
            guards nothing.
        records: The events, none for a guard.
    """

    stream_id: str
    expected_version: int
    records: Sequence[EventRecord]


class AppendResult(msgspec.Struct, frozen=True):
    """Where appended events are.

    Args:
        version: The stream's version after them: the last one's number.
        position: The last one's place among all events; 0 for a guard, and while a unit of work has yet to commit it,
            where the storage tells positions only then.
    """

    version: int
    position: int


@port("event_log", kept=True, transactional=True, kit="catga_testing.contracts:EventLogContract")
@runtime_checkable
class EventLog(Protocol):
    """Streams of events as bytes, and all of them in one order.

    Positions rise in the order of commits, and within a unit of work in the order of its calls: who has read up to a position
    never finds a new event before it.
    """

    async def append(self, appends: Sequence[StreamAppend], /) -> list[AppendResult]:
        """Append to one or several streams, all or nothing; joins the ambient unit of work.

        A stream whose end, or with `ANY` whose past, already has exactly these message ids in this order, after the
        expected version, answers as it did the first time: trying again after an unknown outcome is safe. That holds only
        for equal events (name, version, format and bytes): another event under a known id is refused.

        A guard is checked in the same step as the others are written, in a unit of work at its commit at the latest; it
        writes nothing, and makes no stream. Guards have done their work where all other appends are repetitions: their
        streams may have gone on since. Guards alone always decide.

        Args:
            appends: One for each stream; a stream is named once.

        Returns:
            One result for each, in the same order.

        Raises:
            ConcurrencyError: When a stream is not at its expected version; nothing was written.
            EventIdConflictError: When the message ids are those of a repetition, and an event is not; nothing was written.
            CatgaError: `PERSISTENCE_FAILED`; `details["outcome"]` is `unknown` where it may have been written.
        """
        ...

    async def read_stream(
        self, stream_id: str, /, *, from_version: int, to_version: int | None, limit: int, backward: bool
    ) -> list[RecordedEvent]:
        """Return events of one stream, at most `limit`.

        Args:
            stream_id: The stream; one that does not exist has no events.
            from_version: The lowest version wanted, from 1.
            to_version: The highest wanted, `None` for the end.
            limit: How many at most, 1 or more.
            backward: Begin at the highest and go down.
        """
        ...

    async def read_all(self, *, after: int, limit: int) -> list[RecordedEvent]:
        """Return events of all streams in the order of their positions, at most `limit`.

        Fewer than `limit` means that there are no more now.

        Args:
            after: The position before the first one wanted; 0 for the beginning.
            limit: How many at most, 1 or more.
        """
        ...

    async def version(self, stream_id: str, /) -> int:
        """Return a stream's version: the number of its events, 0 for none."""
        ...

    async def head(self) -> int:
        """Return the position of the last event, 0 for none."""
        ...

    async def wait(self, *, after: int, timeout: float) -> None:
        """Return when there may be an event after a position, at the latest after so many seconds.

        Appends of this process wake it at once; those of others where the storage can tell, else it only waits. Other
        tasks get a turn in any case.

        Args:
            after: A position.
            timeout: Seconds of real time.
        """
        ...


@runtime_checkable
class PayloadLog(Protocol):
    """What a log may have besides: a read that leaves out what no state is made of.

    Aggregates and deciders without snapshots are loaded with it where the log has it, and with `read_stream` elsewhere. It
    is worth having where ids, times and headers have to be fetched and decoded for every event.
    """

    async def read_payloads(
        self, stream_id: str, /, *, from_version: int, to_version: int | None, limit: int
    ) -> list[tuple[EventKind, bytes]]:
        """Return the kinds and bytes of events of one stream by rising versions, at most `limit`; else as `read_stream`.

        Args:
            stream_id: The stream; one that does not exist has no events.
            from_version: The version of the first one, from 1.
            to_version: The highest wanted, `None` for the end.
            limit: How many at most, 1 or more.
        """
        ...
