"""What cannot be read from the wire is told by the names a user knows."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pytest

from catga_core import CatgaError, Command, Failure, Success, message_type
from catga_core.messages.context import begin_context
from catga_core.messages.serialization import (
    EnvelopeCodec,
    MsgspecSerializer,
    json_serializer,
    msgpack_serializer,
)


class Receipt(msgspec.Struct):
    number: int


class Charge(Command[Receipt]):
    amount: Decimal


CHARGE = message_type(Charge)


def test_a_body_that_breaks_its_types_is_invalid_and_told_by_message_and_field():
    codec = EnvelopeCodec(msgpack_serializer())
    body = [1, "Charge", 1, "id", "", None, None, None, None, None, {"amount": "much"}]
    data = msgpack_serializer().encode(body)

    with pytest.raises(CatgaError) as raised:
        codec.decode(CHARGE, data)

    assert str(raised.value) == (
        "VALIDATION_FAILED: Charge is not valid, 1 problem: amount: Invalid decimal string"
    )
    assert raised.value.details == {"errors": [{"field": "amount", "message": "Invalid decimal string"}]}


class Color(enum.Enum):
    RED = "red"


class Card(msgspec.Struct, tag="card"):
    number: int


class Cash(msgspec.Struct, tag="cash"):
    coins: int


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    quantity: Annotated[int, msgspec.Meta(le=9)] = 1


class Picky(msgspec.Struct):
    number: str

    def __post_init__(self) -> None:
        if self.number == "key":
            raise KeyError(SECRET)
        int(self.number)


class Sale(Command[None]):
    color: Color = Color.RED
    kind: Literal["new", "old"] = "new"
    paid: Card | Cash | None = None
    items: list[Strict] = []
    by_color: dict[Color, int] = {}
    picky: Picky | None = None


SALE = message_type(Sale)
SECRET = "4111-1111-1111-1111"
HOSTILE = [
    ({"color": SECRET}, "color", "Invalid enum value"),
    ({"kind": SECRET}, "kind", "Invalid enum value"),
    ({"paid": {"type": SECRET}}, "paid.type", "Invalid value"),
    ({"items": [{SECRET: 1}]}, None, "Object contains unknown field"),
    ({"items": [{}, {"quantity": 4111}]}, "items[1].quantity", "Expected `int` <= 9"),
    ({"items": [{"quantity": SECRET}]}, "items[0].quantity", "Expected `int`, got `str`"),
    ({"by_color": {SECRET: 1}}, "by_color", "a key of it: Invalid enum value"),
    ({"picky": {"number": SECRET}}, "picky", "refused by the class itself (ValueError)"),
    ({"color": f"{SECRET} - at `$.color`"}, "color", "Invalid enum value"),
]


@pytest.mark.parametrize("serializer", [msgpack_serializer(), json_serializer()], ids=["msgpack", "json"])
@pytest.mark.parametrize(("body", "field", "rule"), HOSTILE)
def test_what_stood_in_a_wrong_field_is_never_told(
    serializer: MsgspecSerializer, body: Any, field: str | None, rule: str
):
    data = serializer.encode([1, "Sale", 1, "id", "", None, None, None, None, None, body])

    with pytest.raises(CatgaError) as raised:
        EnvelopeCodec(serializer).decode(SALE, data)

    error = raised.value
    problem = error.details["errors"][0]
    assert error.code == "VALIDATION_FAILED"
    assert problem["message"] == rule
    assert field is None or problem["field"] == field
    assert "4111" not in f"{error} {error.details}"


@pytest.mark.parametrize("body", [{"picky": {"number": "key"}}, {"picky": {"number": "\ud800"}}])
def test_a_class_that_raises_anything_while_it_is_read_is_told_without_its_text(body: Any):
    codec = EnvelopeCodec(json_serializer())
    data = json.dumps([1, "Sale", 1, "id", "", None, None, None, None, None, body]).encode()

    with pytest.raises(CatgaError) as raised:
        codec.decode(SALE, data)

    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("value", [object(), {"deep": [object()]}, "half \ud800"])
def test_a_value_without_bytes_is_told_by_its_own_type(value: Any):
    codec = EnvelopeCodec(msgpack_serializer())

    error = codec.decode_result(Receipt, codec.encode_result(Success(value))).error

    assert error.message.startswith(f"a {type(value).__name__} cannot be serialized: ")
    assert "\ud800" not in error.message


def test_a_message_without_bytes_is_told_by_its_own_type_and_its_headers_by_theirs():
    codec = EnvelopeCodec(msgpack_serializer())

    with pytest.raises(CatgaError, match="a Charge cannot be serialized: "):
        codec.encode(CHARGE, Charge(object()), begin_context(), None)  # type: ignore[arg-type]
    with pytest.raises(CatgaError, match="what travels beside a Charge"):
        codec.encode(CHARGE, Charge(Decimal(1)), begin_context(headers={"a": "\ud800"}), None)
    with pytest.raises(CatgaError, match=r"headers\['a'\] must be a str, not int"):
        codec.encode(CHARGE, Charge(Decimal(1)), begin_context(headers={"a": 1}), None)  # type: ignore[dict-item]


class Stubborn:
    """A serializer of an application's, which raises what it likes."""

    name = "stubborn"

    def encode(self, value: object, /) -> bytes:
        raise KeyError(SECRET)

    def decoder(self, type_: Any, /) -> Callable[[Any], Any]:
        def decode(_data: Any) -> Any:
            raise KeyError(SECRET)

        return decode


