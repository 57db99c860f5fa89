"""Signals: the events that sagas wait for, and the ends of child sagas, as a store keeps them."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from catga_core.interfaces.saga_records import SagaSignal
from catga_core.messages import Event, message_type
from catga_core.messages.exact import exact_encoder
from catga_core.messages.registry import MessageRegistry
from catga_core.sagas.types import JOURNAL_SERIALIZER

E = TypeVar("E", bound=Event)


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    name: str
    version: int
    data: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode


def event_signal(event: Event, topic: str, message_id: str) -> SagaSignal:
    """Return the signal of an event.

    Args:
        event: The event.
        topic: What sagas wait for it by.
        message_id: Its message id.

    Raises:
        SerializationError: It would not be read back as it is.
    """
    described = message_type(type(event))
    kept = _Kept(described.name, described.version, exact_encoder(JOURNAL_SERIALIZER, type(event))(event))
    return SagaSignal(topic, message_id, _encode(kept))


def decode_event(registry: MessageRegistry, cls: type[E], data: bytes) -> E:
    """Return the event of a signal, upcast to the newest version.

    Raises:
        SerializationError: It cannot be decoded.
    """
    kept = _decode(data)
    _, event = registry.decode(
        kept.name, kept.version, JOURNAL_SERIALIZER.name, kept.data, JOURNAL_SERIALIZER, cls
    )
    return event


def end_topic(transaction_id: str) -> str:
    """Return the topic of the end of a saga."""
    return f"end:{transaction_id}"


def end_signal(transaction_id: str) -> SagaSignal:
    """Return the signal of the end of a saga."""
    return SagaSignal(end_topic(transaction_id), transaction_id, b"")
