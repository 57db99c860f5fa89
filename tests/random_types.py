"""Random types that annotations allow, and random values of them; every choice comes from one `random.Random`."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import importlib
import importlib.util
import itertools
import math
import sys
import types
import uuid
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Annotated, Any, Generic, Literal, NamedTuple, Optional, TypedDict, TypeVar, Union
from zoneinfo import ZoneInfo

import msgspec

from catga_core import Command, Event

T = TypeVar("T")
MODULE = types.ModuleType("tests.random_types_made")
sys.modules[MODULE.__name__] = MODULE
_numbers = itertools.count(1)
_BERLIN = ZoneInfo("Europe/Berlin")


class Made(NamedTuple):
    """A type with a source of values.

    Attributes:
        annotation: The type.
        value: Makes a value that a type checker would accept for it.
        hashable: Whether the values can be keys.
    """

    annotation: Any
    value: Callable[[Random], Any]
    hashable: bool = False


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    A = "a"
    B = "b"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Box(msgspec.Struct, Generic[T], frozen=True):
    content: T


class Base(msgspec.Struct, frozen=True):
    a: int


class Derived(Base, frozen=True):
    b: int = 0


class Tree(msgspec.Struct):
    value: int
    children: list[Tree] = []


class Unknown:
    """A class that msgspec does not know."""


class Text(str):
    """A text of a subclass."""

    __slots__ = ()


def make_type(rng: Random, depth: int = 2) -> Made:
    """Return a random type, nested at most so deep."""
    if rng.random() < _UNENCODABLE:
        return rng.choice(_BAD)(rng)
    if depth <= 0 or rng.random() < 0.35:
        return rng.choice(_LEAVES)(rng)
    return rng.choice(_NESTED)(rng, depth - 1)


def make_event(rng: Random) -> tuple[type[Event], Callable[[Random], Event]]:
    """Return a random event class, and a source of its events."""
    fields = {f"field_{number}": make_type(rng) for number in range(rng.randint(1, 3))}
    name = f"RandomEvent{next(_numbers)}"
    cls: Any = _class(name, (Event,), fields)
    return cls, lambda rng: cls(**{name: each.value(rng) for name, each in fields.items()})


def make_command(rng: Random) -> tuple[type[Command[Any]], Callable[[Random], Command[Any]]]:
    """Return a random command class with one field `value` and a result of the field's type, and a source of commands."""
    made = make_type(rng)
    base: Any = Command
    cls: Any = _class(f"RandomCommand{next(_numbers)}", (base[made.annotation],), {"value": made})
    return cls, lambda rng: cls(made.value(rng))


def spoiled(rng: Random, message: Any) -> Any:
    """Return a message with one field that most probably does not fit."""
    name = rng.choice(message.__struct_fields__)
    return msgspec.structs.replace(message, **{name: rng.choice(_JUNK)(rng)})


def equal(first: Any, second: Any) -> bool:
    """Tell whether two values are the same for an application: of one class and equal in all their parts.

    An int may have become the float it is equal to; "not a number" equals itself.
    """
    if isinstance(first, float) and isinstance(second, float) and math.isnan(first):
        return math.isnan(second)
    if isinstance(first, Decimal) and isinstance(second, Decimal):
        return str(first) == str(second)
    numbers = {type(first), type(second)} <= {int, float}
    if type(first) is not type(second) and not numbers:
        return False
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, dict):
        return equal(list(first), list(second)) and equal(list(first.values()), list(second.values()))
    if isinstance(first, set | frozenset):
        return equal(sorted(first, key=repr), sorted(second, key=repr))
    if isinstance(first, msgspec.Struct):
        return all(equal(getattr(first, name), getattr(second, name)) for name in first.__struct_fields__)
    if dataclasses.is_dataclass(first):
        return equal(vars(first), vars(second))
    if isinstance(first, dt.datetime):
        return (first.tzinfo is None) == (second.tzinfo is None) and (
            first == second or first.timestamp() == second.timestamp()
        )
    return bool(first == second)


# --- types without parts ---


def _decimal(rng: Random) -> Decimal:
    return Decimal(rng.randint(-(10**6), 10**6)).scaleb(-rng.randint(0, 4))


def _text(rng: Random) -> str:
    return "".join(rng.choice('ab é\x00\n\u2028😀"1') for _ in range(rng.randint(0, 6)))


def _instant(rng: Random) -> dt.datetime:
    zone = rng.choice([None, dt.UTC, dt.timezone(dt.timedelta(hours=-3, minutes=30)), _BERLIN])
    # Some are naive: those are values like any other.
    naive = dt.datetime(  # noqa: DTZ001 - as above
        rng.randint(1900, 2100), rng.randint(1, 12), 3, rng.randint(0, 23), 5, 6, rng.randint(0, 999_999)
    )
    return naive.replace(tzinfo=zone)


def _float(rng: Random) -> float:
    return rng.choice([rng.uniform(-1e6, 1e6), 0.0, -0.0, 5, 1e300, math.nan, math.inf])


