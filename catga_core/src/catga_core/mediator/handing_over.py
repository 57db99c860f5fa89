"""Hands stored events over: into queues, over the transport, or to the handlers of this process."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias

from catga_core.interfaces.outbox import OutboxMessage
from catga_core.interfaces.transport import EventTransport
from catga_core.mediator.endpoints import DeliverInContext
from catga_core.mediator.event_deliveries import EventDeliveries
from catga_core.mediator.gate import Gate
from catga_core.mediator.keeping import publisher_keeps
from catga_core.mediator.preparing import prepared
from catga_core.mediator.recording import Outgoing, current_recording
from catga_core.mediator.routes import RouteSource
from catga_core.messages import Event, Message, MessageType
from catga_core.messages.message_context import MessageContext

_Route: TypeAlias = Callable[[Any, MessageContext, OutboxMessage | None], Coroutine[Any, Any, None]]


class HandingOver:
    """Finds where the stored events of each type go, once until something changes.

    Args:
        source: Knows the transports and the handlers.
        gate: Says whether events are accepted.
        events: Delivers to the handlers here.
    """

    __slots__ = ("_events", "_gate", "_known", "_sent", "_source", "_transport")

    def __init__(self, source: RouteSource, gate: Gate, events: EventDeliveries) -> None:
        self._source = source
        self._gate = gate
        self._events = events
        self._known: dict[type[Any], _Route] = {}
        # The types that go into queues or to other processes.
        self._sent: set[type[Any]] = set()
        # `None` also where it was not asked for yet.
        self._transport: EventTransport | None = None

    def forget(self) -> None:
        """Find everything again when it is next needed."""
        self._known.clear()
        self._sent.clear()
        self._transport = None

    def hand_over(
        self,
        described: MessageType,
        event: Event,
        context: MessageContext,
        stored: OutboxMessage | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Send a stored event; see `Dispatcher.hand_over`."""
        if described.cls in self._sent and self._gate.is_open and current_recording() is None:
            # A coroutine less to go through, each time one of those in it waits.
            return self._known[described.cls](event, context, stored)
        return self._hand_over(described, event, context, stored)

    async def _hand_over(
        self, described: MessageType, event: Event, context: MessageContext, stored: OutboxMessage | None
    ) -> None:
        refusal = self._gate.refusal_of_stored(described)
        if refusal is not None:
            raise refusal
        recording = current_recording()
        if recording is not None:
            recording.published.append(Outgoing(event, context))
            return
        route = self._known.get(described.cls)
        if route is None:
            route = await prepared(self._source, lambda: self._find(described))
        await route(event, context, stored)

    async def event_transport(self) -> EventTransport | None:
        """Return what carries events to every service, `None` where they are all handled in this process."""
        known = self._transport
        if known is None:
            known = await prepared(self._source, lambda: self._source.event_transport)
            if self._gate.is_open:
                self._transport = known
        return known

    async def reaches(self, event_type: type[Message]) -> bool:
        """Return whether an event has somewhere to go: a transport, or a handler in this process.

        Args:
            event_type: Its class.
        """
        return (
            self._transport is not None
            or bool(self._source.handlers_of(event_type))
            or await self.event_transport() is not None
        )

    @property
    def carries_events(self) -> bool:
        """Whether events are known to go over a transport."""
        return self._transport is not None

    def runs_handlers(self, described: MessageType) -> bool:
        """Return whether handlers here may run while an event of a type is handed over; `True` until its route is known.

        Args:
            described: The event's type.
        """
        return described.cls not in self._sent

    def _find(self, described: MessageType) -> _Route:
        # At once, so that nothing is remembered of before a `forget`.
        route: _Route
        transport: EventTransport | None = None
        durable = publisher_keeps(self._source, described)
        if durable is not None:
            route = partial(durable.publish, described)
        elif (transport := self._source.event_transport) is not None:
            route = _over(transport, described)
        else:
            route = _to_handlers(self._events.with_outcomes(described, report=False))
        if self._gate.is_open:
            self._known[described.cls] = route
            self._transport = transport or self._transport
            if durable is not None or (transport is not None and transport.capabilities.remote):
                self._sent.add(described.cls)
        return route


def _over(transport: EventTransport, described: MessageType) -> _Route:
    publish = transport.publish

    def over(event: Any, context: MessageContext, _stored: OutboxMessage | None) -> Coroutine[Any, Any, None]:
        return publish(described, event, context)

    return over


def _to_handlers(deliver: DeliverInContext) -> _Route:
    async def to_handlers(event: Any, context: MessageContext, _stored: OutboxMessage | None) -> None:
        for each in await deliver(event, context):
            if each.unkept is not None:
                raise each.unkept

    return to_handlers
