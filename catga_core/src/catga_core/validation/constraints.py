"""Compiles what a class declares of its fields, types and constraints, into checks of its objects."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import Any, get_origin

import msgspec
import msgspec.inspect as shape

from catga_core.codecs.rules import Rule, Test, length_rules, number_rules, pattern_rules, zone_rules
from catga_core.interfaces.validation import ValidationProblem
from catga_core.validation.checks import (
    ANYTHING,
    NONE,
    Check,
    Explain,
    Inside,
    both,
    each,
    instance,
    is_float,
    is_int,
    literal,
    of,
    typed,
    union,
)
from catga_core.validation.shapes import shape_of

_CHECK = "__catga_check__"


def check_of(cls: type[Any]) -> Check:
    """Return the check of a class; it is compiled once.

    Args:
        cls: A Struct class.
    """
    known: Check | None = cls.__dict__.get(_CHECK)
    if known is None:
        known = _Compiler().check(shape_of(cls))
        # On the class itself, so that it goes when the class goes; a subclass is another class.
        setattr(cls, _CHECK, known)
    return known


def check_of_shape(described: shape.Type) -> Check:
    """Return the check of any type that msgspec describes.

    Args:
        described: The description.
    """
    return _Compiler().check(described)


def _is_date(value: Any) -> bool:
    return isinstance(value, dt.date) and not isinstance(value, dt.datetime)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list | tuple) or (
        isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview)
    )


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict) or isinstance(value, Mapping)  # noqa: SIM101 - a dict is found much faster


def _values_of(value: Any) -> Any:
    return value.values()


_PLAIN_BYTES: dict[type[shape.Type], type[Any]] = {
    shape.BytesType: bytes,
    shape.ByteArrayType: bytearray,
    shape.MemoryViewType: memoryview,
}
_PLAIN: dict[type[shape.Type], tuple[str, Test]] = {
    shape.NoneType: (NONE, of(type(None))),
    shape.BoolType: ("bool", of(bool)),
    shape.DateType: ("date", _is_date),
    shape.TimeDeltaType: ("timedelta", of(dt.timedelta)),
    shape.UUIDType: ("UUID", of(uuid.UUID)),
    shape.DecimalType: ("Decimal", of(decimal.Decimal)),
    shape.ExtType: ("Ext", of(msgspec.msgpack.Ext)),
    shape.RawType: ("Raw", of(msgspec.Raw)),
}


class _Compiler:
    """Makes the checks of one class; a type that contains itself meets its own check again."""

    def __init__(self) -> None:
        self._known: dict[int, Check] = {}

    def check(self, described: shape.Type) -> Check:
        known = self._known.get(id(described))
        if known is None:
            known = self._made(described)
            self._known[id(described)] = known
        return known

    def _made(self, described: shape.Type) -> Check:  # noqa: C901, PLR0911, PLR0912 - one case for each kind of type
        match described:
            case shape.Metadata():
                return self.check(described.type)
            case shape.IntType():
                return typed("int", is_int, number_rules(described))
            case shape.FloatType():
                return typed("float", is_float, number_rules(described))
            case shape.StrType():
                return typed(
                    "str", of(str), [*length_rules(described, "character"), *pattern_rules(described.pattern)]
                )
            case shape.BytesType() | shape.ByteArrayType() | shape.MemoryViewType():
                cls = _PLAIN_BYTES[type(described)]
                return typed(cls.__name__, of(cls), length_rules(described, "byte"))
            case shape.DateTimeType() | shape.TimeType():
                cls = dt.datetime if isinstance(described, shape.DateTimeType) else dt.time
                return typed(cls.__name__, of(cls), zone_rules(described.tz))
            case shape.LiteralType():
                return literal(described.values)
            case shape.UnionType():
                return union([self.check(member) for member in described.types])
            case shape.ListType():
                # Sequence[int] is described as list[int] too, so any sequence but text and bytes will do.
                return self._items("list", _is_sequence, described, "[{}]")
            case shape.VarTupleType():
                return self._items("tuple", of(tuple), described, "[{}]")
            case shape.SetType():
                return self._items("set", of(AbstractSet), described, "[...]")
            case shape.FrozenSetType():
                return self._items("frozenset", of(frozenset), described, "[...]")
            case shape.TupleType():
                return self._tuple(described)
            case shape.DictType():
                return self._dict(described)
            case shape.TypedDictType():
                return self._typed_dict(described)
            case shape.StructType() | shape.DataclassType() | shape.NamedTupleType():
                return self._object(described)
            case shape.EnumType() | shape.CustomType():
                return instance(described.cls)
            case shape.AnyType():
                return ANYTHING
            case _:
                name, fits = _PLAIN.get(type(described), (None, None))
                return ANYTHING if name is None or fits is None else typed(name, fits)

    def _object(self, described: Any) -> Check:
        parts: list[tuple[str, Callable[[Any], Any], Test, Explain, bool]] = []
        cls: type[Any] = get_origin(described.cls) or described.cls

        def good(value: Any) -> bool:
            for _, get, test, _, required in parts:
                part = get(value)
                # What may be left out may be UNSET; msgspec does not tell where that is declared.
                if not test(part) and (required or part is not msgspec.UNSET):
                    return False
            return True

        def explain(value: Any, path: str, problems: list[ValidationProblem]) -> None:
            for name, get, test, explain_part, required in parts:
                part = get(value)
                if not test(part) and (required or part is not msgspec.UNSET):
                    explain_part(part, f"{path}.{name}" if path else name, problems)

        made = typed(cls.__name__, of(cls), inside=Inside(good, explain))
        # Known before its fields are compiled, because one of them may be of this type again.
        self._known[id(described)] = made
        for field in described.fields:
            check = self.check(field.type)
            if check is not ANYTHING:
                parts.append((field.name, attrgetter(field.name), check.good, check.explain, field.required))
        return made

    def _items(self, name: str, fits: Test, described: shape.CollectionType, where: str) -> Check:
        rules = length_rules(described, "item")
        return typed(name, fits, rules, each(self.check(described.item_type), iter, where))

    def _tuple(self, described: shape.TupleType) -> Check:
        items = [self.check(member) for member in described.item_types]
        count = len(items)
        length = Rule(
            lambda value: len(value) == count, lambda value: f"must have {count} items, has {len(value)}"
        )

        def good(value: Any) -> bool:
            return all(item.good(part) for item, part in zip(items, value, strict=False))

        def explain(value: Any, path: str, problems: list[ValidationProblem]) -> None:
            for index, (item, part) in enumerate(zip(items, value, strict=False)):
                if not item.good(part):
                    item.explain(part, f"{path}[{index}]", problems)

        return typed("tuple", of(tuple), [length], Inside(good, explain))

    def _dict(self, described: shape.DictType) -> Check:
        key, value = self.check(described.key_type), self.check(described.value_type)
        # A key is payload as much as a value: paths tell its position instead.
        inside = both(each(key, iter, ".keys()[{}]"), each(value, _values_of, ".values()[{}]"))
        return typed("dict", _is_mapping, length_rules(described, "item"), inside)

    def _typed_dict(self, described: shape.TypedDictType) -> Check:
        checks = {field.name: (self.check(field.type), field.required) for field in described.fields}

        def good(value: Any) -> bool:
            return all(
                check.good(value[name]) if name in value else not required
                for name, (check, required) in checks.items()
            )

        def explain(value: Any, path: str, problems: list[ValidationProblem]) -> None:
            for name, (check, required) in checks.items():
                where = f"{path}[{name!r}]"
                if name not in value:
                    if required:
                        problems.append(ValidationProblem(where, "is missing"))
                elif not check.good(value[name]):
                    check.explain(value[name], where, problems)

        return typed("dict", _is_mapping, inside=Inside(good, explain))
