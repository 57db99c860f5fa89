"""Finds the defaults in an aggregate's class that all its objects would change together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, get_origin

import msgspec

from catga_core.errors import ConfigurationError
from catga_core.handlers.hints import class_of, with_place


def check_defaults(cls: type[Any], among: tuple[type[Any], ...]) -> None:
    """Refuse an annotated attribute whose default is one object that can change: every aggregate would change that one.

    Args:
        cls: The class that is being made.
        among: The classes whose attributes are looked at.

    Raises:
        ConfigurationError: Naming the attributes, and how to write them.
    """
    shared = [
        f"{name} = {value!r}"
        for each in among
        for name, value in _defaults_of(each).items()
        if _can_change(value)
    ]
    if shared:
        msg = (
            f"{with_place(cls.__name__, cls)} has {', '.join(shared)}, which all its objects would share: make it a "
            "@dataclass with field(default_factory=...), or set it in __init__; "
            "annotate it ClassVar where they are to share it"
        )
        raise ConfigurationError(msg)


def _defaults_of(cls: type[Any]) -> Mapping[str, Any]:
    annotations: Mapping[str, Any] = vars(cls).get("__annotations__", {})
    return {
        name: vars(cls)[name]
        for name, annotation in annotations.items()
        if name in vars(cls) and not _of_the_class(annotation)
    }


def _of_the_class(annotation: Any) -> bool:
    if isinstance(annotation, str):
        # As dataclasses do: what an annotation names need not be there yet.
        return annotation.partition("[")[0].rpartition(".")[2].strip() == "ClassVar"
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def _can_change(value: object) -> bool:
    # What has no hash can change, as dataclasses see it; a Struct has one that only fails.
    if isinstance(value, msgspec.Struct):
        return not value.__struct_config__.frozen
    return class_of(value).__hash__ is None