def _plain(rng: Random, depth: int = 2) -> Any:
    if depth and rng.random() < 0.4:
        if rng.random() < 0.5:
            return [_plain(rng, depth - 1) for _ in range(rng.randint(0, 3))]
        return {_text(rng): _plain(rng, depth - 1) for _ in range(rng.randint(0, 3))}
    return rng.choice([None, True, 5, 1.5, _text(rng)])


def _leaf(
    annotation: Any, value: Callable[[Random], Any], *, hashable: bool = True
) -> Callable[[Random], Made]:
    made = Made(annotation, value, hashable)
    return lambda _rng: made


_UNENCODABLE = 0.02
"""How often a part of a type is one that cannot be encoded."""

_LEAVES: list[Callable[[Random], Made]] = [
    _leaf(int, lambda rng: rng.choice([rng.randint(-5, 5), 2**40, 2**63, -(2**63)])),
    _leaf(float, _float),
    _leaf(str, _text),
    _leaf(bytes, lambda rng: rng.randbytes(rng.randint(0, 5))),
    _leaf(bool, lambda rng: rng.random() < 0.5),
    _leaf(Decimal, _decimal),
    _leaf(dt.date, lambda rng: dt.date(rng.randint(1, 9999), 2, 28)),
    _leaf(dt.datetime, _instant),
    _leaf(dt.time, lambda rng: dt.time(rng.randint(0, 23), 5, 6, rng.randint(0, 999_999))),
    _leaf(
        dt.timedelta,
        lambda rng: dt.timedelta(rng.randint(-999, 999), rng.randint(0, 99), rng.randint(0, 999_999)),
    ),
    _leaf(uuid.UUID, lambda rng: uuid.UUID(int=rng.getrandbits(128))),
    _leaf(Color, lambda rng: rng.choice(list(Color))),
    _leaf(Level, lambda rng: rng.choice(list(Level))),
    _leaf(Word, lambda rng: rng.choice(list(Word))),
    _leaf(Rights, lambda rng: rng.choice([Rights.READ, Rights.READ | Rights.WRITE])),
    _leaf(Literal["a", 1], lambda rng: rng.choice(["a", 1])),
    _leaf(Any, _plain, hashable=False),
    _leaf(object, _plain, hashable=False),
    _leaf(dict, lambda rng: {"a": _plain(rng)}, hashable=False),
    _leaf(Annotated[Decimal, msgspec.Meta(gt=0)], lambda rng: abs(_decimal(rng)) + 1),
    _leaf(Annotated[int, msgspec.Meta(ge=0, le=9)], lambda rng: rng.randint(0, 9)),
    _leaf(Annotated[str, msgspec.Meta(max_length=3)], lambda rng: _text(rng)[:3]),
    _leaf(Tree, lambda rng: Tree(1, [Tree(rng.randint(0, 9))]), hashable=False),
    _leaf(None, lambda _rng: None),
]
_BAD: list[Callable[[Random], Made]] = [
    _leaf(complex, lambda _rng: 1j),
    _leaf(Unknown, lambda _rng: Unknown()),
    _leaf(Callable[[], int], lambda _rng: int),
]


# --- types of other types ---


def _several(rng: Random, made: Made) -> list[Any]:
    return [made.value(rng) for _ in range(rng.randint(0, 3))]


def _key(rng: Random) -> Made:
    while True:
        made = rng.choice(_LEAVES)(rng)
        if made.hashable:
            return made


def _list(rng: Random, depth: int) -> Made:
    item = make_type(rng, depth)
    return Made(list[item.annotation], lambda rng: _several(rng, item))  # type: ignore[name-defined]  # made at run time


def _tuple(rng: Random, depth: int) -> Made:
    items = [make_type(rng, depth) for _ in range(rng.randint(1, 3))]
    annotation: Any = tuple
    made = annotation[tuple(each.annotation for each in items)]
    return Made(made, lambda rng: tuple(each.value(rng) for each in items))


def _open_tuple(rng: Random, depth: int) -> Made:
    item = make_type(rng, depth)
    annotation: Any = tuple
    return Made(annotation[item.annotation, ...], lambda rng: tuple(_several(rng, item)))


def _set(rng: Random, _depth: int) -> Made:
    item, kind = _key(rng), rng.choice([set, frozenset])
    annotation: Any = kind
    return Made(annotation[item.annotation], lambda rng: kind(_several(rng, item)))


def _dict(rng: Random, depth: int) -> Made:
    key, item = _key(rng), make_type(rng, depth)
    annotation: Any = dict
    return Made(
        annotation[key.annotation, item.annotation],
        lambda rng: {key.value(rng): item.value(rng) for _ in range(2)},
    )


def _optional(rng: Random, depth: int) -> Made:
    made = make_type(rng, depth)
    return Made(
        Optional[made.annotation],  # noqa: UP045 - a type that is made at run time
        lambda rng: None if rng.random() < 0.3 else made.value(rng),
    )


