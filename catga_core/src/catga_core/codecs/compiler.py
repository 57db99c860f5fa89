"""Compiles a type into the check of its values in one format."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, get_origin

import msgspec
import msgspec.inspect as shape

from catga_core.codecs.annotations import DECIMAL_BOUNDS
from catga_core.codecs.checks import Check, exactly, literal, pending, round_trip, union, wrong
from catga_core.codecs.collections import dict_check, items_check, tuple_check, typed_dict_check
from catga_core.codecs.findings import Finding
from catga_core.codecs.objects import object_check
from catga_core.codecs.rules import length_rules, number_rules, pattern_rules, zone_rules
from catga_core.codecs.serializing import JSON, NO_FORMAT, decoder_of, encoder_of
from catga_core.codecs.special import (
    JSON_NUMBER,
    SAME_TIME,
    VALID_TEXT,
    datetime_check,
    decimal_check,
    enum_check,
    float_check,
    int_bound,
)
from catga_core.codecs.untyped import any_check

_BYTES: dict[type[shape.Type], type[Any]] = {shape.BytesType: bytes, shape.ByteArrayType: bytearray}
_PLAIN: dict[type[shape.Type], tuple[str, type[Any]]] = {
    shape.BoolType: ("bool", bool),
    shape.DateType: ("date", dt.date),
    shape.TimeDeltaType: ("timedelta", dt.timedelta),
    shape.UUIDType: ("UUID", uuid.UUID),
}


def compile_check(described: shape.Type, format: str, *, bounded: bool = False) -> Check:
    """Return the check of a type's values in a format.

    Args:
        described: The type, as `msgspec.inspect` describes it.
        format: `msgpack`, `json` or `NO_FORMAT`.
        bounded: Whether it also refuses ints and texts that the format has no bytes for, except in the fields of objects;
            an encoder refuses them by itself.
    """
    return _Compiler(format, bounded=bounded).check(described)


class _Compiler:
    """Makes the checks of one type; a type that contains itself meets its own check again."""

    def __init__(self, format: str, *, bounded: bool = False) -> None:
        self._format = format
        # The compiler of fields, where they have other checks than what is around the object.
        self._fields = _Compiler(format) if bounded else None
        self._encode = encoder_of(format)
        self._known: dict[int, Check] = {}
        # The descriptions, so that no id is used twice.
        self._kept: list[shape.Type] = []

    def check(self, described: shape.Type, bounds: msgspec.Meta | None = None) -> Check:
        if isinstance(described, shape.Metadata):
            extra: Any = getattr(described, "extra", None)
            return self.check(described.type, extra.get(DECIMAL_BOUNDS, bounds) if extra else bounds)
        if isinstance(described, shape.UnionType):
            return self._union(described, bounds)
        if bounds is not None:
            return self._made(described, bounds)
        known = self._known.get(id(described))
        if known is None:
            self._kept.append(described)
            known = self._known[id(described)] = self._made(described, None)
        return known

    def _made(self, described: shape.Type, bounds: msgspec.Meta | None) -> Check:  # noqa: C901, PLR0911, PLR0912 - one case for each kind of type
        limits: Any = bounds or described
        match described:
            case shape.NoneType():
                return _NONE
            case shape.IntType():
                bound = int_bound(self._format) if self._fields is not None else None
                return exactly("int", int, number_rules(limits), bound)
            case shape.FloatType():
                return float_check(number_rules(limits), JSON_NUMBER if self._format == JSON else None)
            case shape.DecimalType():
                return decimal_check(number_rules(limits) if bounds is not None else [])
            case shape.StrType():
                rules = [*length_rules(described, "character"), *pattern_rules(described.pattern)]
                return exactly("str", str, rules, VALID_TEXT if self._fields is not None else None)
            case shape.BytesType() | shape.ByteArrayType():
                cls = _BYTES[type(described)]
                return exactly(cls.__name__, cls, length_rules(described, "byte"))
            case shape.DateTimeType():
                return datetime_check(zone_rules(described.tz))
            case shape.TimeType():
                return exactly("time", dt.time, zone_rules(described.tz), SAME_TIME)
            case shape.LiteralType():
                return literal(described.values)
            case shape.EnumType():
                return enum_check(described.cls)
            case shape.ListType():
                return self._items("list", list, described, "[{}]")
            case shape.VarTupleType():
                return self._items("tuple", tuple, described, "[{}]")
            case shape.SetType():
                return self._items("set", set, described, "[...]")
            case shape.FrozenSetType():
                return self._items("frozenset", frozenset, described, "[...]")
            case shape.TupleType():
                return tuple_check([self.check(each) for each in described.item_types])
            case shape.DictType():
                rules = length_rules(described, "item")
                key = self._key(described.key_type)
                return dict_check(key, self.check(described.value_type), rules)
            case shape.TypedDictType():
                parts = {each.name: (self.check(each.type), bool(each.required)) for each in described.fields}
                return typed_dict_check(described.cls.__name__, parts)
            case shape.StructType() | shape.DataclassType() | shape.NamedTupleType():
                return self._object(described)
            case shape.AnyType():
                return any_check(self._format)
            case shape.CustomType() if described.cls is object:
                return any_check(self._format)
            case shape.CustomType():
                return self._foreign(described.cls)
            case shape.RawType() | shape.MemoryViewType() | shape.ExtType():
                return self._foreign(_OPAQUE[type(described)])
            case _:
                name, plain = _PLAIN[type(described)]
                return exactly(name, plain)

    def _union(self, described: shape.UnionType, bounds: msgspec.Meta | None) -> Check:
        if any(isinstance(each, shape.AnyType) for each in described.types):
            return any_check(self._format)
        members = [self.check(each, bounds) for each in described.types]
        if any(map(_reads_ints, described.types)):
            # An int is then read back by that member: the float beside it must not let another one pass.
            members = [_only(float, each) if each.expected == "float" else each for each in members]
        # None is cheap to find, and common.
        return union(sorted(_merged(members), key=lambda each: each is not _NONE))

    def _items(self, name: str, cls: type[Any], described: shape.CollectionType, where: str) -> Check:
        rules = length_rules(described, "item")
        return items_check(name, cls, self.check(described.item_type), rules, where)

    def _key(self, described: shape.Type) -> Check:
        check = self.check(described)
        if self._format == NO_FORMAT:
            return check
        if self._format != JSON or not isinstance(described, shape.UnionType):
            return check if not isinstance(described, shape.AnyType) or self._format != JSON else _TEXT
        # JSON's keys are texts, and which of several types one was is guessed from it.
        if any(isinstance(each, shape.StrType) for each in described.types):
            return _TEXT
        annotation: Any = dict[_annotation(described), None]  # type: ignore[misc]  # made at run time
        decode = decoder_of(JSON, annotation)
        return round_trip(check, lambda key: self._encode({key: None}), lambda data: next(iter(decode(data))))

    def _object(self, described: Any) -> Check:
        if self._fields is not None:
            return self._fields.check(described)
        cls: type[Any] = get_origin(described.cls) or described.cls
        made = pending(cls.__name__)
        # Known before its fields are compiled, because one of them may be of this type again.
        self._known[id(described)] = made
        parts = [(field.name, self.check(field.type)) for field in described.fields]
        done = object_check(cls, parts)
        if self._format != NO_FORMAT and (hasattr(cls, "__post_init__") or _has_late_fields(cls)):
            # Its own code runs when it is decoded.
            done = round_trip(done, self._encode, decoder_of(self._format, described.cls))
        made.fits, made.good, made.explain, made.steps = done.fits, done.good, done.explain, done.steps
        return made

    def _foreign(self, cls: Any) -> Check:
        check = exactly(getattr(cls, "__name__", str(cls)), get_origin(cls) or cls)
        if self._format == NO_FORMAT:
            return check
        return round_trip(check, self._encode, decoder_of(self._format, cls))


def _has_late_fields(cls: type[Any]) -> bool:
    fields = getattr(cls, "__dataclass_fields__", {})
    return any(not field.init for field in fields.values())


def _reads_ints(described: shape.Type) -> bool:
    """Tell whether an int in the bytes is read as this member of a union, where a float is another one."""
    match described:
        case shape.Metadata():
            return _reads_ints(described.type)
        case shape.EnumType():
            return any(isinstance(each.value, int) for each in described.cls)
        case shape.LiteralType():
            return any(isinstance(each, int) for each in described.values)
        case _:
            return isinstance(described, shape.IntType)


def _merged(members: Sequence[Check]) -> list[Check]:
    """Return a union's checks with one for each type: msgspec adds the constraints of members of one type."""
    by_type: dict[str, list[Check]] = {}
    for each in members:
        by_type.setdefault(each.expected, []).append(each)
    return [several[0] if len(several) == 1 else _both(several) for several in by_type.values()]


