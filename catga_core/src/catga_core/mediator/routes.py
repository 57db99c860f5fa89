"""What mediator and dispatcher ask their container for: the pipelines of a message type, and the ways out of the process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from catga_core.clock import Clock
from catga_core.errors import CatgaError
from catga_core.interfaces.endpoints import Undecoded
from catga_core.interfaces.outbox import ToEnqueue
from catga_core.interfaces.transport import EventTransport, RequestTransport, StreamTransport
from catga_core.mediator.durable import DurableMessages
from catga_core.messages import Event, Message, MessageType, Request
from catga_core.messages.message_context import MessageContext
from catga_core.messages.older import Conversion
from catga_core.messages.results import Failure
from catga_core.pipeline import Pipeline


class Route(msgspec.Struct, frozen=True):
    """One compiled pipeline.

    Args:
        pipeline: As compiled.
        context: Whether a `MessageContext` is bound while it runs.
        check: What each item of a stream passes: returns it, or raises for a wrong one; `None` where every item is right.
    """

    pipeline: Pipeline
    context: bool = True
    check: Callable[[Any], Any] | None = None


class NotPrepared(Exception):  # noqa: N818 - control flow, never seen outside
    """A pipeline needs a service that has to be awaited first; `prepare` does so."""


class FailureSink(Protocol):
    """Where an event goes that a handler failed for."""

    async def keep(
        self, event: Any, context: MessageContext, handler: str, failure: Failure[Any], /
    ) -> CatgaError | None:
        """Keep a failed event; return why it could not be kept, `None` when it was. Raises nothing but cancellation."""
        ...

    async def keep_undecoded(self, message: Undecoded, error: CatgaError, /) -> None:
        """Keep an event that a transport could not decode, or record that it is lost. Raises nothing but cancellation."""
        ...

    def lost(self, event: Any, context: MessageContext, handler: str, error: CatgaError, /) -> None:
        """Record that a failed event could not be kept, and that its deliverer does not redeliver it."""
        ...


class EventOutbox(Protocol):
    """Where an event goes that is published in a unit of work, and a command that is enqueued in one."""

    def applies(self) -> bool:
        """Tell whether the running task is in a unit of work."""
        ...

    async def store(self, described: MessageType, event: Event, context: MessageContext, /) -> None:
        """Store an event in the unit of work.

        Raises:
            CatgaError: When it cannot be stored.
        """
        ...

    async def store_command(
        self, described: MessageType, command: Request[Any], context: MessageContext, enqueue: ToEnqueue, /
    ) -> None:
        """Store a command in the unit of work, to be enqueued after its commit.

        Raises:
            CatgaError: When it cannot be stored.
        """
        ...


class RouteSource(Protocol):
    """The container, as mediator and dispatcher see it. Everything but the names raises `NotPrepared` when `prepare`
    has to be awaited first.
    """

    @property
    def service_name(self) -> str:
        """The name of this service."""
        ...

    @property
    def shutdown_timeout(self) -> float:
        """Seconds within which messages in flight are to be finished when the container stops."""
        ...

    @property
    def clock(self) -> Clock:
        """The container's clock."""
        ...

    @property
    def request_transport(self) -> RequestTransport | None:
        """What carries requests to other processes, `None` when they are all handled in this one."""
        ...

    @property
    def event_transport(self) -> EventTransport | None:
        """What carries events to every service, `None` when they are all handled in this one."""
        ...

    @property
    def stream_transport(self) -> StreamTransport | None:
        """What carries stream queries to other processes, `None` when they are all handled in this one."""
        ...

    @property
    def outbox(self) -> EventOutbox | None:
        """Where events published in a unit of work are stored, `None` where they are sent at once."""
        ...

    @property
    def durable(self) -> DurableMessages | None:
        """What keeps events and enqueued commands in queues, `None` where nothing does."""
        ...

    @property
    def failure_sink(self) -> FailureSink | None:
        """Where events go that handlers failed for, `None` for nowhere."""
        ...

    def request_route(self, cls: type[Message]) -> Route | None:
        """Return the pipeline of a request handled here, `None` for any other."""
        ...

    def namesake(self, described: MessageType) -> type[Message] | None:
        """Return another class of a message's wire name, or else of its class name, that has a handler here."""
        ...

    def newer_request(self, older: MessageType) -> Conversion | None:
        """Return the way of a request or stream query to the handler of a newer version here, `None` where there is none."""
        ...

    def event_routes(self, cls: type[Message]) -> Sequence[Route]:
        """Return one pipeline for each handler of an event, in the order of registration."""
        ...

    def stream_route(self, cls: type[Message]) -> Route | None:
        """Return the pipeline of a stream query handled here, `None` for any other."""
        ...

    def consumer_route(self, consumer: str, cls: type[Message]) -> Route | None:
        """Return the pipeline of a consumer's handler for an event, `None` for an unknown consumer."""
        ...

    def handlers_of(self, cls: type[Message]) -> list[str]:
        """Return the names of a message's handlers."""
        ...

    def handled_events(self) -> Sequence[type[Message]]:
        """Return the events that have handlers here."""
        ...

    async def prepare(self) -> None:
        """Create the services that have to be awaited."""
        ...
