"""`LogEventStore`: the event store of every storage, over its log of bytes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from catga_core.clock import Clock
from catga_core.errors import ConfigurationError, EventIdConflictError, EventTooLargeError
from catga_core.event_sourcing.append_hooks import AppendHooks
from catga_core.event_sourcing.event_types import EventTypes
from catga_core.event_sourcing.repetitions import stored_if_equal
from catga_core.identifiers import new_id
from catga_core.interfaces.event_log import (
    ANY,
    AppendResult,
    EventLog,
    EventRecord,
    RecordedEvent,
    StreamAppend,
)
from catga_core.interfaces.event_store import EventData, StoredEvent, StreamEvents
from catga_core.messages import Event
from catga_core.messages.context import active_context
from catga_core.messages.message_context import NO_HEADERS
from catga_core.option_checks import (
    MOST_COUNT,
    check_count,
    invalid,
    is_text,
    is_whole_number,
    shown_number,
)

MAX_EVENT_BYTES = 1_048_576
"""How many bytes one event may have, unless it is said otherwise."""

PAGE = 512
"""How many events are asked of a log at once: a round trip does not count then, and they are a few hundred KiB."""

_MICROSECONDS = 1_000_000
_ONE = (Event, EventData)


class LogEventStore:
    """Appends and reads events: checks what it is given, and turns events into records and back.

    Args:
        log: Keeps the bytes.
        types: The classes of the events.
        clock: When an event was recorded.
        hooks: What else is done with every append.
        max_event_bytes: How many bytes one event may have, before it is refused.

    Raises:
        ConfigurationError: For a limit below 1.
    """

    __slots__ = ("_clock", "_hooks", "_limit", "_log", "_types")

    def __init__(
        self,
        log: EventLog,
        types: EventTypes,
        clock: Clock,
        hooks: AppendHooks | None = None,
        *,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        if not is_whole_number(max_event_bytes) or max_event_bytes < 1:
            raise ConfigurationError(invalid("", "max_event_bytes", max_event_bytes, "Set an int >= 1."))
        self._log = log
        self._types = types
        self._clock = clock
        self._limit = max_event_bytes
        self._hooks = hooks or AppendHooks()
        self._hooks.heeded = True

    @property
    def log(self) -> EventLog:
        """The log of bytes below."""
        return self._log

    @property
    def decoder(self) -> EventTypes:
        """What makes events of the log's records."""
        return self._types

    @property
    def types(self) -> EventTypes:
        """The classes of the events."""
        return self._types

    def register(self, *events: type[Event]) -> None:
        """Make event classes known, so that stored events of their name and version are decoded."""
        self._types.register(*events)

    # --- appending ---

    async def append(
        self,
        stream_id: str,
        events: Event | EventData | Sequence[Event | EventData],
        *,
        expected_version: int = ANY,
    ) -> AppendResult:
        """Append one event or several to a stream, all or nothing; joins the ambient unit of work."""
        append = self._append_of(stream_id, events, expected_version)
        around = self._hooks.around
        if around is None or not append.records:
            return (await self._stored((append,)))[0]
        return (await around(self._stored, (append,)))[0]

    async def append_many(self, appends: Sequence[StreamEvents], /) -> list[AppendResult]:
        """Append to several streams, all or nothing; a stream without events guards the others."""
        made = [self._append_of(each.stream_id, each.events, each.expected_version) for each in appends]
        named: set[str] = set()
        for append in made:
            if append.stream_id in named:
                msg = f"append_many got the stream {append.stream_id!r} twice. Put its events into one StreamEvents."
                raise ValueError(msg)
            named.add(append.stream_id)
        if not made:
            return []
        around = self._hooks.around
        if around is None or not any(append.records for append in made):
            return await self._stored(made)
        return await around(self._stored, made)

    async def _stored(self, appends: Sequence[StreamAppend]) -> list[AppendResult]:
        while True:
            try:
                return await self._log.append(appends)
            except EventIdConflictError as conflict:
                # The log compares bytes. Equal content may have other bytes: a set in another order, or a field with its
                # default, written by another version of the program during a rolling deploy.
                same = await stored_if_equal(self._log, self._types, appends, conflict)
                if same is None:
                    raise
                appends = same

    def _append_of(self, stream_id: str, events: Any, expected_version: int) -> StreamAppend:
        check_stream_id(stream_id)
        if type(expected_version) is not int or not ANY <= expected_version <= MOST_COUNT:
            msg = (
                "expected_version must be an int from 0 to 2**53 - 1, NO_STREAM or ANY; got "
                f"{shown_number(expected_version)}. Pass the version you read."
            )
            raise ValueError(msg)
        context = active_context.get()
        correlation = causation = None
        if context is not None:
            correlation, causation = context.correlation_id, context.message_id
        recorded_at = round(self._clock.time() * _MICROSECONDS)
        if isinstance(events, _ONE):
            # One event is the usual case, and written without a list of ids to compare.
            record = self._record_of(stream_id, events, recorded_at, correlation, causation)
            return StreamAppend(stream_id, expected_version, (record,))
        _check_events(events)
        records = [self._record_of(stream_id, each, recorded_at, correlation, causation) for each in events]
        if len(records) > 1 and len({record.message_id for record in records}) < len(records):
            msg = (
                f"Two events for the stream {stream_id!r} have the same message_id. Give each event its own message "
                "id."
            )
            raise ValueError(msg)
        return StreamAppend(stream_id, expected_version, records)

    def _record_of(
        self, stream_id: str, given: Any, recorded_at: int, correlation: str | None, causation: str | None
    ) -> EventRecord:
        if isinstance(given, Event):
            event, message_id, headers = given, new_id(), NO_HEADERS
        else:
            event, message_id, headers = _unpacked(given)
        name, version, format, data = self._types.encode(event)
        if len(data) > self._limit:
            raise EventTooLargeError(stream_id, f"{name} v{version}", len(data), self._limit)
        return EventRecord(
            message_id, name, version, format, data, recorded_at, correlation, causation, headers
        )

    # --- reading ---

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
        """Give the events of a stream, a page at a time."""
        check_stream_id(stream_id)
        check_count("from_version", from_version)
        check_count("to_version", to_version, optional=True)
        check_count("limit", limit, least=0, optional=True)
        until = None if to_time is None else microseconds_of(to_time, "to_time")
        # No stream has so many events, and no storage can compare larger numbers.
        highest = None if to_version is None else min(to_version, MOST_COUNT)
        return self._read(stream_id, min(from_version, MOST_COUNT), highest, until, limit, backward)

    async def _read(
        self,
        stream_id: str,
        lowest: int,
        highest: int | None,
        until: int | None,
        limit: int | None,
        backward: bool,
    ) -> AsyncGenerator[StoredEvent]:
        types, read_page = self._types, self._log.read_stream
        left = limit
        if until is not None:
            last = await self._last_until(stream_id, until, highest)
            highest = last if highest is None else min(highest, last)
            if highest < lowest:
                return
        while left is None or left > 0:
            wanted = PAGE if left is None else min(left, PAGE)
            page = await read_page(
                stream_id, from_version=lowest, to_version=highest, limit=wanted, backward=backward
            )
            for recorded in page:
                yield StoredEvent(recorded, types)
                if left is not None:
                    left -= 1
                    if not left:
                        return
            if len(page) < wanted:
                return
            last = page[-1].version
            if backward:
                highest = last - 1
            else:
                lowest = last + 1
            if (highest is not None and lowest > highest) or highest == 0:
                return

    async def _last_until(self, stream_id: str, until: int, highest: int | None) -> int:
        """Return the version before the first event that was recorded later than a time.

        Times need not rise: a clock may step back, and processes have several. What a stream had at a time is a prefix of
        it, as for `state_at`, never an event without those before it.
        """
        lowest = 1
        while highest is None or lowest <= highest:
            page = await self._log.read_stream(
                stream_id, from_version=lowest, to_version=highest, limit=PAGE, backward=False
            )
            for recorded in page:
                if recorded.record.recorded_at > until:
                    return recorded.version - 1
            lowest += len(page)
            if len(page) < PAGE:
                break
        return lowest - 1

    def read_all(self, *, after: int = 0, limit: int | None = None) -> AsyncGenerator[StoredEvent]:
        """Give the events of all streams in the order of their positions, up to the last one there is when it gets there."""
        check_count("after", after, least=0)
        check_count("limit", limit, least=0, optional=True)
        return self._read_all(min(after, MOST_COUNT), limit)

    async def _read_all(self, after: int, limit: int | None) -> AsyncGenerator[StoredEvent]:
        types, read_page = self._types, self._log.read_all
        left = limit
        while left is None or left > 0:
            wanted = PAGE if left is None else min(left, PAGE)
            page: list[RecordedEvent] = await read_page(after=after, limit=wanted)
            for recorded in page:
                yield StoredEvent(recorded, types)
            if len(page) < wanted:
                return
            after = page[-1].position
            if left is not None:
                left -= wanted

    async def version(self, stream_id: str) -> int:
        """Return a stream's version: the number of its events, 0 for none."""
        check_stream_id(stream_id)
        return await self._log.version(stream_id)


