"""Compare two values exactly: classes, parts, and what `==` hides."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Iterable
from typing import Any

import msgspec

from catga_core.descriptions import class_of

_ATOMS = frozenset({bool, int, str, bytes, bytearray, type(None), dt.date, dt.timedelta, uuid.UUID})


def same(first: Any, second: Any) -> bool:  # noqa: PLR0911 - one return for each kind of value
    """Tell whether two values are of one class and equal, in all their parts.

    Two aware datetimes are the same where they are the same instant. "Not a number" is the same as itself.
    """
    cls: Any = class_of(first)
    if cls is not class_of(second):
        return False
    if cls in _ATOMS:
        return bool(first == second)
    if cls is float:
        return bool(first == second) or (first != first and second != second)  # noqa: PLR0124 - only "not a number" is unlike itself
    if cls is decimal.Decimal:
        return bool(first.as_tuple() == second.as_tuple())
    if cls is dt.datetime:
        return _instant(first) == _instant(second)
    if cls is dt.time:
        return (first.replace(tzinfo=None), first.utcoffset()) == (
            second.replace(tzinfo=None),
            second.utcoffset(),
        )
    if issubclass(cls, enum.Enum):
        return first is second or bool(first == second)
    parts = _parts(first)
    if parts is None:
        return bool(first == second)
    return _all_same(parts, _parts(second) or ()) and _also_equal(first, second)


def _also_equal(first: Any, second: Any) -> bool:
    # What a pydantic model keeps besides its fields.
    return not is_model(class_of(first)) or bool(first == second)


def is_model(cls: Any) -> bool:
    """Tell whether a class is a pydantic model; its dataclasses are dataclasses."""
    return hasattr(cls, "__pydantic_fields__") and not dataclasses.is_dataclass(cls)


def _instant(value: dt.datetime) -> tuple[bool, dt.datetime]:
    offset = value.utcoffset()
    # Without the zone: two zones never compare equal within the hour that a clock repeats.
    return (offset is not None), value.replace(tzinfo=None, fold=0) - (offset or dt.timedelta())


def _parts(value: Any) -> Iterable[Any] | None:  # noqa: PLR0911 - one return for each kind of value
    cls: Any = class_of(value)
    if issubclass(cls, list | tuple):
        return value  # type: ignore[no-any-return]  # a list or a tuple
    if issubclass(cls, dict):
        # Both formats keep the order.
        return [part for item in value.items() for part in item]
    if issubclass(cls, set | frozenset):
        return sorted(value, key=lambda each: (type(each).__name__, repr(each)))
    if issubclass(cls, msgspec.Struct):
        return [getattr(value, name) for name in value.__struct_fields__]
    if issubclass(cls, memoryview | msgspec.Raw):
        return [bytes(value)]
    if is_model(cls):
        return [dict(value.__dict__), getattr(value, "__pydantic_extra__", None)]
    if dataclasses.is_dataclass(cls):
        return [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    if hasattr(cls, "__attrs_attrs__"):
        return [getattr(value, each.name, None) for each in cls.__attrs_attrs__]
    return None


def _all_same(first: Iterable[Any], second: Iterable[Any]) -> bool:
    ours, theirs = list(first), list(second)
    return len(ours) == len(theirs) and all(map(same, ours, theirs))
