"""Find out why a type cannot be encoded and decoded, and in which field."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
import msgspec.inspect as shape

from catga_core.codecs.annotations import unresolved
from catga_core.codecs.findings import Field, TypeProblem
from catga_core.codecs.foreign import foreign_type, is_pydantic
from catga_core.codecs.serializing import FORMATS, decoder_of
from catga_core.descriptions import shown


def problems_of(hint: Any, place: str = "") -> list[TypeProblem]:
    """Return every reason why values of a type cannot be encoded and decoded in both formats.

    Args:
        hint: The type, as `readable` has returned it.
        place: What the type belongs to, for problems of the type itself.
    """
    found = unresolved(hint)
    if found:
        return found
    where = place or _named(hint)
    try:
        for format in FORMATS:
            decoder_of(format, hint)
        described = shape.type_info(hint)
    except Exception as error:  # noqa: BLE001 - msgspec raises many kinds, and runs code of annotations
        return [*dict.fromkeys(_undecodable(hint, where, error, set()))]
    return [*dict.fromkeys(_walk(described, where, set()))]


def _undecodable(hint: Any, place: str | Field, error: Exception, seen: set[Any]) -> Iterator[TypeProblem]:
    """Yield the parts of a type that msgspec refuses; the type itself, where every part is fine."""
    inner: list[tuple[Any, str | Field]] = []
    cls = get_origin(hint) if isinstance(get_origin(hint), type) else hint
    if isinstance(cls, type) and (fields := _fields(cls)):
        if cls in seen:
            return
        seen.add(cls)
        inner = [(each, Field(cls, name)) for name, each in fields.items()]
    elif get_origin(hint) is not Annotated:
        inner = [(each, place) for each in get_args(hint) if each is not ...]
    found = False
    for each, where in inner:
        cause = _refused(each)
        if cause is not None:
            found = True
            yield from _undecodable(each, where, cause, seen)
    if not found:
        yield TypeProblem(str(place), _refusal(hint, error))


def _refused(hint: Any) -> Exception | None:
    try:
        for format in FORMATS:
            decoder_of(format, hint)
    except Exception as error:  # noqa: BLE001 - as above
        return error
    return None


def _fields(cls: type[Any]) -> dict[str, Any]:
    if not (issubclass(cls, msgspec.Struct) or hasattr(cls, "__annotations__")) or is_pydantic(cls):
        return {}
    with contextlib.suppress(Exception):
        names = getattr(cls, "__struct_fields__", None)
        hints = get_type_hints(cls, include_extras=True)
        return hints if names is None else {name: hints[name] for name in names if name in hints}
    return {}


def _refusal(hint: Any, error: Exception) -> str:
    reason = str(error).partition(" - type ")[0].strip()
    text = f"{_named(hint)} cannot be encoded and decoded ({reason})."
    if "union" in reason and "Struct" in reason:
        return f"{text} Give each class of the union a tag: class {{Name}}(msgspec.Struct, tag=True)."
    if "union" in reason:
        return (
            f"{text} Its members look alike in the bytes: keep one of them, or wrap each in a tagged Struct."
        )
    return f"{text} Use a type that msgspec supports, or register it with register_type(...)."


def _walk(described: shape.Type, place: str | Field, seen: set[int]) -> Iterator[TypeProblem]:
    if id(described) in seen:
        return
    seen.add(id(described))
    yield from _own(described, place)
    fields = getattr(described, "fields", None)
    if fields is not None:
        cls: Any = getattr(described, "cls", None)
        for field in fields:
            yield from _walk(field.type, Field(get_origin(cls) or cls, field.name), seen)
    for name in ("type", "item_type", "key_type", "value_type"):
        inner = getattr(described, name, None)
        if isinstance(inner, shape.Type):
            yield from _walk(inner, place, seen)
    for each in (*getattr(described, "types", ()), *getattr(described, "item_types", ())):
        yield from _walk(each, place, seen)


def _own(described: shape.Type, place: str | Field) -> Iterator[TypeProblem]:
    match described:
        case shape.CustomType():
            yield from _custom(described.cls, place)
        case shape.ExtType():
            yield TypeProblem(str(place), "Ext exists in msgpack only. Use bytes, or a Struct with a code.")
        case shape.DictType():
            if not _can_be_key(described.key_type):
                key = type(described.key_type).__name__.removesuffix("Type").lower()
                text = f"the keys of a dict must be texts or numbers in JSON, not {key}. Use a list of pairs."
                yield TypeProblem(str(place), text)
        case _:
            pass


def _custom(cls: Any, place: str | Field) -> Iterator[TypeProblem]:
    if cls is object:
        return
    named = _named(cls)
    if is_pydantic(cls):
        if not cls.__pydantic_complete__:
            try:
                cls.model_rebuild(raise_errors=True)
            except Exception as error:  # noqa: BLE001 - whatever pydantic finds in its annotations
                yield TypeProblem(str(place), f"the pydantic model {named} is not complete: {error}")
        return
    if foreign_type(cls) is None:
        text = (
            f"{named} cannot be encoded and decoded. Make it a msgspec.Struct or a dataclass, or register it with "
            f"register_type({named}, encode=..., decode=...)."
        )
        yield TypeProblem(str(place), text)


def _can_be_key(described: shape.Type) -> bool:
    match described:
        case shape.Metadata():
            return _can_be_key(described.type)
        case shape.UnionType():
            return all(map(_can_be_key, described.types))
        case shape.LiteralType():
            return None not in described.values
        case _:
            return isinstance(described, _KEYS)


_KEYS = (
    shape.AnyType,
    shape.StrType,
    shape.IntType,
    shape.FloatType,
    shape.DecimalType,
    shape.BytesType,
    shape.DateTimeType,
    shape.DateType,
    shape.TimeType,
    shape.TimeDeltaType,
    shape.UUIDType,
    shape.EnumType,
)


def _named(hint: Any) -> str:
    return shown(hint) if hint is not None else "None"
