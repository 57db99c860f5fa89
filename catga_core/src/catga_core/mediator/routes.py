"""What the mediator asks its container for: the pipelines of a message type, and the way out of the process."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from catga_core.clock import Clock
from catga_core.interfaces.transport import Transport
from catga_core.messages import Event, Message, MessageType
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import Failure
from catga_core.pipeline import Pipeline


class Route(msgspec.Struct, frozen=True):
    """One compiled pipeline.

    Parameters:
        pipeline: as linked.
        context: whether anything in it can ask for the message's context.
    """

    pipeline: Pipeline
    context: bool


class NotPrepared(Exception):  # noqa: N818 - control flow, never seen outside
    """A pipeline needs a service that has to be awaited first; `prepare` does so."""


KeepFailed: TypeAlias = Callable[[Any, str, Failure[Any]], Coroutine[Any, Any, None]]
"""Keeps an event, the name of the handler that failed for it, and the failure; raises nothing but cancellation."""


class EventOutbox(Protocol):
    """Where an event goes that is published in a unit of work."""

    def applies(self) -> bool:
        """Tell whether the running task is in a unit of work."""
        ...

    async def store(self, described: MessageType, event: Event, context: MessageContext, /) -> None:
        """Store an event in the unit of work.

        Raises:
            CatgaError: when it cannot be stored.
        """
        ...


class RouteSource(Protocol):
    """The container, as the mediator sees it."""

    @property
    def service_name(self) -> str:
        """The name of this service."""
        ...

    @property
    def clock(self) -> Clock:
        """The container's clock."""
        ...

    @property
    def transport(self) -> Transport | None:
        """The way to other processes, `None` when everything is in this one."""
        ...

    @property
    def outbox(self) -> EventOutbox | None:
        """Where events published in a unit of work are stored, `None` where they go out at once.

        Raises:
            NotPrepared: when `prepare` has to be awaited first.
        """
        ...

    @property
    def keep_failed(self) -> KeepFailed | None:
        """What keeps the events that handlers failed for, `None` for nothing.

        Raises:
            NotPrepared: when `prepare` has to be awaited first.
        """
        ...

    def request_route(self, cls: type[Message]) -> Route | None:
        """Return the pipeline of a request handled here, `None` for any other.

        Raises:
            NotPrepared: when `prepare` has to be awaited first.
        """
        ...

    def event_routes(self, cls: type[Message]) -> Sequence[Route]:
        """Return one pipeline for each handler of an event, in the order of registration.

        Raises:
            NotPrepared: when `prepare` has to be awaited first.
        """
        ...

    def stream_route(self, cls: type[Message]) -> Route | None:
        """Return the pipeline of a stream query handled here, `None` for any other.

        Raises:
            NotPrepared: when `prepare` has to be awaited first.
        """
        ...

    def handlers_of(self, cls: type[Message]) -> list[str]:
        """Return the names of a message's handlers."""
        ...

    def handled_events(self) -> Sequence[type[Message]]:
        """Return the events that have handlers here."""
        ...

    async def prepare(self) -> None:
        """Make the services that have to be awaited."""
        ...
