"""The port of event streams, as an application sees them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, runtime_checkable

import msgspec

from catga_core.interfaces.event_log import (
    ANY,
    AppendResult,
    EventKind,
    EventLog,
    EventRecord,
    RecordedEvent,
)
from catga_core.interfaces.port import port
from catga_core.messages import Event
from catga_core.messages.message_context import NO_HEADERS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EventData(msgspec.Struct, frozen=True):
    """An event to append, with an identity or headers of its own.

    Args:
        event: The event.
        message_id: Its identity, the same on every try; `None` for a new one.
        headers: Strings to keep beside it.
    """

    event: Event
    message_id: str | None = None
    headers: Mapping[str, str] = NO_HEADERS


class EventDecoder(Protocol):
    """Decodes stored events, through their upcasters."""

    def decode(self, record: EventRecord, /) -> Event:
        """Return the event.

        Raises:
            SerializationError: For an unknown or ambiguous name, and for bytes that do not fit the class.
        """
        ...

    def decoder_for(self, kind: EventKind, /) -> Callable[[bytes], Event]:
        """Return the decoder of one kind of events.

        Its errors do not name the event, as those of `decode` do.

        Raises:
            SerializationError: For an unknown or ambiguous name, and for upcasters that lead in a circle.
        """
        ...


class StoredEvent(msgspec.Struct, weakref=False):
    """One event of a stream. It is decoded when `event` is first read; what cannot be decoded still has its bytes.

    Args:
        recorded: What the log holds.
        decoder: Makes the event of it.
    """

    recorded: RecordedEvent
    decoder: EventDecoder
    _event: Event | None = None

    @property
    def event(self) -> Any:
        """The event, as an object of its class (`Any`, because a stream mixes many).

        Raises:
            SerializationError: Naming the event, for an unknown or ambiguous name, and for bytes that do not fit.
        """
        found = self._event
        if found is None:
            found = self._event = self.decoder.decode(self.recorded.record)
        return found

    @property
    def stream_id(self) -> str:
        """The stream it is in."""
        return self.recorded.stream_id

    @property
    def version(self) -> int:
        """Its number in the stream, from 1."""
        return self.recorded.version

    @property
    def position(self) -> int:
        """Its place among all events."""
        return self.recorded.position

    @property
    def message_id(self) -> str:
        """The event's identity."""
        return self.recorded.record.message_id

    @property
    def correlation_id(self) -> str | None:
        """The conversation it belongs to."""
        return self.recorded.record.correlation_id

    @property
    def causation_id(self) -> str | None:
        """The message whose handling made it."""
        return self.recorded.record.causation_id

    @property
    def recorded_at(self) -> datetime:
        """When it was appended, by the clock of the process that did, in UTC."""
        return _EPOCH + timedelta(microseconds=self.recorded.record.recorded_at)

    @property
    def headers(self) -> Mapping[str, str]:
        """The strings beside it."""
        return self.recorded.record.headers

    @property
    def name(self) -> str:
        """Its wire name."""
        return self.recorded.record.name

    @property
    def schema_version(self) -> int:
        """The version of its shape."""
        return self.recorded.record.schema_version

    @property
    def data(self) -> bytes:
        """Its bytes, as stored."""
        return self.recorded.record.data


class StreamEvents(msgspec.Struct, frozen=True):
    """What to append to one stream, for `append_many`.

    Args:
        stream_id: The stream.
        events: One event or several; none for a guard: the others are appended only while it is at that version.
        expected_version: The version the stream must have.
    """

    stream_id: str
    events: Event | EventData | Sequence[Event | EventData]
    expected_version: int = ANY


@port("event_store")
@runtime_checkable
class EventStore(Protocol):
    """Streams of events: append with an expected version, read forward, backward, up to a time, and all in one order."""

    @property
    def log(self) -> EventLog:
        """The log of bytes below."""
        ...

    @property
    def decoder(self) -> EventDecoder:
        """What makes events of the log's records; with `log` it is the shortest way to read many."""
        ...

    def register(self, *events: type[Event]) -> None:
        """Make event classes known, so that stored events of their name and version are decoded.

        Args:
            events: Classes derived from `Event`; registering one again changes nothing.

        Raises:
            ConfigurationError: A class is not an event class, or two have one name and version.
        """
        ...

    async def append(
        self,
        stream_id: str,
        events: Event | EventData | Sequence[Event | EventData],
        *,
        expected_version: int = ANY,
    ) -> AppendResult:
        """Append one event or several to a stream, all or nothing; joins the ambient unit of work.

        Each is stored with the correlation of the message that is being handled. The first event of a stream is version
        1. Appending equal events with the same message ids again answers as the first time did.

        Args:
            stream_id: The stream's name, not empty.
            events: Events, or `EventData` for an identity or headers of their own; none at all appends nothing, and checks the version.
            expected_version: The number of events the stream must have, `NO_STREAM`, or `ANY`.

        Raises:
            ConcurrencyError: When the stream is at another version; nothing was written.
            EventIdConflictError: When the stream has another event under one of the message ids; nothing was written.
            CatgaError: `SERIALIZATION_FAILED` when one has no bytes or too many, `PERSISTENCE_FAILED` when it could not
                be written; `details["outcome"]` is `unknown` where it may have been.
            ValueError: For an empty stream name, or an expected version below -1.
        """
        ...

    async def append_many(self, appends: Sequence[StreamEvents], /) -> list[AppendResult]:
        """Append to several streams, all or nothing; joins the ambient unit of work.

        A stream without events guards the others: its version is checked in the same step in which they are written. All
        of it appended again with the same message ids answers as the first time did, though the guard has gone on since.

        Args:
            appends: One for each stream.

        Raises:
            ConcurrencyError: For a stream at another version than expected; nothing was written.
            CatgaError: As `append`.
            ValueError: As `append`, and when a stream is named twice.
        """
        ...

    def read(
        self,
        stream_id: str,
        *,
        from_version: int = 1,
        to_version: int | None = None,
        to_time: datetime | None = None,
        limit: int | None = None,
        backward: bool = False,
    ) -> AsyncGenerator[StoredEvent]:
        """Give the events of a stream, a page at a time.

        Args:
            stream_id: The stream; one that does not exist gives nothing.
            from_version: The lowest version wanted.
            to_version: The highest wanted, `None` for the end.
            to_time: Read up to the first event that was recorded later, as `state_at` does; an aware datetime. Clocks may
                step back, so a later event can have an earlier time; it is left out with those before it.
            limit: How many at most, `None` for all.
            backward: Begin at the end.

        Raises:
            ValueError: For a version below 1, a limit below 0, or a naive datetime.
        """
        ...

    def read_all(self, *, after: int = 0, limit: int | None = None) -> AsyncGenerator[StoredEvent]:
        """Give the events of all streams in the order of their positions, up to the last one there is now.

        Args:
            after: The position before the first one wanted.
            limit: How many at most, `None` for all.
        """
        ...

    async def version(self, stream_id: str) -> int:
        """Return a stream's version: the number of its events, 0 for none."""
        ...
