"""Appending events: what several callers ask is decided one after the other, and written in one go."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, TypeAlias

from catga_core.errors import CatgaError, ConcurrencyError, EventIdConflictError, RepeatedEventError
from catga_core.interfaces.event_log import ANY, AppendResult, EventKind, EventRecord, StreamAppend
from catga_core.storage_support.append_checks import refused_guard, with_guards
from catga_core.storage_support.records import encode_headers
from catga_sqlite.engine.columns import bound_id, optional_id
from catga_sqlite.engine.ids import pack_id
from catga_sqlite.engine.jobs import Many
from catga_sqlite.engine.kinds import keep_kind, number_of

Request: TypeAlias = Sequence[StreamAppend]
Outcome: TypeAlias = list[AppendResult] | CatgaError

_HEAD: Final = "SELECT coalesce(max(position), 0) FROM catga_events"
_OTHERS: Final = "PRAGMA data_version"
_STREAM: Final = "SELECT id, (SELECT max(version) FROM catga_events WHERE stream = catga_streams.id) FROM catga_streams WHERE name = ?"
_LAST_STREAM: Final = "SELECT coalesce(max(id), 0) FROM catga_streams"
# Rows that one statement writes. Every statement releases the GIL and waits to get it back, which a busy loop may delay by
# milliseconds: few statements matter.
_SIZES: Final = (64, 32, 8, 4, 2, 1)


def _inserts(table: str, row: str) -> dict[int, str]:
    return {size: f"INSERT INTO {table} VALUES {', '.join([row] * size)}" for size in _SIZES}  # noqa: S608


_NEW_STREAMS: Final = _inserts("catga_streams", "(?, ?)")
# Binding None costs as much as writing the column, so absent ids and headers are literals of the statement.
_PLAIN_EVENTS: Final = _inserts("catga_events", "(?, ?, ?, ?, ?, ?, NULL, NULL, NULL, ?)")
_LINKED_EVENTS: Final = _inserts("catga_events", "(?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)")
_FULL_EVENTS: Final = _inserts("catga_events", "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
_FIND: Final = "SELECT version FROM catga_events WHERE stream = ? AND message_id = ?"
_AT: Final = "SELECT message_id, position, kind, data FROM catga_events WHERE stream = ? AND version = ?"
# Streams whose version is remembered from one transaction to the next.
_REMEMBERED: Final = 10_000


class _Stream:
    """One stream as it will be after what was decided so far; `number` is `None` until it is written."""

    __slots__ = ("name", "number", "version")

    def __init__(self, name: str, number: int | None, version: int) -> None:
        self.name = name
        self.number = number
        self.version = version


class Appender:
    """Appends what several callers ask, and remembers the versions of streams; used in the writer's thread only.

    What it remembers holds as long as no other connection has committed (`data_version` is the same) and none of its own
    appends was rolled back (the last position is the same: whatever is appended on this connection is appended here).
    """

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None
        self._others: int = 0
        self._head: int = 0
        self._streams: dict[str, _Stream] = {}
        self._kinds: dict[EventKind, int] = {}
        self._plain: list[tuple[Any, ...]] = []
        self._linked: list[tuple[Any, ...]] = []
        self._full: list[tuple[Any, ...]] = []
        self._new_streams: list[tuple[Any, ...]] = []
        self._last_stream: int | None = None
        self._alone = False
        # Whether ids are looked for before anything is written.
        self._careful = False
        # One object for all time: jobs of one kind are found by it.
        self.together: Many = self._together

    def _together(self, connection: sqlite3.Connection, requests: Sequence[Request]) -> list[Outcome]:
        """Append what several callers ask, in their order; each whole or refused, whatever becomes of the others.

        Args:
            connection: In a transaction.
            requests: What each asks; checked before.

        Returns:
            For each its results or its refusal.

        Raises:
            sqlite3.IntegrityError: When an id is in a stream already where several are asked together; asked alone, that
                one is refused.
        """
        self._begin(connection)
        self._alone = len(requests) == 1
        self._careful = self._alone and not _is_one_event(requests[0])
        outcomes: list[Outcome] = []
        try:
            for request in requests:
                try:
                    outcomes.append(self._one(request))
                except CatgaError as refusal:
                    outcomes.append(refusal)
            self._write()
        except sqlite3.IntegrityError:
            taken = self._refusal_of_one(requests)
            self._connection = None
            if taken is None:
                raise
            return [taken]
        except BaseException:
            # A new stream may have been written and none of its events: the position would not tell.
            self._connection = None
            raise
        return outcomes

    def _begin(self, connection: sqlite3.Connection) -> None:
        (others,) = connection.execute(_OTHERS).fetchone()
        (head,) = connection.execute(_HEAD).fetchone()
        same = others == self._others and head == self._head and connection is self._connection
        if not same or len(self._streams) > _REMEMBERED:
            self._streams = {}
            self._kinds = {}
        self._connection, self._others, self._head = connection, others, head
        self._plain, self._linked, self._full = [], [], []
        self._new_streams, self._last_stream = [], None

    def _execute(self, statement: str, parameters: tuple[Any, ...]) -> sqlite3.Cursor:
        assert self._connection is not None  # noqa: S101  # _begin has set it
        return self._connection.execute(statement, parameters)

    def _one(self, request: Request) -> list[AppendResult]:
        if len(request) == 1 and request[0].records:
            append = request[0]
            stream = self._streams.get(append.stream_id) or self._stream(append.stream_id)
            if append.expected_version != stream.version or self._careful:
                known = self._decided(stream, append)
                if known is not None:
                    return [known]
            # Else a repetition is found by the unique index, as _decided says.
            return [self._append(stream, append)]
        if not all(append.records for append in request):
            return self._guarded(request)
        # All are decided before the first is written.
        streams = [self._stream(append.stream_id) for append in request]
        decided = [self._decided(stream, append) for stream, append in zip(streams, request, strict=True)]
        return [
            self._append(stream, append) if known is None else known
            for stream, append, known in zip(streams, request, decided, strict=True)
        ]

    def _guarded(self, request: Request) -> list[AppendResult]:
        appends = [append for append in request if append.records]
        moved = refused_guard(request, self._version)
        if moved is None:
            done = self._one(appends) if appends else []
        else:
            # Guards have done their work where all else was appended before.
            repeated = [self._decided(self._stream(each.stream_id), each, surely=True) for each in appends]
            done = [each for each in repeated if each is not None]
            if not done or len(done) < len(appends):
                raise moved
        return with_guards(request, done, self._version)

    def _version(self, stream_id: str) -> int:
        return self._stream(stream_id).version

    def _stream(self, name: str) -> _Stream:
        known = self._streams.get(name)
        if known is None:
            row = self._execute(_STREAM, (name,)).fetchone()
            known = _Stream(name, None, 0) if row is None else _Stream(name, row[0], row[1] or 0)
            self._streams[name] = known
        return known

    def _decided(self, stream: _Stream, append: StreamAppend, *, surely: bool = False) -> AppendResult | None:
        """Return what a repetition is answered, `None` for what is to be written; raise the refusal.

        Args:
            stream: The append's.
            append: The append.
            surely: Whether the answer has to be known now, where it may else be found at the writing.
        """
        expected, version = append.expected_version, stream.version
        if expected == version or (version == 0 and expected == ANY):
            # A single event's id, and one that is asked together with others, is found by the unique index.
            if self._careful and version > 0:
                self._refuse_known(stream, append.records)
            return None
        if expected > version:
            raise ConcurrencyError(stream.name, expected, version)
        if expected == ANY and not (self._alone or surely):
            # As above: one that is repeated breaks the index, and all are asked again, each alone.
            return None
        # What was decided before has to be found as well.
        self._write()
        if expected == ANY:
            first = self._version_of(stream, append.records[0])
            if first is None:
                self._refuse_known(stream, append.records[1:])
                return None
            again = self._repeated(stream, first, append.records)
            if again is None:
                raise _known(stream, append.records[0], first)
            return again
        again = self._repeated(stream, expected + 1, append.records)
        if again is None:
            raise ConcurrencyError(stream.name, expected, version)
        return again

    def _append(self, stream: _Stream, append: StreamAppend) -> AppendResult:
        number = stream.number
        if number is None:
            number = stream.number = self._new_stream(stream.name)
        position, version, kinds = self._head, stream.version, self._kinds
        for record in append.records:
            position += 1
            version += 1
            kind = kinds.get((record.name, record.schema_version, record.format)) or self._new_kind(record)
            correlation, causation, data = record.correlation_id, record.causation_id, bytearray(record.data)
            begin = position, number, version, bound_id(record.message_id), kind, record.recorded_at
            if correlation is None and causation is None and not record.headers:
                self._plain.append((*begin, data))
            elif correlation is None or causation is None or record.headers:
                links = optional_id(correlation), optional_id(causation)
                self._full.append((*begin, *links, encode_headers(record.headers), data))
            else:
                self._linked.append((*begin, bound_id(correlation), bound_id(causation), data))
        self._head, stream.version = position, version
        return AppendResult(version, position)

    def _new_kind(self, record: EventRecord) -> int:
        assert self._connection is not None  # noqa: S101  # _begin has set it
        kind = record.name, record.schema_version, record.format
        number = self._kinds[kind] = keep_kind(self._connection, kind)
        return number

    def _new_stream(self, name: str) -> int:
        last = self._last_stream
        if last is None:
            (last,) = self._execute(_LAST_STREAM, ()).fetchone()
        number = int(last or 0) + 1
        self._last_stream = number
        self._new_streams.append((number, name))
        return number

    def _write(self) -> None:
        streams, self._new_streams = self._new_streams, []
        plain, linked, full = self._plain, self._linked, self._full
        self._plain, self._linked, self._full = [], [], []
        self._insert(_NEW_STREAMS, streams)
        self._insert(_PLAIN_EVENTS, plain)
        self._insert(_LINKED_EVENTS, linked)
        self._insert(_FULL_EVENTS, full)

    def _insert(self, statements: dict[int, str], rows: list[tuple[Any, ...]]) -> None:
        begin, count = 0, len(rows)
        if count == 1:
            self._execute(statements[1], rows[0])
            return
        while begin < count:
            size = next(each for each in _SIZES if each <= count - begin)
            chunk = rows[begin : begin + size]
            self._execute(statements[size], tuple(chain.from_iterable(chunk)))
            begin += size

    def _version_of(self, stream: _Stream, record: EventRecord) -> int | None:
        row = self._execute(_FIND, (stream.number, pack_id(record.message_id))).fetchone()
        return None if row is None else row[0]

    def _repeated(self, stream: _Stream, first: int, records: Sequence[EventRecord]) -> AppendResult | None:
        """Return what was answered when these very records were appended from a version on.

        Raises:
            EventIdConflictError: When their ids are there, one of them with another event.
        """
        position = 0
        other: tuple[EventRecord, int] | None = None
        for version, record in enumerate(records, first):
            row = self._execute(_AT, (stream.number, version)).fetchone()
            if row is None or row[0] != pack_id(record.message_id):
                return None
            position = row[1]
            kind = number_of((record.name, record.schema_version, record.format))
            if other is None and row[2:] != (kind, record.data):
                other = record, version
        if other is not None:
            raise EventIdConflictError(stream.name, other[0].message_id, other[1])
        return AppendResult(first + len(records) - 1, position)

    def _refusal_of_one(self, requests: Sequence[Request]) -> CatgaError | None:
        """Return why the only event that is asked for was not written, `None` where there are several."""
        if not (self._alone and _is_one_event(requests[0])):
            return None
        [append] = requests[0]
        try:
            self._refuse_known(self._stream(append.stream_id), append.records)
        except CatgaError as refusal:
            return refusal
        return None

    def _refuse_known(self, stream: _Stream, records: Sequence[EventRecord]) -> None:
        for record in records:
            version = self._version_of(stream, record)
            if version is not None:
                raise _known(stream, record, version)


def _is_one_event(request: Request) -> bool:
    return len(request) == 1 and len(request[0].records) == 1


def _known(stream: _Stream, record: EventRecord, version: int) -> CatgaError:
    return RepeatedEventError(stream.name, record.message_id, version)
