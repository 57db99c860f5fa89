"""Checks a composition before it starts: what is missing, goes in circles, or would outlive what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_origin

from catga_core.container.di.registration import Lifetime, Parameter, Registration, SourceKind, how_registered
from catga_core.container.di.resolver import Resolver
from catga_core.handlers.hints import shown
from catga_core.messages.message_context import MessageContext

_BUILTIN = (str, int, float, bool, bytes, dict, list, tuple, set)


def check_graph(resolver: Resolver, roots: Sequence[Registration]) -> list[str]:
    """Return every mistake in the graph, each naming the thing, the cause and the fix.

    Args:
        resolver: Knows how each service is made now.
        roots: The registrations to start from: services, handlers, behaviors.
    """
    problems: dict[str, None] = {}
    cyclic = _cycles(resolver, roots, problems)
    for root in roots:
        for parameter in _missing(resolver, root):
            problems[_missing_text(root, parameter)] = None
    if not cyclic:
        for root in roots:
            if root.lifetime is Lifetime.SINGLETON:
                path = _way_to_scoped(resolver, root)
                if path is not None:
                    problems[_captive_text(root, path)] = None
    return list(problems)


def _missing(resolver: Resolver, registration: Registration) -> Iterator[Parameter]:
    for parameter in registration.parameters:
        absent = resolver.effective(parameter.service) is None and parameter.service is not MessageContext
        if absent and not parameter.optional:
            yield parameter


def _missing_text(registration: Registration, parameter: Parameter) -> str:
    needed = shown(parameter.service)
    place = f", {registration.place}" if registration.place else ""
    if (get_origin(parameter.service) or parameter.service) in _BUILTIN:
        fix = (
            f"A plain {needed} is not a service: wrap it in a settings class, or register {registration.name} "
            "with a factory that passes it"
        )
    else:
        fix = how_registered(parameter.service)
    return f"{registration.name} needs {needed} (parameter {parameter.name!r}{place}), which is not registered. {fix}."


def _cycles(resolver: Resolver, roots: Sequence[Registration], problems: dict[str, None]) -> bool:
    done: set[Any] = set()
    found = False

    def visit(service: Any, registration: Registration, path: list[tuple[Any, str]]) -> None:
        nonlocal found
        services = [step for step, _ in path]
        if service in services:
            ring = [name for _, name in path[services.index(service) :]]
            # One ring is one mistake, wherever the search came upon it.
            turn = ring.index(min(ring))
            ring = ring[turn:] + ring[:turn]
            problems[_cycle_text(ring)] = None
            found = True
            return
        if service in done:
            return
        for parameter, needed in resolver.needs(registration):
            visit(parameter.service, needed, [*path, (service, registration.name)])
        done.add(service)

    for root in roots:
        visit(root.service, root, [])
    return found


def _cycle_text(ring: Sequence[str]) -> str:
    drawn = " -> ".join([*ring, ring[0]])
    return (
        f"{ring[0]} needs itself: {drawn}. Break the cycle: replace one constructor parameter with a "
        "method argument or a message."
    )


def _way_to_scoped(resolver: Resolver, registration: Registration) -> list[Registration | None] | None:
    for parameter in registration.parameters:
        if parameter.service is MessageContext:
            return [None]
        needed = resolver.effective(parameter.service)
        if needed is None or needed.lifetime is Lifetime.SINGLETON:
            # A singleton on the way is a separate mistake and is reported separately.
            continue
        if needed.lifetime is Lifetime.SCOPED:
            return [needed]
        path = _way_to_scoped(resolver, needed)
        if path is not None:
            return [needed, *path]
    return None


def _captive_text(registration: Registration, path: Sequence[Registration | None]) -> str:
    names = ["MessageContext" if step is None else _named(step) for step in path]
    held = "MessageContext" if path[-1] is None else path[-1].name
    through = f" through {', '.join(names[:-1])}" if len(names) > 1 else ""
    if registration.is_ours:
        scoped = "" if path[-1] is None else shown(path[-1].service)
        fix = f"Register {scoped} with add_singleton({scoped}, ...)."
    else:
        where = "constructor" if registration.kind is SourceKind.CLASS else "factory"
        fix = f"Register it with add_scoped({shown(registration.service)}, ...), or remove {held} from its {where}."
    return (
        f"{_named(registration)} is a singleton and depends on {names[-1]}, which is scoped{through}: it would keep one "
        f"message's {held}. {fix}"
    )


def _named(registration: Registration) -> str:
    # A class is found by its name; of a factory the service's name says nothing.
    return registration.name if registration.kind is SourceKind.CLASS else registration.described
