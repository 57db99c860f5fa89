"""Ids and trace headers of peers are bounded and have no control characters, whichever way they come."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from catga_core import Command, add_catga
from catga_core.errors import SerializationError
from catga_core.messages import message_type
from catga_core.messages.message_context import MessageContext
from catga_core.messages.peer_texts import MAX_ID, MAX_NAME, MAX_TRACE, check_identity, shown_text
from catga_core.messages.serialization import EnvelopeCodec, msgpack_serializer

CODEC = EnvelopeCodec(msgpack_serializer())
FORGED = "id\r\n2026-01-01 [critical] FORGED\x1b[31m"
FIELDS = ["message_id", "correlation_id", "causation_id", "traceparent", "tracestate"]


class Ask(Command[int]):
    n: int


def envelope(**given: Any) -> bytes:
    fields = {"message_id": "m", "correlation_id": "c", "causation_id": None, **given}
    return msgspec.msgpack.encode(
        [
            1,
            given.get("name", "Ask"),
            1,
            fields["message_id"],
            fields["correlation_id"],
            fields["causation_id"],
            None,
            given.get("traceparent"),
            given.get("tracestate"),
            None,
            {"n": 1},
        ]
    )


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("text", [FORGED, "x" * (MAX_TRACE + 1), "a\u2028b", "\x85", "\x00"])
def test_hostile_id_is_refused_and_named_without_its_text(field: str, text: str) -> None:
    with pytest.raises(SerializationError) as caught:
        CODEC.decode(message_type(Ask), envelope(**{field: text}))

    assert caught.value.message.startswith(field)
    assert len(caught.value.message) < 300
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("name", [FORGED, "A" * 900_000, "x" * (MAX_NAME + 1)])
def test_hostile_name_is_refused_in_few_words(name: str) -> None:
    with pytest.raises(SerializationError) as caught:
        CODEC.decode(message_type(Ask), envelope(name=name))

    assert len(caught.value.message) < 600
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "text", ["x" * MAX_ID, "bestellung-ü-\U0001f600", "a b", "\u00a0", "\U0001f468\u200d\U0001f469"]
)
def test_id_of_a_peer_that_is_unusual_and_harmless_is_taken(text: str) -> None:
    decoded = CODEC.decode(message_type(Ask), envelope(message_id=text, correlation_id="", causation_id=text))

    assert decoded.context().message_id == text
    assert decoded.context().causation_id == text


@pytest.mark.parametrize("field", FIELDS)
def test_context_with_a_lone_surrogate_is_refused(field: str) -> None:
    context = msgspec.structs.replace(MessageContext("m", "m"), **{field: "a\ud800"})

    with pytest.raises(SerializationError, match=field):
        check_identity(context)


@pytest.mark.parametrize("given", [FORGED, "x" * (MAX_ID + 1), "a\ud800"])
async def test_sender_is_refused_the_same_ids(given: str) -> None:
    async def ask(message: Ask) -> int:
        return message.n

    catga = add_catga()
    catga.add_handlers(ask)
    async with catga.running() as app:
        with pytest.raises(ValueError, match="message_id"):
            await app.mediator.send(Ask(1), message_id=given)


def test_shown_text_is_short_and_on_one_line() -> None:
    assert shown_text("a\r\nb") == r"'a\r\nb'"
    assert len(shown_text("x" * 1000)) < 100
