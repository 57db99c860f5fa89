"""Fingerprints of one message class, compiled once: most messages are encoded as they are.

The text is the one that `fingerprint` gives. What differs is the way to the canonical form: `fingerprint` looks at every value, this
decides by the declared types which values have to be looked at. It is therefore for values that their exact encoder has accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import inspect

from catga_core.messages.fingerprints import DIGEST_BYTES, canonical, fingerprint, is_default
from catga_core.messages.types import MessageType

_Reduce: TypeAlias = Callable[[Any], Any]

# Fields of structs in one order as well: those without defaults need not become dictionaries.
_encode = msgspec.msgpack.Encoder(order="sorted").encode
_AS_THEY_ARE: Final = (
    inspect.StrType,
    inspect.IntType,
    inspect.BoolType,
    inspect.BytesType,
    inspect.NoneType,
    inspect.DecimalType,
    inspect.UUIDType,
    inspect.DateType,
    inspect.DateTimeType,
    inspect.TimeType,
    inspect.TimeDeltaType,
    inspect.LiteralType,
)
_ABSENT: Final = object()


def fingerprinter(
    described: MessageType, fallback: Callable[[object], bytes] | None
) -> Callable[[object], str]:
    """Return a function that fingerprints the messages of one class, as `fingerprint` does.

    Ask once for each class and keep it. The function takes messages that the class's exact encoder has accepted, so that each
    field's value is of its declared type.

    Args:
        described: The class's type.
        fallback: Encodes what msgspec cannot: the container's serializer.
    """
    begin = f"{described.name}@{described.version}#"
    try:
        reduce = _reducer(inspect.type_info(described.cls), ())
    except Exception:  # noqa: BLE001 - msgspec does not know an annotation; each value is looked at then
        reduce = canonical

    def of(message: object) -> str:
        try:
            data = _encode(message if reduce is None else reduce(message))
        except Exception:  # noqa: BLE001 - a foreign type, or foreign code that fails: it is told apart there
            return fingerprint(described, message, fallback)
        return begin + blake2b(data, digest_size=DIGEST_BYTES).hexdigest()

    return of


def _reducer(type_: inspect.Type, outer: tuple[type[Any], ...]) -> _Reduce | None:  # noqa: PLR0911, RUF100 - as `canonical`
    """Return what makes the canonical form of a type's values, `None` where each is its own.

    Args:
        type_: The type.
        outer: The structs around it; one that holds itself is reduced value by value.
    """
    if isinstance(type_, _AS_THEY_ARE):
        return None
    if isinstance(type_, inspect.Metadata):
        return _reducer(type_.type, outer)
    if isinstance(type_, inspect.EnumType):
        return None if all(each.value.__class__ in {str, int} for each in type_.cls) else canonical
    if isinstance(type_, inspect.ListType | inspect.VarTupleType):
        return _each(_reducer(type_.item_type, outer))
    if isinstance(type_, inspect.DictType):
        return _values(_reducer(type_.value_type, outer))
    if isinstance(type_, inspect.UnionType):
        return _optional(
            [_reducer(each, outer) for each in type_.types if not isinstance(each, inspect.NoneType)]
        )
    if isinstance(type_, inspect.StructType) and type_.cls not in outer:
        return _struct(type_, (*outer, type_.cls))
    return canonical


def _each(reduce: _Reduce | None) -> _Reduce | None:
    return None if reduce is None else lambda values: [reduce(each) for each in values]


def _values(reduce: _Reduce | None) -> _Reduce | None:
    return None if reduce is None else lambda values: {key: reduce(each) for key, each in values.items()}


def _optional(reducers: list[_Reduce | None]) -> _Reduce | None:
    if not any(reducers):
        return None
    reduce = reducers[0]
    if len(reducers) > 1 or reduce is None:
        return canonical
    return lambda value: None if value is None else reduce(value)


def _struct(type_: inspect.StructType, outer: tuple[type[Any], ...]) -> _Reduce | None:
    known = [
        (
            each.name,
            each.encode_name,
            each.required,
            each.default,
            None if each.default_factory is msgspec.NODEFAULT else each.default_factory,
            _reducer(each.type, outer),
        )
        for each in type_.fields
    ]
    tag = type_.cls.__struct_config__.tag
    if tag is None and not type_.array_like and all(each[2] and each[5] is None for each in known):
        return None

    def reduce(value: Any) -> Any:
        content: dict[str, Any] = {}
        for attribute, name, required, default, factory, of_field in known:
            found = getattr(value, attribute, _ABSENT)
            if found is _ABSENT or found is msgspec.UNSET:
                continue
            if not required and is_default(found, default, factory):
                continue
            content[name] = found if of_field is None else of_field(found)
        return content if tag is None else [tag, content]

    return reduce
