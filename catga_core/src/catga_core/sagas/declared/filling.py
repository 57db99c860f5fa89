"""Fills the fields of messages from the fields of other objects, by their names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from catga_core.descriptions import class_of


@lru_cache(maxsize=1024)
def fields_of(cls: Any) -> tuple[str, ...]:
    """Return the names of a class's fields; empty for one that has none, such as `str`."""
    given: object = cls
    if not isinstance(given, type):
        return ()
    if issubclass(given, msgspec.Struct):
        return given.__struct_fields__
    if dataclasses.is_dataclass(cls):
        return tuple(each.name for each in dataclasses.fields(cls))
    # Pydantic's models, and named tuples.
    named: Any = getattr(cls, "model_fields", None) or getattr(cls, "_fields", ())
    return tuple(named)


def filled(cls: type[Any]) -> Callable[..., Any]:
    """Return a function that fills a message class from other objects' fields.

    Args:
        cls: The message class. Of several objects with a field, the first one is used.
    """
    made: Any = cls
    names = fields_of(made)

    def make(*sources: Any) -> Any:
        found: dict[str, Any] = {}
        for source in reversed(sources):
            kind: Any = class_of(source)
            known = fields_of(kind)
            found.update((name, getattr(source, name)) for name in names if name in known)
        return cls(**found)

    return make


def unfilled(cls: type[Any], sources: Sequence[Any]) -> list[str]:
    """Return the required fields of a message class that no source has.

    Args:
        cls: The message class.
        sources: Classes of the objects that it is filled from.
    """
    known = {name for source in sources for name in fields_of(source)}
    return [each.name for each in msgspec.structs.fields(cls) if each.required and each.name not in known]
