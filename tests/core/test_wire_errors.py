"""What cannot be read from the wire is told by the names a user knows."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from catga_core import CatgaError, Command, Success, message_type
from catga_core.context import begin_context
from catga_core.serialization import EnvelopeCodec, json_serializer, msgpack_serializer


class Receipt(msgspec.Struct):
    number: int


class Charge(Command[Receipt]):
    amount: Decimal


CHARGE = message_type(Charge)


def test_a_body_that_does_not_fit_is_told_by_message_and_field():
    codec = EnvelopeCodec(msgpack_serializer())
    data = codec.encode(CHARGE, Charge("much"), begin_context(), None)  # type: ignore[arg-type]

    with pytest.raises(
        CatgaError, match=r"^SERIALIZATION_FAILED: the body is no Charge v1: .* `\$\.amount`$"
    ):
        codec.decode(CHARGE, data)


def test_a_message_in_another_format_asks_for_the_same_serializer():
    data = EnvelopeCodec(json_serializer()).encode(CHARGE, Charge(Decimal(1)), begin_context(), None)

    with pytest.raises(CatgaError, match=r"no message in msgpack: .*do both sides use the same serializer\?"):
        EnvelopeCodec(msgpack_serializer()).decode(CHARGE, data)


def test_an_answer_in_another_format_asks_for_the_same_serializer():
    data = EnvelopeCodec(msgpack_serializer()).encode_result(Success(Receipt(1)))

    error = EnvelopeCodec(json_serializer()).decode_result(Receipt, data).error

    assert "cannot be read in json" in error.message
    assert "do both sides use the same serializer?" in error.message


def test_a_value_that_does_not_fit_is_told_by_type_and_field():
    codec = EnvelopeCodec(msgpack_serializer())
    data = codec.encode_result(Success({"number": "one"}))

    error = codec.decode_result(Receipt, data).error

    assert error.message == "the answer is no Receipt: Expected `int`, got `str` - at `$.number`"