def test_a_serializer_that_raises_anything_is_an_error_without_its_text():
    codec = EnvelopeCodec(Stubborn())
    body = [1, "Charge", 1, "id", "", None, None, None, None, None, b""]

    answered = codec.decode_result(Receipt, codec.encode_result(Success(Receipt(1)))).error
    unread = codec.decode_result(Receipt, msgpack_serializer().encode([True, b""])).error
    with pytest.raises(CatgaError) as unsent:
        codec.encode(CHARGE, Charge(Decimal(1)), begin_context(), None)
    with pytest.raises(CatgaError) as refused:
        codec.decode(CHARGE, msgpack_serializer().encode(body))

    for error in (answered, unread, unsent.value, refused.value):
        assert error.code == "SERIALIZATION_FAILED"
        assert SECRET not in error.message


@pytest.mark.parametrize("deadline", [math.inf, -math.inf, math.nan, 1e300])
def test_a_deadline_that_is_no_time_travels_as_none(deadline: float):
    codec = EnvelopeCodec(msgpack_serializer())

    data = codec.encode(CHARGE, Charge(Decimal(1)), begin_context(deadline=deadline), deadline)

    assert codec.decode(CHARGE, data).context().deadline is None


def test_a_deadline_larger_than_any_float_is_read():
    items = f'[1,"Charge",1,"id","",null,1{"0" * 400},null,null,null,{{"amount":"1"}}]'

    context = EnvelopeCodec(json_serializer()).decode(CHARGE, items.encode()).context()

    assert context.deadline is not None
    assert context.deadline > 1e12


def test_whatever_an_error_holds_it_becomes_an_answer():
    codec = EnvelopeCodec(msgpack_serializer())
    cyclic: dict[str, Any] = {"sku": "a"}
    cyclic["self"] = cyclic
    broken = CatgaError("no")
    broken.details = None  # type: ignore[assignment]

    told = codec.decode_result(Receipt, codec.encode_result(Failure(CatgaError("no", details=cyclic)))).error

    assert (told.code, dict(told.details)) == ("HANDLER_FAILED", {"sku": "a"})
    assert codec.decode_result(Receipt, codec.encode_result(Failure(broken))).error.details == {}
    nothing: Any = None
    assert codec.decode_result(Receipt, codec.encode_result(nothing)).error.code == "INTERNAL_ERROR"


def test_a_message_in_another_format_asks_for_the_same_serializer():
    data = EnvelopeCodec(json_serializer()).encode(CHARGE, Charge(Decimal(1)), begin_context(), None)

    with pytest.raises(
        CatgaError, match=r"not a message in msgpack: .*do both sides use the same serializer\?"
    ):
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

    assert error.message == "the answer is not a valid Receipt: Expected `int`, got `str` - at `$.number`"


class Unresolved(Command[None]):
    amount: Missing  # type: ignore[name-defined]  # noqa: F821 - as an import under TYPE_CHECKING is at run time


@pytest.mark.parametrize("serializer", [msgpack_serializer(), json_serializer()])
def test_class_that_cannot_be_decoded_is_named_without_its_envelope(serializer: MsgspecSerializer):
    codec = EnvelopeCodec(serializer)

    with pytest.raises(CatgaError) as raised:
        codec.decode(message_type(Unresolved), b"\x91\x01")

    assert raised.value.code == "SERIALIZATION_FAILED"
    assert "Unresolved" in raised.value.message
    assert "'Missing'" in raised.value.message
    assert "nvelope" not in raised.value.message
