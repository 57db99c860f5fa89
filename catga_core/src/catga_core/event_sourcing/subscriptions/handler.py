"""`SubscriptionHandler`: a function, or a class with `handle`, checked when the subscription is added."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from catga_core.descriptions import is_marker
from catga_core.errors import ConfigurationError
from catga_core.event_sourcing.consumers.delivery import current_stored_event
from catga_core.event_sourcing.methods import events_of
from catga_core.handlers.hints import hints_of, with_place
from catga_core.interfaces.event_store import StoredEvent
from catga_core.messages import Event
from catga_core.pipeline import Call


class SubscriptionHandler(msgspec.Struct, frozen=True):
    """The handler of a subscription.

    Args:
        target: The class or function.
        events: The event classes it takes.
        takes_stored: Whether it takes the `StoredEvent` after the event.
        needs: For a function, the services it takes after that, by parameter name.
    """

    target: Any
    events: tuple[type[Event], ...]
    takes_stored: bool
    needs: Mapping[str, Any]

    @property
    def is_class(self) -> bool:
        """Whether the container makes an object of it."""
        return isinstance(self.target, type)

    def call_of(self, handler: Any) -> Call:
        """Return what is called with an event, for a class.

        Args:
            handler: An object of the class, or of what overrides it.
        """
        return self._call(handler.handle)

    @property
    def call(self) -> Callable[..., Awaitable[Any]]:
        """What is called with an event and the services by name, for a function."""
        return self._call(self.target)

    def _call(self, function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        takes_stored = self.takes_stored

        async def call(event: Any, **services: Any) -> Any:
            if takes_stored:
                returned = function(event, current_stored_event(), **services)
            else:
                returned = function(event, **services)
            return await returned if inspect.isawaitable(returned) else returned

        return call


def handler_of(target: Any, names: Mapping[str, Any]) -> SubscriptionHandler:
    """Describe a handler.

    Args:
        target: A class with a `handle` method, or a function.
        names: The names in scope where it is added.

    Raises:
        ConfigurationError: It cannot be a handler; the error says why and how to fix it.
    """
    is_class = isinstance(target, type)
    function: Any = getattr(target, "handle", None) if is_class else target
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        fix = "give it async def handle(self, event: YourEvent)" if is_class else "give a function or a class"
        msg = f"{getattr(target, '__name__', repr(target))} cannot handle the events of a subscription: {fix}"
        raise ConfigurationError(msg)
    named = with_place(str(target.__qualname__).rsplit("<locals>.", maxsplit=1)[-1], target)
    try:
        hints = hints_of(function, names)
    except NameError as cause:
        msg = f"{named} has an annotation that cannot be resolved ({cause}): define the event before it is added"
        raise ConfigurationError(msg) from None
    parameters = list(inspect.signature(function).parameters.values())[1 if is_class else 0 :]
    if not parameters:
        msg = f"{named} takes no event: its first parameter is the event"
        raise ConfigurationError(msg)
    events = events_of(hints.get(parameters[0].name), named, parameters[0].name)
    rest = parameters[1:]
    takes_stored = bool(rest) and hints.get(rest[0].name) is StoredEvent
    return SubscriptionHandler(
        target, events, takes_stored, _needs(rest[takes_stored:], hints, named, is_class=is_class)
    )


def _needs(
    parameters: list[inspect.Parameter], hints: Mapping[str, Any], named: str, *, is_class: bool
) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for parameter in parameters:
        service = hints.get(parameter.name)
        # A function gets its services by type, what `Provide[...]` stands for included; methods are wired.
        by_type = not is_class and is_marker(parameter.default) and service is not None
        if parameter.default is not parameter.empty and not by_type:
            continue
        if is_class or service is None or parameter.kind is parameter.POSITIONAL_ONLY:
            wanted = (
                "take it in the constructor"
                if is_class
                else "annotate it with a service's type, and allow it to be passed by name"
            )
            msg = f"{named} takes {parameter.name!r}, which is not provided: {wanted}"
            raise ConfigurationError(msg)
        if parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            found[parameter.name] = service
    return found