def _both(several: Sequence[Check]) -> Check:
    first = several[0]

    def good(value: Any) -> bool:
        return all(each.good(value) for each in several)

    def explain(value: Any, path: str, findings: list[Finding]) -> None:
        for each in several:
            if not each.good(value):
                each.explain(value, path, findings)
                return

    return Check(first.expected, first.fits, good, explain)


def _only(cls: type[Any], check: Check) -> Check:
    test = check.good

    def explain(value: Any, path: str, findings: list[Finding]) -> None:
        check.explain(value, path, findings)

    return Check(
        check.expected,
        lambda value: isinstance(value, cls),
        lambda value: isinstance(value, cls) and test(value),
        explain,
    )


def _annotation(described: shape.Type) -> Any:
    """Return the type that a description of a dict's key is of."""
    match described:
        case shape.UnionType():
            found: Any = _annotation(described.types[0])
            for each in described.types[1:]:
                found |= _annotation(each)
            return found
        case shape.Metadata():
            return _annotation(described.type)
        case shape.EnumType() | shape.CustomType():
            return described.cls
        case shape.LiteralType():
            return type(described.values[0])
        case _:
            return _KEYS.get(type(described), str)


_KEYS: dict[type[shape.Type], type[Any]] = {
    shape.IntType: int,
    shape.FloatType: float,
    shape.DecimalType: Decimal,
    shape.BytesType: bytes,
    shape.DateTimeType: dt.datetime,
    shape.TimeType: dt.time,
    **{described: cls for described, (_, cls) in _PLAIN.items()},
}
_OPAQUE: dict[type[shape.Type], type[Any]] = {
    shape.RawType: msgspec.Raw,
    shape.MemoryViewType: memoryview,
    shape.ExtType: msgspec.msgpack.Ext,
}


def _explain_none(value: Any, path: str, findings: list[Finding]) -> None:
    findings.append(wrong(path, "None", value))


_NONE = Check("None", lambda value: value is None, lambda value: value is None, _explain_none, "x is None")
_TEXT = exactly("str", str)
