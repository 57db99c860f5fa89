"""Describe types and where they are defined, for error texts."""

from __future__ import annotations

import inspect
import sys
import types
from typing import Any, Union, get_args, get_origin


def class_of(thing: object) -> type[Any]:
    """Return what a thing is made of; for a type checker, whatever it has learned of the thing before."""
    return type(thing)


def place_of(thing: Any) -> str:
    """Return `file.py:12` for a class, function or method, as short as still helps; empty where there is none."""
    subject: Any = inspect.unwrap(thing) if callable(thing) else thing
    if isinstance(subject, type):
        return _place_of_class(subject)
    code = getattr(getattr(subject, "__func__", subject), "__code__", None)
    if code is None:
        return _place_of_class(class_of(thing))
    return f"{_file_name(code.co_filename)}:{code.co_firstlineno}"


def _file_name(path: str) -> str:
    # Imported here: it is only asked for where something is wrong.
    from pathlib import Path

    return Path(path).name


def _place_of_class(cls: type[Any]) -> str:
    try:
        lines, first = inspect.getsourcelines(cls)
        file = inspect.getsourcefile(cls)
    except Exception:  # noqa: BLE001 - whatever keeps the source from being read must not hide the mistake itself
        return _place_of_method(cls)
    return f"{_file_name(file)}:{first}" if file and lines else ""


def _place_of_method(cls: type[Any]) -> str:
    codes = [each.__code__ for each in vars(cls).values() if inspect.isfunction(each)]
    first = min(codes, key=lambda code: code.co_firstlineno, default=None)
    if first is None:
        file = getattr(sys.modules.get(cls.__module__), "__file__", None)
        return _file_name(file) if file else ""
    return f"{_file_name(first.co_filename)}:{first.co_firstlineno}"


def shown(type_: Any) -> str:
    """Return a type as a person would write it."""
    if type_ is type(None):
        return "None"
    if isinstance(type_, type) and not getattr(type_, "__args__", ()):
        return type_.__name__
    origin, arguments = get_origin(type_), get_args(type_)
    if origin in {Union, types.UnionType}:
        return " | ".join(shown(each) for each in arguments)
    if isinstance(origin, type) and arguments and not any(isinstance(each, list) for each in arguments):
        return f"{origin.__name__}[{', '.join('...' if each is ... else shown(each) for each in arguments)}]"
    return str(type_).replace("typing.", "").replace("collections.abc.", "")


def with_place(name: str, thing: Any) -> str:
    """Return `Name (file.py:12)`, or only the name without a source."""
    place = place_of(thing)
    return f"{name} ({place})" if place else name


def with_module(thing: Any) -> str:
    """Return `module.Name (file.py:12)` for a class or function; it distinguishes two of one name."""
    name = getattr(thing, "__qualname__", None) or str(thing)
    module = getattr(thing, "__module__", None)
    return with_place(f"{module}.{name}" if module else name, thing)


def is_marker(value: object) -> bool:
    """Return whether a value is a marker of dependency-injector, such as `Provide["mediator"]`."""
    return getattr(type(value), "__IS_MARKER__", False) is True


def not_injected(error: BaseException) -> str | None:
    """Return how to fix an attribute error of a `Provide[...]` that nothing was injected for, `None` for any other error.

    Args:
        error: The error.
    """
    if not isinstance(error, AttributeError) or not is_marker(error.obj):
        return None
    return (
        f"{error.obj!r} was not injected. Call catga.wire(modules=[...]) with the module of the function that has it as a "
        "default, before the function is called."
    )
