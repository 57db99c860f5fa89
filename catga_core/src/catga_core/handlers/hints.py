"""Reads annotations, also those of classes that were made inside a function."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any, get_type_hints

from catga_core.descriptions import class_of, place_of, shown, with_place

__all__ = [
    "caller_locals",
    "caller_place",
    "class_of",
    "hints_of",
    "is_ours",
    "place_of",
    "shown",
    "snake_case",
    "with_place",
]

_OURS = frozenset({"catga_core", "catga_nats", "catga_redis", "catga_sqlite", "catga_testing"})


def caller_locals() -> Mapping[str, Any]:
    """Return the local names of the nearest caller outside of Catga.

    A class that is defined in a test function can only be found there when its module uses postponed annotations.
    """
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to the caller
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("catga_core."):
        frame = frame.f_back
    return dict(frame.f_locals)


def caller_place() -> str:
    """Return `file.py:12` for the line of the application that called Catga, empty where there is none."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to the caller
    while frame is not None and is_ours(frame.f_globals.get("__name__")):
        frame = frame.f_back
    return "" if frame is None else f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"  # noqa: PTH119


def is_ours(module: object) -> bool:
    """Return whether a module is one of Catga's own distributions.

    Args:
        module: Its name.
    """
    return isinstance(module, str) and module.partition(".")[0] in _OURS


def hints_of(function: Callable[..., Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """Return a function's annotations as types.

    Args:
        function: A function or method.
        names: What else is in sight, such as the registering function's locals.

    Raises:
        NameError: When an annotation names something that cannot be found.
    """
    plain = inspect.unwrap(function)
    try:
        return get_type_hints(plain)
    except NameError:
        return get_type_hints(plain, localns={**names, **_closure_of(plain)})


def _closure_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the names that a function closes over, without those that have no value yet."""
    found: dict[str, Any] = {}
    if inspect.isfunction(function):
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with suppress(ValueError):
                found[name] = cell.cell_contents
    return found


_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake_case(name: str) -> str:
    """Return a class's name as that of an object: `OrderRepository` is `order_repository`."""
    return _WORDS.sub("_", name).lower()
