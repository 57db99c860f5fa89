"""docs/wire-format.md says what is so: its examples are decoded, and a service is called with nothing but its bytes."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client

from catga_core.errors import CatgaError, ErrorCode, is_retryable
from catga_core.interfaces import MessageContext
from catga_core.messages import Command, StreamQuery, message, message_type
from catga_core.messages.bodies import BodyCodec
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.messages.serialization import (
    EnvelopeCodec,
    MsgspecSerializer,
    json_serializer,
    msgpack_serializer,
)
from catga_core.messages.stream_frames import StreamFrames, Wish
from catga_testing.servers import NatsServer
from tests.nats.support import Endpoint, Sum, adder, running

PAGE = (Path(__file__).parents[2] / "docs" / "wire-format.md").read_text(encoding="utf-8")
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CONTEXT = MessageContext("0a1b", "77aa", "66ff", 1763820000.25, {"tenant": "acme"}, TRACE, None)
FORMATS = [
    pytest.param("msgpack", msgpack_serializer(), id="msgpack"),
    pytest.param("json", json_serializer(), id="json"),
]


@message(name="shop.place_order", version=2)
class PlaceOrder(Command[Sum], frozen=True):
    order_id: str
    amount: Decimal


def example(name: str) -> bytes:
    found = re.search(rf"<!-- example: {name} -->\n```(\w+)\n(.*?)\n```", PAGE, re.DOTALL)
    assert found is not None, name
    text = found[2]
    return bytes.fromhex(text) if name.endswith("msgpack") else text.encode()


class Totals(StreamQuery[Sum], frozen=True):
    pass


@pytest.mark.parametrize(("name", "serializer"), FORMATS)
def test_stream_item_of_the_page_is_what_is_sent_and_read(name: str, serializer: MsgspecSerializer) -> None:
    frames, data = StreamFrames(BodyCodec(serializer)), example(f"stream item {name}")
    assert frames.encode_item(message_type(Totals), 1, Sum(3)) == data
    assert frames.decode(Sum, data).value == Sum(3)


def test_other_stream_frames_of_the_page_are_what_is_sent_and_read() -> None:
    frames, data = StreamFrames(BodyCodec(json_serializer())), example("stream failure json")
    error = CatgaError("no more", code="DRY", retryable=True, details={"after": 1})
    assert frames.encode_end(2, error) == data
    assert frames.decode(Sum, data).value.details == {"after": 1}
    packed = StreamFrames(BodyCodec(msgpack_serializer()))
    assert packed.encode_control(32, Wish.GO_ON) == example("stream control msgpack")


@pytest.mark.parametrize(("name", "serializer"), FORMATS)
def test_the_message_of_the_page_is_what_we_send_and_read(name: str, serializer: MsgspecSerializer) -> None:
    codec = EnvelopeCodec(serializer)
    data = example(f"message {name}")
    order = PlaceOrder("o-1", Decimal("12.50"))
    assert codec.encode(message_type(PlaceOrder), order, CONTEXT, CONTEXT.deadline) == data
    envelope = codec.decode(message_type(PlaceOrder), data)
    assert envelope.body == order
    assert envelope.context() == CONTEXT


@pytest.mark.parametrize(("name", "serializer"), FORMATS)
def test_the_answers_of_the_page_are_what_we_send_and_read(name: str, serializer: MsgspecSerializer) -> None:
    codec = EnvelopeCodec(serializer)
    assert codec.encode_result(Success(Sum(3))) == example(f"success {name}")
    assert codec.decode_result(Sum, example(f"success {name}")) == Success(Sum(3))
    error = CatgaError("out of stock", code="NO_STOCK", details={"sku": "a-1"})
    assert codec.encode_result(Failure(error)) == example(f"failure {name}")
    read = codec.decode_result(Sum, example(f"failure {name}")).error
    assert (read.code, read.message, read.retryable, read.details) == (
        "NO_STOCK",
        "out of stock",
        False,
        {"sku": "a-1"},
    )


def test_items_after_the_eleventh_are_ignored_and_a_missing_one_is_not() -> None:
    codec = EnvelopeCodec(json_serializer())
    items: list[Any] = msgspec.json.decode(example("message json"))
    later = msgspec.json.encode([*items, {"added": "later"}])
    assert codec.decode(message_type(PlaceOrder), later).body.order_id == "o-1"
    with pytest.raises(CatgaError):
        codec.decode(message_type(PlaceOrder), msgspec.json.encode(items[:-1]))


def test_the_page_lists_every_code_with_its_flag() -> None:
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \| (yes|no) \|", PAGE, re.MULTILINE)
    listed = {code: flag == "yes" for codes, flag in rows for code in re.findall(r"[A-Z_]+", codes)}
    assert listed == {str(code): is_retryable(code) for code in ErrorCode}


@pytest.mark.nats
async def test_a_peer_with_nothing_but_nats_and_these_bytes_gets_its_answer(
    nats_server_shared: NatsServer,
    peer: Client,
) -> None:
    async def place(order: PlaceOrder, context: MessageContext) -> CatgaResult[Sum]:
        assert (order, context.headers) == (PlaceOrder("o-1", Decimal("12.50")), {"tenant": "acme"})
        return Success(Sum(3))

    prefix = "wire"
    items: list[Any] = msgspec.json.decode(example("message json"))
    items[6] = None
    async with running(
        nats_server_shared.url, Endpoint(PlaceOrder, place), adder(), serializer="json", subject_prefix=prefix
    ):
        answer = await peer.request(
            f"{prefix}.request.shop.place_order", msgspec.json.encode(items), timeout=5
        )
        assert answer.data == example("success json")
        head, _, body = example("foreign request").decode().partition("\n\n")
        headers = dict(line.split(": ") for line in head.splitlines())
        answer = await peer.request(f"{prefix}.request.Add", body.encode(), timeout=5, headers=headers)
        assert (answer.headers, answer.data) == ({"catga-status": "ok"}, b'{"total":3}')
