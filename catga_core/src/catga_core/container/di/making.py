"""How one thing is made: the compiled call, and the openers of what lives as long as a message."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from catga_core.container.di.registration import Parameter, Registration, SourceKind
from catga_core.handlers.hints import shown
from catga_core.messages.context import active_context
from catga_core.messages.message_context import MessageContext
from catga_core.pipeline.supply import Make, Prepare, Supply
from catga_core.runtime.scope import (
    Closer,
    Scope,
    closer_of_async_generator,
    closer_of_generator,
    closer_of_object,
    first_of,
    first_of_async,
)


def note_making(error: Exception, registration: Registration) -> None:
    """Say on an error what was being made.

    Args:
        error: What making it raised.
        registration: How it is made.
    """
    error.add_note(f"while making {registration.described}")


def quick_opener(registration: Registration, make: Make) -> Make:
    """Return the opener of a class that needs no closing, which is known without an object of it."""
    service = registration.service

    def opened(scope: Scope | None) -> Any:
        instances = _opened(scope) if scope is None else scope.instances
        if service in instances:
            return instances[service]
        try:
            made = instances[service] = make(scope)
        except Exception as error:
            note_making(error, registration)
            raise
        return made

    return opened


def prepared(service: Any) -> Make:
    """Return what finds a scoped service that was awaited before the message's handler was made."""

    def opened(scope: Scope | None) -> Any:
        try:
            return _opened(scope)[service]
        except KeyError:
            msg = (
                f"{shown(service)} is created by an async factory and was not created for this message. "
                "Inject it into the constructor of the handler or of a behavior."
            )
            raise LookupError(msg) from None

    return opened


def sync_opener(registration: Registration, make: Make, is_kept: Callable[[Any], bool]) -> Make:
    """Return the opener of what is made without waiting and may have to be closed."""
    service, kind = registration.service, registration.kind

    def opened(scope: Scope | None) -> Any:
        instances = _opened(scope)
        try:
            return instances[service]
        except KeyError:
            pass
        try:
            made, closer = begun(make(scope))
        except Exception as error:
            note_making(error, registration)
            raise
        if closer is not None and (
            kind in {SourceKind.CLASS, SourceKind.GENERATOR} or not _is_shared(made, instances, is_kept)
        ):
            scope.closers.append(closer)  # type: ignore[union-attr]
        instances[service] = made
        return made

    def begun(made: Any) -> tuple[Any, Closer | None]:
        if kind is SourceKind.GENERATOR:
            return first_of(made), closer_of_generator(made)
        return made, None if kind is SourceKind.PROVIDER else closer_of_object(made)

    return opened


def async_opener(registration: Registration, make: Make, is_kept: Callable[[Any], bool]) -> Prepare:
    """Return what awaits a scoped service before the message's handler is made."""
    service, kind = registration.service, registration.kind

    async def opened(scope: Scope) -> None:
        closer: Closer | None
        try:
            made = make(scope)
            if kind is SourceKind.ASYNC_GENERATOR:
                closer = closer_of_async_generator(made)
                made = await first_of_async(made)
            else:
                made = await made
                closer = None if _is_shared(made, scope.instances, is_kept) else closer_of_object(made)
        except Exception as error:
            note_making(error, registration)
            raise
        if closer is not None:
            scope.closers.append(closer)
        scope.instances[service] = made

    return opened


def compile_call(
    registration: Registration, held: Sequence[tuple[Parameter, Supply | None]], attribute: str = ""
) -> Make:
    """Return `lambda scope: source(...)` with each constant in place, at half the cost of building arguments."""
    names: dict[str, Any] = {"source": registration.source}
    parts: list[str] = []
    # Giving by position is the cheaper call; it ends at the first gap, and where a handler's message comes first.
    by_name = bool(registration.skip)
    for number, (parameter, supply) in enumerate(held):
        if supply is None:
            by_name = True
            continue
        if supply.constant:
            names[f"given{number}"] = supply.make(None)
            part = f"given{number}"
        else:
            names[f"make{number}"] = supply.make
            part = f"make{number}(scope)"
        by_name = by_name or parameter.keyword
        parts.append(f"{parameter.name}={part}" if by_name else part)
    call = f"source({', '.join(parts)}){attribute}"
    if registration.skip:
        # A function handler: what is made is a call that waits for its message.
        call = f"lambda message: source({', '.join(['message', *parts])})"
    # Only parameter names, which are Python identifiers, are put into the source.
    return eval(f"lambda scope: {call}", names)  # type: ignore[no-any-return]  # noqa: S307


def context_of(_scope: Scope | None) -> MessageContext:
    """Return the context of the message that is being handled."""
    context = active_context.get()
    if context is None:
        msg = "A MessageContext exists only while a message is handled. Request it in a handler or behavior."
        raise LookupError(msg)
    return context


def _is_shared(made: Any, instances: Mapping[Any, Any], is_kept: Callable[[Any], bool]) -> bool:
    """Tell whether a factory has given out an object that another service owns, and so closes."""
    return any(made is known for known in instances.values()) or is_kept(made)


def _opened(scope: Scope | None) -> dict[Any, Any]:
    if scope is None:
        msg = "A scoped service exists only while a message is handled. Request it in a handler or behavior."
        raise LookupError(msg)
    return scope.instances
