"""Records as bytes, and back: MessagePack arrays, described in docs/redis-layout.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterSource
from catga_core.interfaces.event_log import EventRecord, RecordedEvent
from catga_core.interfaces.outbox import OutboxMessage
from catga_core.interfaces.snapshots import Snapshot
from catga_core.messages.message_context import NO_HEADERS, MessageContext

_Context: TypeAlias = tuple[str, str, str | None, float | None, dict[str, str] | None, str | None, str | None]
_Event: TypeAlias = tuple[str, str, int, str, bytes, int, str | None, str | None, dict[str, str] | None]
_Message: TypeAlias = tuple[str, int, str, bytes, _Context, str | None, float]
_Letter: TypeAlias = tuple[
    str, str, str, str, int, str, bytes, _Context, str, str, str | None, int, float, float, int
]

encode = msgspec.msgpack.Encoder().encode
_read_event = msgspec.msgpack.Decoder(_Event).decode
_read_message = msgspec.msgpack.Decoder(_Message).decode
_read_letter = msgspec.msgpack.Decoder(_Letter).decode
_read_snapshot = msgspec.msgpack.Decoder(tuple[str, int, str, int, str, bytes, int]).decode


def event_bytes(record: EventRecord) -> bytes:
    """Return an event's record as bytes."""
    return encode(
        (
            record.message_id,
            record.name,
            record.schema_version,
            record.format,
            record.data,
            record.recorded_at,
            record.correlation_id,
            record.causation_id,
            _headers(record.headers),
        )
    )


def recorded_event(stream_id: str, stored: bytes) -> RecordedEvent:
    """Return an event as it is in its stream's list: `<version>:<position>:<record>`."""
    version, position, data = stored.split(b":", 2)
    fields = _read_event(data)
    message_id, name, schema_version, format, content, recorded_at, correlation_id, causation_id, headers = (
        fields
    )
    record = EventRecord(
        message_id,
        name,
        schema_version,
        format,
        content,
        recorded_at,
        correlation_id,
        causation_id,
        headers or NO_HEADERS,
    )
    return RecordedEvent(stream_id, int(version), int(position), record)


def message_bytes(message: OutboxMessage) -> bytes:
    """Return an outbox message as bytes."""
    return encode(
        (
            message.name,
            message.schema_version,
            message.format,
            message.data,
            _context(message.context),
            message.key,
            message.created_at,
        )
    )


def outbox_message(stored: bytes) -> OutboxMessage:
    """Return an outbox message."""
    name, schema_version, format, data, context, key, created_at = _read_message(stored)
    return OutboxMessage(name, schema_version, format, data, _as_context(context), key, created_at)


def letter_bytes(letter: DeadLetter) -> bytes:
    """Return a dead letter as bytes."""
    return encode(
        (
            letter.id,
            letter.source.value,
            letter.handler,
            letter.name,
            letter.schema_version,
            letter.format,
            letter.data,
            _context(letter.context),
            letter.code,
            letter.message,
            letter.traceback,
            letter.attempts,
            letter.first_failed_at,
            letter.last_failed_at,
            letter.replays,
        )
    )


def dead_letter(stored: bytes, attempts: int, first_failed_at: float, replays: int) -> DeadLetter:
    """Return a dead letter, with what is counted beside its bytes."""
    (
        id,
        source,
        handler,
        name,
        schema_version,
        format,
        data,
        context,
        code,
        message,
        traceback,
        _,
        _,
        last,
        _,
    ) = _read_letter(stored)
    return DeadLetter(
        id=id,
        source=DeadLetterSource(source),
        handler=handler,
        name=name,
        schema_version=schema_version,
        format=format,
        data=data,
        context=_as_context(context),
        code=code,
        message=message,
        traceback=traceback,
        attempts=attempts,
        first_failed_at=first_failed_at,
        last_failed_at=last,
        replays=replays,
    )


def snapshot_bytes(snapshot: Snapshot) -> bytes:
    """Return a snapshot as bytes."""
    return encode(msgspec.structs.astuple(snapshot))


def snapshot_of(stored: bytes) -> Snapshot:
    """Return a snapshot."""
    return Snapshot(*_read_snapshot(stored))


def _headers(headers: Mapping[str, str]) -> dict[str, str] | None:
    return dict(headers) if headers else None


def _context(context: MessageContext) -> tuple[Any, ...]:
    return (
        context.message_id,
        context.correlation_id,
        context.causation_id,
        context.deadline,
        _headers(context.headers),
        context.traceparent,
        context.tracestate,
    )


def _as_context(fields: _Context) -> MessageContext:
    message_id, correlation_id, causation_id, deadline, headers, traceparent, tracestate = fields
    return MessageContext(
        message_id, correlation_id, causation_id, deadline, headers or NO_HEADERS, traceparent, tracestate
    )
