"""What msgspec knows of a message class: its types, and whether any of them declares a constraint."""

from __future__ import annotations

import sys
from inspect import get_annotations
from types import SimpleNamespace, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
import msgspec.inspect as shape

CONSTRAINTS = ("ge", "gt", "le", "lt", "multiple_of", "pattern", "min_length", "max_length", "tz")
_UNREADABLE = (TypeError, ValueError, NameError, AttributeError)


def has_constraints(cls: type[Any]) -> bool:
    """Tell whether a Struct class, or anything nested in it, declares a `msgspec.Meta` constraint.

    Args:
        cls: The class; fields whose annotation cannot be resolved are taken to declare none.
    """
    return _constrained(shape_of(cls), set())


def shape_of(cls: type[Any]) -> shape.Type:
    """Return msgspec's description of a class, also of one that msgspec could not decode.

    A field that msgspec refuses (a union of two plain classes, say) is described as far as `isinstance` can tell;
    one whose annotation cannot be resolved as `Any`. Such a message can still be handled in its own process.

    Args:
        cls: A Struct class.
    """
    return _described(cls, {})


def _described(hint: Any, known: dict[Any, shape.Type]) -> shape.Type:
    try:
        return shape.type_info(hint)
    except _UNREADABLE:
        pass
    origin: Any = get_origin(hint)
    if origin is Annotated:
        return _described(get_args(hint)[0], known)
    if origin is Union or origin is UnionType:
        return shape.UnionType(tuple(_described(each, known) for each in get_args(hint)))
    cls: Any = origin or hint
    if not isinstance(cls, type):
        return shape.AnyType()
    return _class_shape(cls, known)


def _class_shape(cls: type[Any], known: dict[Any, shape.Type]) -> shape.Type:
    if not issubclass(cls, msgspec.Struct):
        return shape.CustomType(cls)
    if cls not in known:
        known[cls] = made = shape.StructType(cls, ())
        hints = _hints(cls)
        defaults = cls.__struct_defaults__
        required = len(cls.__struct_fields__) - len(defaults)
        made.fields = tuple(
            shape.Field(name, name, _described(hints.get(name, Any), known), required=position < required)
            for position, name in enumerate(cls.__struct_fields__)
        )
    return known[cls]


def _hints(cls: type[Any]) -> dict[str, Any]:
    try:
        return get_type_hints(cls, include_extras=True)
    except _UNREADABLE:
        pass
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        names = vars(sys.modules.get(base.__module__, SimpleNamespace()))
        for name, annotation in get_annotations(base).items():
            try:
                alone: Any = SimpleNamespace(__annotations__={name: annotation})
                found.update(get_type_hints(alone, names, dict(vars(base)), include_extras=True))
            except _UNREADABLE:
                found[name] = Any
    return found


def _constrained(described: Any, seen: set[int]) -> bool:
    if id(described) in seen:
        return False
    seen.add(id(described))
    if any(getattr(described, name, None) is not None for name in CONSTRAINTS):
        return True
    inner: list[Any] = [*getattr(described, "types", ()), *getattr(described, "item_types", ())]
    inner += [getattr(described, name, None) for name in ("type", "item_type", "key_type", "value_type")]
    inner += [field.type for field in getattr(described, "fields", ())]
    return any(isinstance(each, shape.Type) and _constrained(each, seen) for each in inner)
