"""What the kit has stores keep: small records, and names that are hard to keep apart."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec

from catga_core.identifiers import new_id
from catga_core.interfaces import (
    ANY,
    DeadLetter,
    DeadLetterSource,
    EventRecord,
    MessageContext,
    OutboxMessage,
    QueuedMessage,
    Snapshot,
    StreamAppend,
)

NOW = 1_893_456_000.0
"""Seconds since the epoch at which the kit's messages were made."""

EVERY_BYTE = bytes(range(256))
"""Every value that a byte can have."""

ODD_NAMES: tuple[str, ...] = (
    "a:b",
    "a",
    "b",
    "{a}:b",
    "{}",
    "a b",
    "*",
    "a*",
    "[ab]?",
    "a/b",
    "../b",
    "a.b",
    "%",
    "_",
    "'; --",
    '"a"',
    "a\\b",
    "a\nb",
    "a\0b",
    "a\0c",
    "a\r\nb",
    "{a}",
    "}a{",
    "seq",
    "t",
    "m:1",
    "layout",
    "A",
    "straße",
    "STRASSE",
    "\N{LATIN SMALL LETTER E WITH ACUTE}",
    "e\N{COMBINING ACUTE ACCENT}",
    "注文-1",
    "🦀" * 3,
    "x" * 512,
    "x" * 511 + "y",
    "\N{EURO SIGN}" * 512,
    "x" * 70_000,
)
"""Names that differ, and that a store may mix up or refuse when it builds keys, patterns or paths of them."""

ODD_PAIRS: tuple[tuple[str, str], ...] = (
    ("a:b", "c"),
    ("a", "b:c"),
    ("a/b", "c"),
    ("a", "b/c"),
    ("a|b", "c"),
    ("a", "b|c"),
    ("a-b", "c"),
    ("a", "b-c"),
    ("a ", "b"),
    ("a", " b"),
    ("ab", "c"),
    ("a", "bc"),
    ("a", "x" * 512),
    ("x" * 512, "a"),
    ("*", "a"),
    ("注文", "é"),
    ("a", "b\0c"),
    ("a", "b\0d"),
)
"""Pairs of names that differ, and that a store may mix up when it joins them."""

ODD_DATA: tuple[bytes, ...] = (b"", b"\x00", EVERY_BYTE, b"\xff" * 3, "é".encode(), EVERY_BYTE * 4096)
"""Bytes to be given back as they are: none, each value, text, 1 MiB."""

_numbers = itertools.count(1)


def record(message_id: str | None = None, **given: Any) -> EventRecord:
    """Return an event to append, told apart from all others by its id and its bytes.

    Args:
        message_id: Its identity, else a new one.
        given: Fields to set.
    """
    number = next(_numbers)
    made = EventRecord(
        message_id or new_id(), "kit.Happened", 1, "json", b"%d" % number, int(NOW * 1e6) + number
    )
    return msgspec.structs.replace(made, **given)


def records(count: int) -> list[EventRecord]:
    """Return several events to append."""
    return [record() for _ in range(count)]


def appends(stream_id: str, *events: EventRecord, expected: int = ANY) -> StreamAppend:
    """Return events for the end of one stream; without any given, one of its own."""
    return StreamAppend(stream_id, expected, list(events) or [record()])


def guards(stream_id: str, expected: int) -> StreamAppend:
    """Return an append without events: the others are appended while the stream is at that version."""
    return StreamAppend(stream_id, expected, [])


def message(message_id: str | None = None, *, key: str | None = None, **given: Any) -> OutboxMessage:
    """Return a message to send, told apart from all others by its id and its bytes.

    Args:
        message_id: Its identity, else a new one.
        key: Messages of one key are sent in order.
        given: Fields to set.
    """
    identity = message_id or new_id()
    made = OutboxMessage(
        "kit.Placed", 1, "json", b"%d" % next(_numbers), MessageContext(identity, identity), key, NOW
    )
    return msgspec.structs.replace(made, **given)


def queued(message_id: str | None = None, *, key: str | None = None, **given: Any) -> QueuedMessage:
    """Return a message to keep in queues, told apart from all others by its id and its bytes.

    Args:
        message_id: Its identity, else a new one.
        key: Messages of one key are handled in order.
        given: Fields to set.
    """
    identity = message_id or new_id()
    made = QueuedMessage(
        name="kit.Told",
        schema_version=1,
        format="json",
        data=b"%d" % next(_numbers),
        context=MessageContext(identity, identity),
        due_at=0.0,
        created_at=NOW,
        key=key,
    )
    return msgspec.structs.replace(made, **given)


def letter(letter_id: str | None = None, **given: Any) -> DeadLetter:
    """Return a dead letter.

    Args:
        letter_id: Its identity, else a new one.
        given: Fields to set.
    """
    identity = new_id()
    made = DeadLetter(
        id=letter_id or new_id(),
        source=DeadLetterSource.HANDLER,
        handler="SendEmail",
        name="kit.Placed",
        schema_version=1,
        format="json",
        data=b"%d" % next(_numbers),
        context=MessageContext(identity, identity),
        code="HANDLER_FAILED",
        message="no such address",
        traceback=None,
        attempts=1,
        first_failed_at=NOW,
        last_failed_at=NOW,
    )
    return msgspec.structs.replace(made, **given)


def snapshot(stream_id: str, version: int, *, name: str = "Order", **given: Any) -> Snapshot:
    """Return a state of a stream, told apart from all others by its bytes."""
    number = next(_numbers)
    made = Snapshot(stream_id, version, name, 1, "json", b"%d" % number, int(NOW * 1e6) + number)
    return msgspec.structs.replace(made, **given)


FULL_CONTEXT = MessageContext(
    message_id="m-é-1",
    correlation_id="c: {1}",
    causation_id="cause\N{RIGHTWARDS ARROW}",
    deadline=NOW + 0.125,
    headers={"tenant": "größe", "empty": "", "注文": "🦀", "n\nl": 'a"b\\'},
    traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    tracestate="a=1,b=2",
)
"""A context with every field set, and text that is no ASCII in it."""