def _union(rng: Random, depth: int) -> Made:
    members = [make_type(rng, depth) for _ in range(rng.randint(2, 3))]
    union: Any = Union
    return Made(union[tuple(each.annotation for each in members)], lambda rng: rng.choice(members).value(rng))


_OPTIONS: list[dict[str, Any]] = [
    {},
    {"rename": "camel"},
    {"tag": True},
    {"tag": "x", "tag_field": "kind"},
    {"array_like": True},
    {"array_like": True, "tag": True},
    {"forbid_unknown_fields": True},
    {"omit_defaults": True},
    {"kw_only": True},
    {"frozen": True},
]


def _struct(rng: Random, depth: int) -> Made:
    fields = {f"part_{number}": make_type(rng, depth) for number in range(rng.randint(1, 3))}
    cls: Any = _class(f"RandomStruct{next(_numbers)}", (msgspec.Struct,), fields, **rng.choice(_OPTIONS))
    return Made(cls, lambda rng: cls(**{name: each.value(rng) for name, each in fields.items()}))


def _dataclass(rng: Random, depth: int) -> Made:
    fields = {f"part_{number}": make_type(rng, depth) for number in range(rng.randint(1, 2))}
    cls: Any = dataclasses.dataclass(_class(f"RandomData{next(_numbers)}", (), fields))
    return Made(cls, lambda rng: cls(**{name: each.value(rng) for name, each in fields.items()}))


def _named_tuple(rng: Random, depth: int) -> Made:
    made = make_type(rng, depth)
    factory: Any = NamedTuple
    cls = factory(f"RandomTuple{next(_numbers)}", [("part", made.annotation), ("number", int)])
    return Made(cls, lambda rng: cls(made.value(rng), 1))


def _typed_dict(rng: Random, depth: int) -> Made:
    made = make_type(rng, depth)
    factory: Any = TypedDict
    cls = factory(f"RandomDict{next(_numbers)}", {"part": made.annotation}, total=rng.random() < 0.5)
    return Made(cls, lambda rng: {"part": made.value(rng)})


def _generic(rng: Random, depth: int) -> Made:
    made = make_type(rng, depth)
    annotation: Any = Box
    return Made(annotation[made.annotation], lambda rng: Box(made.value(rng)))


def _tagged(rng: Random, depth: int) -> Made:
    first, second = make_type(rng, depth), make_type(rng, depth)
    one: Any = _class(f"RandomTagged{next(_numbers)}", (msgspec.Struct,), {"part": first}, tag=True)
    two: Any = _class(f"RandomTagged{next(_numbers)}", (msgspec.Struct,), {"part": second}, tag=True)
    return Made(
        one | two, lambda rng: one(first.value(rng)) if rng.random() < 0.5 else two(second.value(rng))
    )


def _pydantic(rng: Random, depth: int) -> Made:
    pydantic: Any = importlib.import_module("pydantic")
    kinds = [int, str, Decimal, dt.date, list[int], str | None]
    kind = rng.choice(kinds)
    values: dict[Any, Any] = {
        int: 5,
        str: "x",
        Decimal: Decimal("1.50"),
        dt.date: dt.date(2024, 1, 2),
        list[int]: [1, 2],
    }
    model = pydantic.create_model(f"RandomModel{next(_numbers)}", part=(kind, ...))
    return Made(model, lambda _rng: model(part=values.get(kind)))


_NESTED: list[Callable[[Random, int], Made]] = [
    _list, _tuple, _open_tuple, _set, _dict, _optional, _union, _struct, _struct, _dataclass, _named_tuple, _typed_dict,
    _generic, _tagged, *([_pydantic] if importlib.util.find_spec("pydantic") else []),
]  # fmt: skip

_JUNK: list[Callable[[Random], Any]] = [
    lambda _rng: "12,50",
    lambda _rng: None,
    lambda _rng: True,
    lambda _rng: 2**60 + 1,
    lambda _rng: math.nan,
    lambda _rng: Decimal("1.50"),
    lambda _rng: dt.date(2024, 1, 1),
    lambda _rng: dt.datetime(1850, 1, 1, tzinfo=_BERLIN),
    lambda _rng: (1, Decimal(1)),
    lambda _rng: {"a": Decimal(1)},
    lambda _rng: {1: 2},
    lambda _rng: OrderedDict(a=1),
    lambda _rng: Derived(1),
    lambda _rng: Text("x"),
    lambda _rng: b"x",
    lambda _rng: "\ud800",
    lambda _rng: object(),
    lambda rng: [rng.choice(_JUNK[:-1])(rng)],
]


def _class(name: str, bases: tuple[Any, ...], fields: dict[str, Made], **options: Any) -> Any:
    annotations = {each: made.annotation for each, made in fields.items()}

    def body(namespace: dict[str, Any]) -> None:
        namespace["__annotations__"] = annotations
        namespace["__module__"] = MODULE.__name__

    return types.new_class(name, bases, options, body)
