"""Checks at start that each `Provide[...]` of a registered class or function is injected."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_origin

from catga_core.container.di.registration import Registration, SourceKind
from catga_core.descriptions import class_of, is_marker, with_place
from catga_core.handlers.hints import is_ours


def not_wired(registrations: Iterable[Registration], is_registered: Callable[[Any], bool]) -> list[str]:
    """Return a text for each parameter with a `Provide[...]` that neither the container nor `wire` injects.

    The container injects into constructors and functions by the parameter's type. Methods are injected by
    dependency-injector only, once `wire` has been called with their module.

    Args:
        registrations: The services, handlers, behaviors, validators and consumers.
        is_registered: Whether a type is a registered service.
    """
    problems: dict[str, None] = {}
    for each in registrations:
        if each.kind is SourceKind.PROVIDER or each.is_ours:
            continue
        by_type = {parameter.name for parameter in each.parameters if is_registered(parameter.service)}
        target: Any = class_of(each.source) if each.kind is SourceKind.INSTANCE else each.source
        for name, function in _functions(get_origin(target) or target):
            given = by_type if name in {"", "__init__"} else ()
            for parameter in _not_injected(function):
                if parameter.name not in given:
                    problems[_text(target, name, parameter)] = None
    return list(problems)


def _functions(target: Any) -> Iterator[tuple[str, Any]]:
    """Yield the methods of a class with their names, or a function with an empty name."""
    if not isinstance(target, type):
        if inspect.isfunction(target):
            yield "", target
        return
    seen: set[str] = set()
    for base in target.__mro__:
        if is_ours(base.__module__):
            continue
        for name, member in vars(base).items():
            function = getattr(member, "__func__", member)
            if inspect.isfunction(function) and name not in seen:
                seen.add(name)
                yield name, function


def _not_injected(function: Any) -> Iterator[inspect.Parameter]:
    plain: Any = inspect.unwrap(function)
    defaults: list[Any] = [*(plain.__defaults__ or ()), *(plain.__kwdefaults__ or {}).values()]
    if not any(is_marker(each) for each in defaults):
        return
    injected = _injected(function)
    for parameter in inspect.signature(plain).parameters.values():
        if is_marker(parameter.default) and parameter.name not in injected:
            yield parameter


def _injected(function: Any) -> set[str]:
    """Return the names of the parameters that dependency-injector fills in; it offers no public way to ask."""
    from dependency_injector import wiring

    registry: Any = getattr(wiring, "_patched_registry", None)
    names: set[str] = set()
    while registry is not None and function is not None:
        patched = registry.get_callable(function)
        names.update(() if patched is None else patched.injections)
        function = getattr(function, "__wrapped__", None)
    return names


def _text(target: Any, name: str, parameter: inspect.Parameter) -> str:
    owner = str(getattr(target, "__qualname__", target)).rsplit("<locals>.", maxsplit=1)[-1]
    place = f" in {name}" if name else ""
    instead = (
        "Take the service in the constructor" if name not in {"", "__init__"} else "Register the service"
    )
    return (
        f"{with_place(owner, target)} has {parameter.name}={parameter.default!r}{place}, and its module is not wired. "
        f"{instead}, or call catga.wire(modules=[{target.__module__}])."
    )
