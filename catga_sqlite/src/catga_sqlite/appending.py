"""Appending events: what several callers ask is decided one after the other, and written in one go."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from catga_core.errors import CatgaError, ConcurrencyError, ErrorCode
from catga_core.interfaces.event_log import ANY, AppendResult, EventRecord, StreamAppend
from catga_sqlite.columns import pack_headers, pack_id

Request: TypeAlias = Sequence[StreamAppend]
Outcome: TypeAlias = list[AppendResult] | CatgaError

_HEAD: Final = "SELECT coalesce(max(position), 0) FROM catga_events"
_STREAM: Final = "SELECT id, (SELECT max(version) FROM catga_events WHERE stream = catga_streams.id) FROM catga_streams WHERE name = ?"
_NEW_STREAM: Final = "INSERT INTO catga_streams (name) VALUES (?) RETURNING id"
_INSERT: Final = "INSERT INTO catga_events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FIND: Final = "SELECT version FROM catga_events WHERE stream = ? AND message_id = ?"
_AT: Final = "SELECT message_id, position FROM catga_events WHERE stream = ? AND version = ?"


class _Stream:
    """One stream as it will be after what was decided so far; `number` is `None` until it is written."""

    __slots__ = ("name", "number", "version")

    def __init__(self, name: str, number: int | None, version: int) -> None:
        self.name = name
        self.number = number
        self.version = version


def append_together(connection: sqlite3.Connection, requests: Sequence[Request]) -> list[Outcome]:
    """Append what several callers ask, in their order; each whole or refused, whatever becomes of the others.

    Parameters:
        connection: in a transaction.
        requests: what each asks; checked before.

    Returns:
        for each its results or its refusal.

    Raises:
        sqlite3.IntegrityError: when an id is in a stream already where several are asked together; asked alone, that one
            is refused.
    """
    return _Appending(connection, alone=len(requests) == 1).all(requests)


class _Appending:
    def __init__(self, connection: sqlite3.Connection, *, alone: bool) -> None:
        self._connection = connection
        self._alone = alone
        (self._head,) = connection.execute(_HEAD).fetchone()
        self._streams: dict[str, _Stream] = {}
        self._rows: list[tuple[Any, ...]] = []

    def all(self, requests: Sequence[Request]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for request in requests:
            try:
                outcomes.append(self._one(request))
            except CatgaError as refusal:
                outcomes.append(refusal)
        self._write()
        return outcomes

    def _one(self, request: Request) -> list[AppendResult]:
        # All are decided before the first is written.
        found = [self._decided(append) for append in request]
        return [
            self._append(append) if known is None else known
            for append, known in zip(request, found, strict=True)
        ]

    def _stream(self, name: str) -> _Stream:
        known = self._streams.get(name)
        if known is None:
            row = self._connection.execute(_STREAM, (name,)).fetchone()
            known = _Stream(name, None, 0) if row is None else _Stream(name, row[0], row[1] or 0)
            self._streams[name] = known
        return known

    def _decided(self, append: StreamAppend) -> AppendResult | None:
        """Return what a repetition is answered, `None` for what is to be written; raise the refusal."""
        stream = self._stream(append.stream_id)
        expected, version = append.expected_version, stream.version
        if version == 0 and expected <= 0:
            return None
        if expected == version:
            if self._alone:
                self._refuse_known(stream, append.records)
            return None
        if expected > version:
            raise ConcurrencyError(stream.name, expected, version)
        self._write()
        if expected == ANY:
            first = self._version_of(stream, append.records[0])
            if first is None:
                if self._alone:
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

    def _append(self, append: StreamAppend) -> AppendResult:
        stream = self._stream(append.stream_id)
        number = stream.number
        if number is None:
            [(number,)] = self._connection.execute(_NEW_STREAM, (stream.name,)).fetchall()
            stream.number = number
        position, version = self._head, stream.version
        for record in append.records:
            position += 1
            version += 1
            correlation, causation = record.correlation_id, record.causation_id
            self._rows.append(
                (
                    position,
                    number,
                    version,
                    pack_id(record.message_id),
                    record.name,
                    record.schema_version,
                    record.format,
                    record.recorded_at,
                    None if correlation is None else pack_id(correlation),
                    None if causation is None else pack_id(causation),
                    pack_headers(record.headers),
                    record.data,
                )
            )
        self._head, stream.version = position, version
        return AppendResult(version, position)

    def _write(self) -> None:
        rows = self._rows
        if len(rows) == 1:
            self._connection.execute(_INSERT, rows[0])
        elif rows:
            self._connection.executemany(_INSERT, rows)
        self._rows = []

    def _version_of(self, stream: _Stream, record: EventRecord) -> int | None:
        row = self._connection.execute(_FIND, (stream.number, pack_id(record.message_id))).fetchone()
        return None if row is None else row[0]

    def _repeated(self, stream: _Stream, first: int, records: Sequence[EventRecord]) -> AppendResult | None:
        """Return what was answered when these very records were appended from a version on."""
        position = 0
        for version, record in enumerate(records, first):
            row = self._connection.execute(_AT, (stream.number, version)).fetchone()
            if row is None or row[0] != pack_id(record.message_id):
                return None
            position = row[1]
        return AppendResult(first + len(records) - 1, position)

    def _refuse_known(self, stream: _Stream, records: Sequence[EventRecord]) -> None:
        for record in records:
            version = self._version_of(stream, record)
            if version is not None:
                raise _known(stream, record, version)


def _known(stream: _Stream, record: EventRecord, version: int) -> CatgaError:
    return CatgaError(
        f"the event {record.message_id!r} is in stream {stream.name!r} already, as its version {version}, beside other "
        "events than these: give new events ids of their own, or append the same ones together again",
        code=ErrorCode.CONFLICT,
        retryable=False,
        details={"stream_id": stream.name, "message_id": record.message_id, "version": version},
    )
