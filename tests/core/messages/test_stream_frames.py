"""Frames of streams: every kind in every format, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from catga_core import CatgaError, StreamQuery
from catga_core.messages import message_type
from catga_core.messages.bodies import BodyCodec
from catga_core.messages.serialization import json_serializer, msgpack_serializer
from catga_core.messages.stream_frames import Frame, Kind, StreamFrames, Wish


class Price(msgspec.Struct, frozen=True):
    sku: str
    price: Decimal


class Prices(StreamQuery[Price]):
    pass


class Maybe(StreamQuery[int | None]):
    pass


class Whatever(StreamQuery[Any]):
    pass


class OwnSerializer:
    """A serializer of an application's, which writes another text before JSON."""

    name = "own"

    def encode(self, value: object, /) -> bytes:
        return b"own:" + msgspec.json.encode(value)

    def decoder(self, type_: Any, /) -> Any:
        inner = msgspec.json.Decoder(type_)

        def decode(data: bytes) -> Any:
            return inner.decode(bytes(data).removeprefix(b"own:"))

        return decode


formats = pytest.mark.parametrize(
    "serializer", [msgpack_serializer(), json_serializer(), OwnSerializer()], ids=["msgpack", "json", "own"]
)


def frames_of(serializer: Any) -> StreamFrames:
    return StreamFrames(BodyCodec(serializer))


@formats
@pytest.mark.parametrize(
    ("query", "item"),
    [
        (Prices, Price("a-1", Decimal("1.50"))),
        (Maybe, None),
        (Maybe, 1),
        (Whatever, [1, 2]),
        (Whatever, None),
    ],
)
def test_items_are_read_back_as_they_were(serializer: Any, query: type[Any], item: object):
    frames, described = frames_of(serializer), message_type(query)
    data = frames.encode_item(described, 7, item)
    assert frames.decode(described.result, data) == Frame(7, Kind.ITEM, item)


@formats
@pytest.mark.parametrize("query", [Prices, Maybe, Whatever])
def test_other_frames_are_read_whatever_the_items_are(serializer: Any, query: type[Any]):
    frames, type_ = frames_of(serializer), message_type(query).result
    assert frames.decode(type_, frames.encode_alive(3)) == Frame(3, Kind.ALIVE, None)
    assert frames.decode(type_, frames.encode_end(4, None)) == Frame(4, Kind.END, None)
    failed = frames.decode(
        type_, frames.encode_end(5, CatgaError("dry", code="DRY", retryable=True, details={"after": 4}))
    )
    assert (failed.number, failed.kind) == (5, Kind.FAILED)
    error = failed.value
    assert (error.code, error.message, error.retryable) == ("DRY", "dry", True)
    assert error.details == {"after": 4}


@formats
def test_failures_without_bytes_are_told_all_the_same(serializer: Any):
    frames = frames_of(serializer)
    error = CatgaError("dr\ud800y", code="DRY", details={"what": object(), "sku": "a-1"})
    read = frames.decode(int, frames.encode_end(1, error)).value
    assert (read.code, read.message) == ("DRY", "dr?y")
    assert read.details == {"sku": "a-1"}


@formats
def test_items_that_would_arrive_as_others_are_refused(serializer: Any):
    for query, item in ((Prices, "text"), (Maybe, "text"), (Whatever, Decimal("1.5")), (Whatever, object())):
        with pytest.raises(CatgaError) as raised:
            frames_of(serializer).encode_item(message_type(query), 1, item)
        assert raised.value.code == "SERIALIZATION_FAILED"
        assert "an item of" in raised.value.message or "serialized" in raised.value.message


@formats
@pytest.mark.parametrize("wish", list(Wish))
def test_control_frames_are_read_back(serializer: Any, wish: Wish):
    frames = frames_of(serializer)
    control = frames.decode_control(frames.encode_control(12, wish))
    assert (control.consumed, control.wish) == (12, wish)


@pytest.mark.parametrize(
    "values", [[], [1], ["1", 0], [-1, 0], [1, -1], [1, 3], [1.5, 0], [True, 0], {"consumed": 1}, None]
)
def test_control_frames_that_are_none_are_refused(values: Any):
    for encode, serializer in (
        (msgspec.msgpack.encode, msgpack_serializer()),
        (msgspec.json.encode, json_serializer()),
    ):
        with pytest.raises(CatgaError) as raised:
            frames_of(serializer).decode_control(encode(values))
        assert raised.value.code == "SERIALIZATION_FAILED"


@pytest.mark.parametrize(
    "values", [[1, 0], [1, 0, "secret"], [1, 2, "secret"], [1, 9, None], "secret", [None] * 3]
)
def test_frames_that_are_none_are_refused_without_their_content(values: Any):
    with pytest.raises(CatgaError) as raised:
        frames_of(msgpack_serializer()).decode(int, msgspec.msgpack.encode(values))
    assert raised.value.code == "SERIALIZATION_FAILED"
    assert "secret" not in raised.value.message
