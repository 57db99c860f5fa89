"""Values are checked against their declared types before they are stored or sent."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
import re
import uuid
from collections import OrderedDict
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import pytest

from catga_core import CatgaError, Event, Serializer
from catga_core.codecs.findings import listed
from catga_core.codecs.plan import findings_by, plan_of
from catga_core.codecs.same import same
from catga_core.messages.exact import exact_encoder
from catga_core.messages.serialization import MsgspecSerializer, json_serializer, msgpack_serializer

FORMATS = ["msgpack", "json"]
T = TypeVar("T")


class Word(enum.StrEnum):
    A = "a"


class Number(enum.IntEnum):
    ONE = 1


class Flag(enum.Flag):
    A = 1
    B = 2


class Keys(TypedDict, total=False):
    a: int


class Point(NamedTuple):
    x: int
    y: Decimal


@dataclasses.dataclass
class Data:
    a: int
    b: list[Decimal]


@dataclasses.dataclass
class Late:
    a: int
    b: int = dataclasses.field(init=False, default=0)


class Base(msgspec.Struct, frozen=True):
    a: int


class Derived(Base, frozen=True):
    b: int = 0


class Tree(msgspec.Struct):
    value: int
    children: list[Tree] = []
    parent: Tree | None = None


class Box(msgspec.Struct, Generic[T]):
    content: T


class Card(msgspec.Struct, tag=True):
    number: str


class Cash(msgspec.Struct, tag=True):
    coins: int


class Maybe(msgspec.Struct):
    left_out: int | msgspec.UnsetType = msgspec.UNSET
    given: int = 0


class Growing(msgspec.Struct):
    value: int

    def __post_init__(self) -> None:
        self.value += 1


class Trimmed(msgspec.Struct):
    value: str

    def __post_init__(self) -> None:
        self.value = self.value.strip()


class Odd(msgspec.Struct, rename="camel", omit_defaults=True):
    first_field: int = 1
    items: list[int] = []


UTC = dt.UTC
BERLIN = ZoneInfo("Europe/Berlin")
WHEN = dt.datetime(2024, 1, 2, 3, 4, 5, 6)  # noqa: DTZ001 - a naive one is a value like any other

KEPT: list[tuple[Any, Any]] = [
    (int, 5),
    (int, 2**63),
    (float, 1.5),
    (float, 5),
    (float | None, None),
    (int | float, 5),
    (int | float, 5.0),
    (str, "é\x00"),
    (bytes, b"\x00\xff"),
    (bytearray, bytearray(b"x")),
    (bool, True),
    (None, None),
    (Decimal, Decimal("1.00")),
    (Decimal, Decimal("NaN")),
    (dt.datetime, WHEN),
    (dt.datetime, WHEN.replace(tzinfo=UTC)),
    (dt.datetime, WHEN.replace(tzinfo=BERLIN)),
    (dt.datetime, dt.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1)),
    (dt.date, dt.date(2024, 1, 1)),
    (dt.time, dt.time(1, 2, 3, 4)),
    (dt.timedelta, dt.timedelta(microseconds=-1)),
    (uuid.UUID, uuid.UUID(int=5)),
    (Word, Word.A),
    (Flag, Flag.A | Flag.B),
    (Literal["a", 1] | None, 1),
    (list[int], [1, 2]),
    (tuple[int, ...], (1, 2)),
    (tuple[int, str], (1, "a")),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (dict[str, Decimal], {"a": Decimal("1.50")}),
    (dict[int, str], {1: "a"}),
    (dict[dt.date, int], {dt.date(2024, 1, 1): 1}),
    (dict[int | dt.date, int], {1: 1, dt.date(2024, 1, 1): 2}),
    (Keys, {"a": 1}),
    (Keys, {}),
    (Point, Point(1, Decimal(1))),
    (Data, Data(1, [Decimal(1)])),
    (Base, Base(1)),
    (Tree, Tree(1, [Tree(2, parent=Tree(3))])),
    (Box[Decimal], Box(Decimal("1.0"))),
    (Box, Box([1, {"a": None}])),
    (Card | Cash, Cash(5)),
    (Maybe, Maybe()),
    (Trimmed, Trimmed(" x ")),
    (Odd, Odd()),
    (Any, {"a": [1, 1.5, "x", None, True]}),
    (dict, {"a": {"b": []}}),
    (list, [1, [2]]),
    (object, "x"),
    (Annotated[int, msgspec.Meta(gt=0)], 1),
    (Annotated[str, msgspec.Meta(max_length=3, pattern="^a")], "abc"),
    (msgspec.Raw, msgspec.Raw(b"1")),
]

REFUSED: list[tuple[Any, Any, str]] = [
    (int, "5", "must be int, is str"),
    (int, True, "must be int, is bool"),
    (int, 1.0, "must be int, is float"),
    (float, True, "must be float, is bool"),
    (float, 2**60 + 1, "no float is equal to"),
    (float, Decimal(1), "must be float, is Decimal"),
    (str, 5, "must be str, is int"),
    (str, b"a", "must be str, is bytes"),
    (str, Word.A, "must be exactly str, is Word"),
    (int, Number.ONE, "must be exactly int, is Number"),
    (str | None, Word.A, "must be exactly str, is Word"),
    (list[int], [Number.ONE], r"\[0\]: must be exactly int, is Number"),
    (dict[str, int], {Word.A: 1}, r"\.keys\(\)\[0\]: must be exactly str, is Word"),
    (bytes, "a", "must be bytes, is str"),
    (bytes, bytearray(b"a"), "must be bytes, is bytearray"),
    (Decimal, 5, "must be Decimal, is int"),
    (Decimal, "12,50", "must be Decimal, is str"),
    (Decimal, None, "must be Decimal, is None"),
    (dt.datetime, dt.date(2024, 1, 1), "must be datetime, is date"),
    (dt.date, WHEN, "must be date, is datetime"),
    (dt.datetime, dt.datetime(1850, 1, 1, tzinfo=BERLIN), "not whole minutes"),
    (dt.time, dt.time(1, tzinfo=BERLIN), "offset is unknown"),
    (dt.time, dt.time(1, tzinfo=dt.timezone(dt.timedelta(seconds=61))), "not whole minutes"),
    (Annotated[int, msgspec.Meta(le=9)] | int | None, 10, "at most 9"),
    (Number | float, 5, "must be"),
    (Literal["a", 1] | float, 5, "must be"),
    (uuid.UUID, "00000000-0000-0000-0000-000000000005", "must be UUID, is str"),
    (Word, "a", "must be Word, is str"),
    (Literal["a", 1], True, "must be"),
    (Literal["a", 1], "b", "must be"),
    (list[int], (1, 2), "must be list, is tuple"),
    (list[int], [1, "2"], r"\[1\]: must be int, is str"),
    (tuple[int, ...], [1], "must be tuple, is list"),
    (tuple[int, str], (1, "a", 2), "must have 2 items, has 3"),
    (set[int], frozenset({1}), "must be set, is frozenset"),
    (dict[str, int], OrderedDict(a=1), "must be exactly dict, is OrderedDict"),
    (dict[str, int], {"a": "b"}, r"\.values\(\)\[0\]: must be int"),
    (dict[str, int], {1: 1}, r"\.keys\(\)\[0\]: must be str"),
    (Keys, {"a": 1, "b": 2}, "does not declare"),
    (Keys, {"a": "x"}, r"\['a'\]: must be int"),
    (Point, (1, Decimal(1)), "must be Point, is tuple"),
    (Data, Data(1, [1]), r"b\[0\]: must be Decimal"),  # type: ignore[list-item]  # what is refused
    (Base, Derived(1), "must be exactly Base, is Derived"),
    (list[Base], [Derived(1)], "must be exactly Base"),
    (Base | None, Derived(1), "must be exactly Base"),
    (Tree, Tree(1, [Tree(2, parent=Tree("x"))]), r"children\[0\]\.parent\.value"),  # type: ignore[arg-type]  # same
    (Box[Decimal], Box(1), "content: must be Decimal"),
    (Card | Cash, Base(1), "must be Card or Cash"),
    (Maybe, Maybe(given=msgspec.UNSET), "given: must be int"),  # type: ignore[arg-type]  # what is refused
    (Growing, Growing(1), "is another Growing when it is read back"),
    (Any, {"a": Decimal(1)}, r"\.values\(\)\[0\]: is Decimal"),
    (Any, [(1,)], r"\[0\]: is tuple"),
    (dict, {"a": WHEN}, "is datetime"),
    (object, Base(1), "is Base"),
    (Annotated[int, msgspec.Meta(gt=0)], 0, "must be"),
    (Annotated[str, msgspec.Meta(max_length=3)], "abcd", "at most 3 characters"),
    (Annotated[dt.datetime, msgspec.Meta(tz=True)], WHEN, "time zone"),
]

JSON_ONLY: list[tuple[Any, Any, str]] = [
    (float, math.nan, "not a finite number"),
    (float | None, -math.inf, "not a finite number"),
    (list[float], [1.0, math.inf], r"\[1\]: is not a finite"),
    (int | float, math.nan, "not a finite number"),
    (Any, {"a": math.nan}, "not a finite number"),
    (Any, {1: 2}, "has a key that is int"),
    (Any, b"x", "is bytes"),
    (dict[int | str, int], {1: 1}, r"keys\(\)\[0\]: must be str"),
]


NO_BYTES: list[tuple[Any, Any]] = [
    (str, "\ud800"),
    (list[str], ["a", "\ud800"]),
    (dict[str, int], {"\ud800": 1}),
    (tuple[int, str] | None, (1, "\ud800")),
    (Any, ["\ud800"]),
    (Any, {"\ud800": 1}),
]
NO_BYTES_IN_MSGPACK: list[tuple[Any, Any]] = [
    (int, 2**64),
    (int, -(2**63) - 1),
    (list[int | None], [1, 2**64]),
    (dict[str, int], {"a": 2**64}),
    (Annotated[int, msgspec.Meta(gt=0)], 2**64),
    (Any, [2**64]),
]
# The fields of objects are left to the encoder.
LEFT: list[tuple[Any, Any]] = [(Tree, Tree(2**64)), (Card, Card("\ud800")), (list[Card], [Card("\ud800")])]


def serializer_of(format: str) -> MsgspecSerializer:
    return json_serializer() if format == "json" else msgpack_serializer()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("type_", "value"), KEPT)
def test_kept_value_is_read_back_as_it_is(format: str, type_: Any, value: Any) -> None:
    serializer = serializer_of(format)
    assert not plan_of(type_).problems
    data = exact_encoder(serializer, type_)(value)
    back = serializer.decoder(type_)(data)
    assert same(back, value) or (back == value and isinstance(value, int))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("type_", "value"), [*KEPT, (int, -(2**63)), (int, 2**64 - 1), (str, "😀")])
def test_bounded_check_passes_what_is_kept(format: str, type_: Any, value: Any) -> None:
    assert plan_of(type_).bounded_check(format).good(value)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("type_", "value", "text"), REFUSED)
def test_bounded_check_refuses_what_would_change(format: str, type_: Any, value: Any, text: str) -> None:
    findings = findings_by(plan_of(type_).bounded_check(format), value)

    assert re.search(text, listed(findings))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("type_", "value"), [*NO_BYTES, *NO_BYTES_IN_MSGPACK])
def test_bounded_check_refuses_what_the_format_has_no_bytes_for(format: str, type_: Any, value: Any) -> None:
    has_bytes = format == "json" and (type_, value) in NO_BYTES_IN_MSGPACK

    assert plan_of(type_).bounded_check(format).good(value) is has_bytes
    assert bool(findings_by(plan_of(type_).bounded_check(format), value)) is not has_bytes


@pytest.mark.parametrize(("type_", "value"), LEFT)
def test_bounded_check_leaves_fields_of_objects_to_the_encoder(type_: Any, value: Any) -> None:
    assert plan_of(type_).bounded_check("msgpack").good(value)
    with pytest.raises(CatgaError, match="cannot be serialized"):
        exact_encoder(msgpack_serializer(), type_)(value)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("type_", "value", "text"), REFUSED)
def test_value_that_would_change_is_refused(format: str, type_: Any, value: Any, text: str) -> None:
    with pytest.raises(CatgaError, match=text) as refused:
        exact_encoder(serializer_of(format), type_)(value)
    assert refused.value.code == "SERIALIZATION_FAILED"


@pytest.mark.parametrize(("type_", "value", "text"), JSON_ONLY)
def test_value_that_only_json_would_change_is_kept_by_msgpack(type_: Any, value: Any, text: str) -> None:
    with pytest.raises(CatgaError, match=text):
        exact_encoder(json_serializer(), type_)(value)
    kept = msgpack_serializer()
    assert same(kept.decoder(type_)(exact_encoder(kept, type_)(value)), value)


def test_dataclass_with_fields_outside_of_init_is_kept_or_refused() -> None:
    for format in FORMATS:
        serializer = serializer_of(format)
        encode, decode = exact_encoder(serializer, Late), serializer.decoder(Late)
        assert decode(encode(Late(1))) == Late(1)
        changed = Late(1)
        changed.b = 5
        try:
            data = encode(changed)
        except CatgaError:
            continue
        assert decode(data) == changed


class Secret(Event):
    card: int
    note: str = ""


def test_refusal_names_every_field_and_no_value() -> None:
    with pytest.raises(CatgaError) as refused:
        exact_encoder(msgpack_serializer(), Secret)(Secret("4111-1111", 5))  # type: ignore[arg-type]
    assert [each["field"] for each in refused.value.details["errors"]] == ["card", "note"]
    assert "4111" not in f"{refused.value} {refused.value.details}"


def test_value_nested_too_deep_is_refused() -> None:
    deep: Any = []
    for _ in range(50_000):
        deep = [deep]
    with pytest.raises(CatgaError, match=r"nested too deep|recursion"):
        exact_encoder(msgpack_serializer(), Any)(deep)


class Numbers:
    """A serializer of an application's, which keeps decimals as floats."""

    name = "numbers"

    def encode(self, value: object, /) -> bytes:
        return msgspec.json.Encoder(decimal_format="number").encode(value)

    def decoder(self, type_: Any, /) -> Any:
        return msgspec.json.Decoder(type_, float_hook=float).decode


class Paid(Event):
    amount: Any


def test_foreign_serializer_is_checked_by_reading_back() -> None:
    serializer: Serializer = Numbers()
    encode = exact_encoder(serializer, Paid)
    assert encode(Paid(1))
    with pytest.raises(CatgaError, match="another value when it is read back"):
        encode(Paid(Decimal("1.50")))
    with pytest.raises(CatgaError, match="another value when it is read back"):
        encode(Paid((1, 2)))
