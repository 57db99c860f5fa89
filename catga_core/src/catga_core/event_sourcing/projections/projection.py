"""`Projection`: the base class of projections, which build read models from events."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from catga_core.errors import ConfigurationError
from catga_core.event_sourcing.consumers import check_consumer_name, current_stored_event
from catga_core.event_sourcing.methods import ByEvent, EventMethod, by_event, event_methods, marked
from catga_core.handlers.hints import with_place
from catga_core.messages import Event
from catga_core.pipeline import Call

F = TypeVar("F", bound=Callable[..., Any])


def project(method: F) -> F:
    """Mark a projection's method as the handler of events.

    Args:
        method: `(self, event)` or `(self, event, stored: StoredEvent)`, asynchronous or not. The event's annotation tells
            for which events: a class, several (`A | B`), a base class, or `Event` for all; the nearest one is called.
    """
    return marked(method, "project")


class Projection:
    """Builds a read model from events: a table, a document, a sum.

    Derive from it, mark methods with `@project`, take services in the constructor, and add it with `add_projection`:
    `class Balances(Projection, name="balances", version=1)`. Checkpoints are kept under the name. Raise the version when the
    same events are to give another read model: the new version is built beside the old one.
    """

    projection_name: ClassVar[str] = ""
    projection_version: ClassVar[int] = 1
    projection_methods: ClassVar[ByEvent[EventMethod]]

    def __init_subclass__(cls, *, name: str | None = None, version: int = 1, **options: Any) -> None:
        super().__init_subclass__(**options)
        chosen = cls.__name__ if name is None else name
        check_consumer_name(chosen, "projection")
        number: object = version
        if type(number) is not int or number < 1:
            msg = (
                f"{with_place(cls.__name__, cls)} has version={version!r}: versions are whole numbers from 1"
            )
            raise ConfigurationError(msg)
        cls.projection_name = chosen
        cls.projection_version = version
        methods = event_methods(cls, "project", stored=True, asynchronous=True)
        cls.projection_methods = by_event(cls, "project", methods)

    async def reset(self) -> None:
        """Empty the current target, and create it if it does not exist: called before its first event.

        `current_projection().target` names it. For a `CATCH_UP` or `INLINE` projection it is called once for each target, in
        the unit of work of its first checkpoint. For a `LIVE` or `IN_MEMORY` one it is called at each start of the container,
        in each process, before the start returns. A projection that does not override `reset` cannot be rebuilt.
        """

    async def remove(self) -> None:
        """Remove the current target, which is no longer read: called in the unit of work of the switch."""


def events_of_projection(cls: type[Projection]) -> tuple[type[Event], ...]:
    """Return the event classes that a projection handles."""
    return tuple(cls.projection_methods.declared)


def can_rebuild(cls: type[Projection]) -> bool:
    """Return whether a projection can empty its target."""
    return cls.reset is not Projection.reset


def call_of(projection: Projection) -> Call:
    """Return what is called with an event: it calls the method for the event's class.

    Args:
        projection: A projection.
    """
    methods = type(projection).projection_methods

    async def call(event: Event) -> object:
        method = methods[type(event)]
        if method is None:
            return None
        arguments = (event, current_stored_event()) if method.takes_stored else (event,)
        returned: object = method.function(projection, *arguments)
        return await returned if inspect.isawaitable(returned) else returned

    return call
