"""The event log in SQLite."""

# ruff: noqa: S608 - statements are put together from texts of this module only

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from catga_core.interfaces.event_log import (
    AppendResult,
    EventKind,
    EventRecord,
    RecordedEvent,
    StreamAppend,
)
from catga_core.messages.message_context import NO_HEADERS
from catga_core.storage_support.append_checks import check_appends
from catga_core.storage_support.records import decode_headers
from catga_sqlite.engine.appending import Appender
from catga_sqlite.engine.kinds import known_kinds, read_kinds
from catga_sqlite.engine.wakeups import EVENTS
from catga_sqlite.storage import SqliteStorage

_COLUMNS: Final = (
    "position, version, message_id, kind, recorded_at, correlation_id, causation_id, headers, data"
)
_OF_STREAM: Final = (
    "FROM catga_events e WHERE stream = (SELECT id FROM catga_streams WHERE name = ?) "
    "AND version BETWEEN ? AND ? ORDER BY version {} LIMIT ?"
)
_READ: Final = f"SELECT NULL, {_COLUMNS} {_OF_STREAM}"
_PAYLOADS: Final = f"SELECT kind, data {_OF_STREAM.format('ASC')}"
_FORWARD: Final = _READ.format("ASC")
_BACKWARD: Final = _READ.format("DESC")
# CROSS JOIN: the events in their order, each with its stream's name, never the other way round.
_ALL: Final = (
    f"SELECT s.name, {_COLUMNS} FROM catga_events e CROSS JOIN catga_streams s ON s.id = e.stream "
    "WHERE position > ? ORDER BY position LIMIT ?"
)
_VERSION: Final = (
    "SELECT max(version) FROM catga_events WHERE stream = (SELECT id FROM catga_streams WHERE name = ?)"
)
_HEAD: Final = "SELECT max(position) FROM catga_events"
_LAST: Final = 2**63 - 1
_AT_ONCE: Final = 128


class SqliteEventLog:
    """Streams of events in the file.

    Args:
        storage: The file.
    """

    def __init__(self, storage: SqliteStorage) -> None:
        self._storage = storage
        self._together = Appender().together

    async def append(self, appends: Sequence[StreamAppend], /) -> list[AppendResult]:
        """Append to one or several streams, all or nothing; joins the ambient unit of work."""
        check_appends(appends)
        results: list[AppendResult] = await self._storage.write_together(self._together, appends, EVENTS)
        return results

    async def read_stream(
        self, stream_id: str, /, *, from_version: int, to_version: int | None, limit: int, backward: bool
    ) -> list[RecordedEvent]:
        """Return events of one stream, at most `limit`."""
        last = _LAST if to_version is None else to_version
        return await self._storage.read(_read_stream, stream_id, from_version, last, limit, backward)

    async def read_payloads(
        self, stream_id: str, /, *, from_version: int, to_version: int | None, limit: int
    ) -> list[tuple[EventKind, bytes]]:
        """Return the kinds and bytes of events of one stream, at most `limit`: half the work of whole records."""
        last = _LAST if to_version is None else to_version
        return await self._storage.read(_read_payloads, (stream_id, from_version, last, limit))

    async def read_all(self, *, after: int, limit: int) -> list[RecordedEvent]:
        """Return events of all streams in the order of their positions, at most `limit`."""
        return await self._storage.read(_read_all, after, limit)

    async def version(self, stream_id: str, /) -> int:
        """Return a stream's version: the number of its events, 0 for none."""
        return await self._storage.read(_number, _VERSION, (stream_id,))

    async def head(self) -> int:
        """Return the position of the last event, 0 for none."""
        return await self._storage.read(_number, _HEAD, ())

    async def wait(self, *, after: int, timeout: float) -> None:
        """Return when there may be an event after a position, at the latest after so many seconds of real time."""

        async def due() -> float | None:
            return 0.0 if await self.head() > after else None

        await self._storage.wakeups.wait(EVENTS, timeout, due)


def _number(connection: sqlite3.Connection, query: str, parameters: tuple[Any, ...]) -> int:
    (found,) = connection.execute(query, parameters).fetchone()
    return found or 0


def _read_stream(
    connection: sqlite3.Connection, stream_id: str, first: int, last: int, limit: int, backward: bool
) -> list[RecordedEvent]:
    query = _BACKWARD if backward else _FORWARD
    return _recorded(connection, query, (stream_id, first, last, limit), stream_id)


def _read_payloads(
    connection: sqlite3.Connection, parameters: tuple[Any, ...]
) -> list[tuple[EventKind, bytes]]:
    rows = connection.execute(_PAYLOADS, parameters).fetchall()
    try:
        return _with_kinds(rows, known_kinds())
    except KeyError:
        read_kinds(connection)
        return _with_kinds(rows, known_kinds())


def _with_kinds(
    rows: Iterable[tuple[int, bytes]], kinds: Mapping[int, EventKind]
) -> list[tuple[EventKind, bytes]]:
    return [(kinds[number], data) for number, data in rows]


def _read_all(connection: sqlite3.Connection, after: int, limit: int) -> list[RecordedEvent]:
    return _recorded(connection, _ALL, (after, limit), None)


def _recorded(
    connection: sqlite3.Connection, query: str, parameters: tuple[Any, ...], stream_id: str | None
) -> list[RecordedEvent]:
    try:
        # Some dozens of rows at once: faster than one by one, and freed before the next ones are made, which spares the
        # memory and the garbage collector.
        fetch = functools.partial(connection.execute(query, parameters).fetchmany, _AT_ONCE)
        return _made(chain.from_iterable(iter(fetch, [])), stream_id, known_kinds())
    except KeyError:
        # A kind of event that this process meets for the first time. The rows first: by then the kinds of all of them are
        # there, while a query after the kinds may already see events of a newer one.
        rows = connection.execute(query, parameters).fetchall()
        read_kinds(connection)
        return _made(rows, stream_id, known_kinds())


def _made(
    rows: Iterable[tuple[Any, ...]], stream_id: str | None, kinds: Mapping[int, EventKind]
) -> list[RecordedEvent]:
    """Return the events of rows; the first column of each is its stream, where that is not given.

    This is run for every event that is read: what it calls is written out.
    """
    return [
        RecordedEvent(
            name_of_stream if stream_id is None else stream_id,
            version,
            position,
            EventRecord(
                message_id.hex() if type(message_id) is bytes else message_id,
                name,
                schema_version,
                format,
                data,
                recorded_at,
                correlation_id.hex() if type(correlation_id) is bytes else correlation_id,
                causation_id.hex() if type(causation_id) is bytes else causation_id,
                NO_HEADERS if headers is None else decode_headers(headers),
            ),
        )
        for (
            name_of_stream,
            position,
            version,
            message_id,
            kind,
            recorded_at,
            correlation_id,
            causation_id,
            headers,
            data,
        ) in rows
        for name, schema_version, format in (kinds[kind],)
    ]
