"""Make annotations readable for msgspec: names of local scopes, and constraints of decimals."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    ForwardRef,
    Generic,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import msgspec

from catga_core.codecs.findings import Field, TypeProblem
from catga_core.descriptions import shown

DECIMAL_BOUNDS = "catga_decimal_bounds"
"""Key of `Meta.extra` under which the constraints of a decimal stay, which msgspec itself refuses."""

_BOUNDS = ("gt", "ge", "lt", "le", "multiple_of")
_NO_NAMES: Mapping[str, Any] = types.MappingProxyType({})


def readable(hint: Any, names: Mapping[str, Any] = _NO_NAMES) -> Any:
    """Return a type as msgspec can read it, and make the classes in it readable as well.

    Annotations that only the names given here can resolve are replaced by what they stand for, and constraints on a
    `Decimal` by ones that msgspec ignores and Catga checks.

    Args:
        hint: The type.
        names: What is in scope besides the modules of the classes.
    """
    return _Reader(names).read(hint)


def unresolved(hint: Any) -> list[TypeProblem]:
    """Return a problem for each annotation that cannot be resolved, in a type and in all classes in it.

    Args:
        hint: The type.
    """
    reader = _Reader(_NO_NAMES)
    reader.read(hint)
    return reader.problems


class _Reader:
    """Walks through a type and all classes in it."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names
        self._seen: set[type[Any]] = set()
        self._aliases: list[Any] = []
        self._place: Field | None = None
        self.problems: list[TypeProblem] = []

    def read(self, hint: Any) -> Any:
        if type(hint).__name__ == "TypeAliasType":
            return self._alias(hint)
        if get_origin(hint) is Annotated:
            return self._annotated(hint)
        arguments = get_args(hint)
        cls: Any = get_origin(hint) if arguments else hint
        if isinstance(cls, type):
            self._class(cls)
        read_all = tuple(self.read(each) if _is_type(each) else each for each in arguments)
        if all(map(_is, read_all, arguments)) and cls not in {Union, types.UnionType}:
            return hint
        if cls in {Union, types.UnionType}:
            if _crashes(read_all):
                self.problems.append(TypeProblem(str(self._place or shown(hint)), _CRASH))
            if all(map(_is, read_all, arguments)):
                return hint
            return Union[read_all]  # noqa: UP007 - the syntax with | takes no tuple
        return _rebuilt(hint, read_all)

    def _annotated(self, hint: Any) -> Any:
        inner, *marks = get_args(hint)
        read = self.read(inner)
        changed = [_mark(read, mark) for mark in marks]
        if read is inner and all(map(_is, changed, marks)):
            return hint
        return Annotated[(read, *changed)]

    def _alias(self, hint: Any) -> Any:
        if hint in self._aliases:
            # It contains itself, and is left to msgspec.
            return hint
        self._aliases.append(hint)
        read = self.read(hint.__value__)
        self._aliases.pop()
        return hint if read is hint.__value__ else read

    def _class(self, cls: type[Any]) -> None:
        if cls in self._seen or not _has_fields(cls):
            return
        self._seen.add(cls)
        for base in _bases(cls):
            # The dict itself, because it is changed.
            own: dict[str, Any] = vars(base).get("__annotations__", {})
            for name, annotation in list(own.items()):
                try:
                    found, by_names = _resolved(base, annotation, self._names)
                except Exception as error:  # noqa: BLE001 - an annotation is code, which may raise anything
                    self.problems.append(_unreadable(base, name, annotation, error))
                    continue
                outer, self._place = self._place, Field(base, name)
                read = self.read(found)
                self._place = outer
                if by_names or read is not found:
                    own[name] = read


_CRASH = (
    "a tuple with a fixed number of items and a constrained type are in one union, with which msgspec crashes the process. "
    "Make the tuple a Struct, or remove the constraint."
)


def _crashes(members: tuple[Any, ...]) -> bool:
    """Tell whether msgspec (0.23) crashes in a garbage collection after it has compiled a union."""
    fixed = any(get_origin(bare) is tuple and ... not in get_args(bare) for bare in map(_bare, members))
    return fixed and any(_is_bounded(each) for each in members)


def _is_bounded(hint: Any) -> bool:
    marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return any(
        isinstance(mark, msgspec.Meta)
        and any(getattr(mark, name) is not None for name in (*_BOUNDS, "min_length", "max_length"))
        for mark in marks
    )


def _has_fields(given: type[Any]) -> bool:
    cls: Any = given
    named = tuple in given.__mro__ and hasattr(cls, "_fields")
    return (
        issubclass(cls, msgspec.Struct)
        or dataclasses.is_dataclass(cls)
        or is_typeddict(cls)
        or named
        or hasattr(cls, "__attrs_attrs__")
    )


def _bases(cls: type[Any]) -> Iterator[type[Any]]:
    for base in cls.__mro__:
        if base not in {object, Generic, msgspec.Struct, dict, tuple}:
            yield base


def _resolved(cls: type[Any], annotation: Any, names: Mapping[str, Any]) -> tuple[Any, bool]:
    """Return what an annotation stands for, and whether only the names that were given say so."""
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    scope = vars(sys.modules.get(cls.__module__, types.SimpleNamespace()))
    own = {**vars(cls), **{each.__name__: each for each in getattr(cls, "__type_params__", ())}}
    holder: Any = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return get_type_hints(holder, scope, own, include_extras=True)["it"], False
    except NameError:
        # The class may name itself, and names of the function that defines it.
        own = {cls.__name__: cls, **names}
        return get_type_hints(holder, scope, own, include_extras=True)["it"], True


def _unreadable(cls: type[Any], name: str, annotation: Any, error: Exception) -> TypeProblem:
    place = str(Field(cls, name))
    written = annotation if isinstance(annotation, str) else shown(annotation)
    if isinstance(error, NameError):
        text = (
            f"its annotation {written!r} cannot be resolved ({error}), so it could be neither encoded nor decoded. Import "
            "or define the type in its module, outside of `if TYPE_CHECKING:`."
        )
    else:
        text = f"its annotation {written!r} cannot be resolved ({type(error).__name__}: {error}). Write a valid type."
    return TypeProblem(place, text)


def _mark(inner: Any, mark: Any) -> Any:
    if not isinstance(mark, msgspec.Meta) or not any(getattr(mark, name) is not None for name in _BOUNDS):
        return mark
    members = [_bare(each) for each in _members(inner)]
    if Decimal not in members:
        return mark
    extra = {**(mark.extra or {}), DECIMAL_BOUNDS: mark}
    kept = {name: getattr(mark, name) for name in _KEPT if getattr(mark, name) is not None}
    return msgspec.Meta(**kept, extra=extra)


_KEPT = (
    "pattern",
    "min_length",
    "max_length",
    "tz",
    "title",
    "description",
    "examples",
    "extra_json_schema",
)


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _rebuilt(hint: Any, arguments: tuple[Any, ...]) -> Any:
    if hasattr(hint, "copy_with"):
        return hint.copy_with(arguments)
    origin: Any = get_origin(hint)
    return origin[arguments]


def _is_type(argument: Any) -> bool:
    return not isinstance(argument, list | str | int | bool) and argument is not ... and argument is not None


def _is(first: Any, second: Any) -> bool:
    return first is second
