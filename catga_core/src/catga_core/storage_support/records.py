"""Record codecs: the fields of a record in the order in which every store keeps them, and their MessagePack bytes.

A store with columns uses the fields, a store of keys and values the bytes. The order is part of the stored format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterSource
from catga_core.interfaces.event_log import EventRecord
from catga_core.interfaces.outbox import OutboxMessage, ToEnqueue
from catga_core.interfaces.queue import QueuedMessage
from catga_core.interfaces.snapshots import Snapshot
from catga_core.messages.delivery import Priority
from catga_core.messages.message_context import NO_HEADERS, MessageContext

ContextFields: TypeAlias = tuple[str, str | None, float | None, dict[str, str] | None, str | None, str | None]
"""A context without its message id: correlation id, causation id, deadline, headers, traceparent, tracestate."""

_WholeContext: TypeAlias = tuple[
    str, str, str | None, float | None, dict[str, str] | None, str | None, str | None
]
_Event: TypeAlias = tuple[str, str, int, str, bytes, int, str | None, str | None, dict[str, str] | None]
_ToEnqueue: TypeAlias = tuple[float, str | None, int]
_Message: TypeAlias = tuple[str, int, str, bytes, _WholeContext, str | None, float, str, _ToEnqueue | None]
_Queued: TypeAlias = tuple[str, int, str, bytes, _WholeContext, float, float, str | None, int, str]
_Letter: TypeAlias = tuple[
    str,
    str,
    str,
    str,
    int,
    str,
    bytes,
    _WholeContext,
    str,
    str,
    str | None,
    int,
    float,
    float,
    int,
    str,
    str | None,
]
_OldLetter: TypeAlias = tuple[
    str, str, str, str, int, str, bytes, _WholeContext, str, str, str | None, int, float, float, int
]
"""Without queue and key."""

_encode = msgspec.msgpack.Encoder().encode
_decode_headers = msgspec.msgpack.Decoder(dict[str, str]).decode
_decode_context = msgspec.msgpack.Decoder(ContextFields).decode
_decode_event = msgspec.msgpack.Decoder(_Event).decode
_decode_message = msgspec.msgpack.Decoder(_Message).decode
_decode_enqueue = msgspec.msgpack.Decoder(_ToEnqueue).decode
_decode_queued = msgspec.msgpack.Decoder(_Queued).decode
_decode_letter = msgspec.msgpack.Decoder(_Letter).decode
_decode_old_letter = msgspec.msgpack.Decoder(_OldLetter).decode
_decode_snapshot = msgspec.msgpack.Decoder(tuple[str, int, str, int, str, bytes, int]).decode


# --- headers and contexts ---


def encode_headers(headers: Mapping[str, str]) -> bytes | None:
    """Return the bytes of headers, `None` for none."""
    return _encode(dict(headers)) if headers else None


def decode_headers(stored: bytes | None) -> Mapping[str, str]:
    """Return headers from their bytes."""
    return NO_HEADERS if stored is None else _decode_headers(stored)


def encode_context(context: MessageContext) -> bytes:
    """Return the bytes of a context without its message id, which has a column."""
    return _encode(_context_fields(context))


def decode_context(message_id: str, stored: bytes) -> MessageContext:
    """Return a context from its message id and its bytes."""
    return _context(message_id, *_decode_context(stored))


# --- events ---


def encode_event(record: EventRecord) -> bytes:
    """Return the bytes of an event's record."""
    return _encode(
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


def decode_event(stored: bytes) -> EventRecord:
    """Return an event's record from its bytes."""
    (
        message_id,
        name,
        schema_version,
        format,
        data,
        recorded_at,
        correlation_id,
        causation_id,
        headers,
    ) = _decode_event(stored)
    return EventRecord(
        message_id,
        name,
        schema_version,
        format,
        data,
        recorded_at,
        correlation_id,
        causation_id,
        headers or NO_HEADERS,
    )


# --- outbox messages ---


def encode_message(message: OutboxMessage) -> bytes:
    """Return the bytes of an outbox message."""
    return _encode(
        (
            message.name,
            message.schema_version,
            message.format,
            message.data,
            _whole_context(message.context),
            message.key,
            message.created_at,
            message.fingerprint,
            _enqueue_fields(message.enqueue),
        )
    )


def decode_message(stored: bytes) -> OutboxMessage:
    """Return an outbox message from its bytes."""
    name, schema_version, format, data, context, key, created_at, fingerprint, enqueue = _decode_message(
        stored
    )
    return OutboxMessage(
        name,
        schema_version,
        format,
        data,
        _context(*context),
        key,
        created_at,
        fingerprint,
        _to_enqueue(enqueue),
    )


def encode_enqueue(enqueue: ToEnqueue | None) -> bytes | None:
    """Return the bytes of how a command is enqueued, `None` for none."""
    return None if enqueue is None else _encode(_enqueue_fields(enqueue))


def decode_enqueue(stored: bytes | None) -> ToEnqueue | None:
    """Return how a command is enqueued from its bytes."""
    return None if stored is None else _to_enqueue(_decode_enqueue(stored))


def _enqueue_fields(enqueue: ToEnqueue | None) -> _ToEnqueue | None:
    return None if enqueue is None else (enqueue.due_at, enqueue.key, int(enqueue.priority))


def _to_enqueue(fields: _ToEnqueue | None) -> ToEnqueue | None:
    return None if fields is None else ToEnqueue(fields[0], fields[1], Priority(fields[2]))


# --- queued messages ---


def encode_queued(message: QueuedMessage) -> bytes:
    """Return the bytes of a queued message."""
    return _encode(
        (
            message.name,
            message.schema_version,
            message.format,
            message.data,
            _whole_context(message.context),
            message.due_at,
            message.created_at,
            message.key,
            int(message.priority),
            message.fingerprint,
        )
    )


def decode_queued(stored: bytes) -> QueuedMessage:
    """Return a queued message from its bytes."""
    (
        name,
        schema_version,
        format,
        data,
        context,
        due_at,
        created_at,
        key,
        priority,
        fingerprint,
    ) = _decode_queued(stored)
    return QueuedMessage(
        name,
        schema_version,
        format,
        data,
        _context(*context),
        due_at,
        created_at,
        key,
        Priority(priority),
        fingerprint,
    )


# --- dead letters ---


def letter_fields(letter: DeadLetter, *context: object) -> tuple[Any, ...]:
    """Return the fields of a dead letter.

    Args:
        letter: The dead letter.
        context: What stands for its context: one column or several.

    Returns:
        The fields in their stored order, the context between the data and the error.
    """
    return (
        letter.id,
        str(letter.source),
        letter.handler,
        letter.name,
        letter.schema_version,
        letter.format,
        letter.data,
        *context,
        letter.code,
        letter.message,
        letter.traceback,
        letter.attempts,
        letter.first_failed_at,
        letter.last_failed_at,
        letter.replays,
        letter.queue,
        letter.key,
    )


def letter_of(context: MessageContext, before: tuple[Any, ...], after: tuple[Any, ...]) -> DeadLetter:
    """Return a dead letter from its fields.

    Args:
        context: Its context.
        before: The fields before the context.
        after: The fields after the context.

    Returns:
        The dead letter.
    """
    id, source, handler, name, schema_version, format, data = before
    code, message, traceback, attempts, first_failed_at, last_failed_at, replays, queue, key = after
    return DeadLetter(
        id=id,
        source=DeadLetterSource(source),
        handler=handler,
        name=name,
        schema_version=schema_version,
        format=format,
        data=data,
        context=context,
        code=code,
        message=message,
        traceback=traceback,
        attempts=attempts,
        first_failed_at=first_failed_at,
        last_failed_at=last_failed_at,
        replays=replays,
        queue=queue,
        key=key,
    )


def encode_letter(letter: DeadLetter) -> bytes:
    """Return the bytes of a dead letter."""
    return _encode(letter_fields(letter, _whole_context(letter.context)))


def decode_letter(stored: bytes) -> DeadLetter:
    """Return a dead letter from its bytes."""
    try:
        fields = _decode_letter(stored)
    except msgspec.ValidationError:
        fields = (*_decode_old_letter(stored), "", None)
    return letter_of(_context(*fields[7]), fields[:7], fields[8:])


# --- snapshots ---


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Return the bytes of a snapshot."""
    return _encode(msgspec.structs.astuple(snapshot))


def decode_snapshot(stored: bytes) -> Snapshot:
    """Return a snapshot from its bytes."""
    return Snapshot(*_decode_snapshot(stored))


def _headers(headers: Mapping[str, str]) -> dict[str, str] | None:
    return dict(headers) if headers else None


def _context_fields(context: MessageContext) -> ContextFields:
    return (
        context.correlation_id,
        context.causation_id,
        context.deadline,
        _headers(context.headers),
        context.traceparent,
        context.tracestate,
    )


def _whole_context(context: MessageContext) -> _WholeContext:
    return (context.message_id, *_context_fields(context))


def _context(
    message_id: str,
    correlation_id: str,
    causation_id: str | None,
    deadline: float | None,
    headers: dict[str, str] | None,
    traceparent: str | None,
    tracestate: str | None,
) -> MessageContext:
    return MessageContext(
        message_id, correlation_id, causation_id, deadline, headers or NO_HEADERS, traceparent, tracestate
    )