def _unpacked(given: object) -> tuple[Event, str, Mapping[str, str]]:
    event: object = given.event if isinstance(given, EventData) else given
    if not isinstance(event, Event):
        msg = f"{type(event).__name__} is not an event. Append objects of classes derived from Event."
        raise TypeError(msg)
    if not isinstance(given, EventData):
        return event, new_id(), NO_HEADERS
    return event, _checked_id(given.message_id), _checked_headers(given.headers)


def _check_events(events: object) -> None:
    if isinstance(events, str | bytes) or not isinstance(events, Iterable):
        name = type(events).__name__
        msg = (
            f"{name} is not an event. Append one object of a class derived from Event, or a sequence of them."
        )
        raise TypeError(msg)


def check_stream_id(stream_id: object) -> None:
    """Refuse what cannot be a stream's name.

    Raises:
        ValueError: Telling what can.
    """
    if not (isinstance(stream_id, str) and stream_id and is_text(stream_id)):
        msg = f"stream_id must be a non-empty str; got {stream_id!r}. Pass a name such as 'order-17'."
        raise ValueError(msg)


def microseconds_of(time: datetime, name: str) -> int:
    """Return microseconds since the epoch.

    Args:
        time: An aware datetime.
        name: What it is called, for the error.

    Raises:
        ValueError: For a naive one.
    """
    if time.tzinfo is None or time.utcoffset() is None:
        msg = f"{name} must be timezone-aware; got {time!r}. Pass datetime(..., tzinfo=UTC)."
        raise ValueError(msg)
    return round(time.timestamp() * _MICROSECONDS)


def _checked_id(message_id: object) -> str:
    if message_id is None:
        return new_id()
    if not (isinstance(message_id, str) and message_id and is_text(message_id)):
        msg = f"message_id must be a non-empty str or None; got {message_id!r}. Pass None for a new id."
        raise ValueError(msg)
    return message_id


def _checked_headers(headers: Mapping[Any, Any]) -> Mapping[str, str]:
    for name, value in headers.items():
        if not (isinstance(name, str) and isinstance(value, str) and is_text(name) and is_text(value)):
            msg = f"The header {name!r} of an event must be a str; got {value!r}. Convert names and values to str."
            raise ValueError(msg)
    return headers
