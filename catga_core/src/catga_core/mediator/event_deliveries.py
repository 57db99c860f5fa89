"""Finds how an event is delivered to every handler of this process, once until something changes."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from catga_core.interfaces.endpoints import Delivered
from catga_core.mediator.delivery import Delivery
from catga_core.mediator.endpoints import DeliverInContext
from catga_core.mediator.failures import FailedDeliveries, Settling
from catga_core.mediator.gate import Gate
from catga_core.mediator.overlap import Overlap
from catga_core.mediator.preparing import not_built
from catga_core.mediator.refusals import stopped
from catga_core.mediator.routes import NotPrepared, RouteSource
from catga_core.messages import MessageType
from catga_core.messages.context import active_context
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import Failure


class PublishHere(Protocol):
    """Publishes an event to the handlers of this process."""

    def __call__(self, event: Any, context: MessageContext | None = None, /) -> Coroutine[Any, Any, None]:
        """Publish an event, in a context that is given or in one that continues the publisher's."""
        ...


class EventDeliveries:
    """Finds the deliveries of events.

    Args:
        source: Knows the pipelines.
        gate: Counts deliveries, and says when no more are accepted.
        failed: Counts and logs failures.

    Attributes:
        known: The deliveries that were found, by event class.
    """

    __slots__ = ("_failed", "_gate", "_overlap", "_source", "known")

    def __init__(self, source: RouteSource, gate: Gate, failed: FailedDeliveries) -> None:
        self._source = source
        self._gate = gate
        self._failed = failed
        self._overlap = Overlap()
        self.known: dict[type[Any], DeliverInContext] = {}

    @property
    def waiting(self) -> int:
        """How many deliveries have handlers that overlap."""
        return len(self._overlap.pending)

    def reset(self) -> None:
        """Begin anew, in another event loop."""
        self._overlap.reset()

    def find(self, described: MessageType) -> DeliverInContext:
        """Find the delivery of an event type; one that cannot be found delivers failures."""
        if self._gate.ended:
            return self._refusing(described)
        try:
            found = self.with_outcomes(described, report=True)
        except NotPrepared:
            return self._preparing_delivery(described)
        except Exception as error:  # noqa: BLE001 - an override's factory that fails is this event's failure
            return self._failing_delivery(described, error)
        self.known[described.cls] = found
        return found

    def to_handlers(self, described: MessageType, *, report: bool) -> Delivery:
        """Return the delivery of an event type.

        Args:
            described: The event type.
            report: Whether failures that could not be kept are recorded as lost; otherwise they are redelivered.

        Raises:
            NotPrepared: `prepare` has to be awaited first.
        """
        routes = self._source.event_routes(described.cls)
        settling = Settling(self._failed, self._source.failure_sink, report=report)
        pipelines = [route.pipeline for route in routes]
        return Delivery(pipelines, settling, self._overlap, self._gate, described.context)

    def with_outcomes(self, described: MessageType, *, report: bool) -> DeliverInContext:
        """Return what delivers an event in a given context and gives what each handler ended with; as `to_handlers`."""
        delivery = self.to_handlers(described, report=report)
        if not delivery.pipelines:
            return _to_none_in
        return delivery.deliver_with_outcomes()

    def _refusing(self, described: MessageType) -> DeliverInContext:
        async def handle(_event: Any, _context: MessageContext) -> Sequence[Delivered]:
            error = stopped(described, self._source.service_name)
            return [Delivered(name, Failure(error)) for name in self._source.handlers_of(described.cls)]

        return handle

    def _preparing_delivery(self, described: MessageType) -> DeliverInContext:
        async def handle(event: Any, context: MessageContext) -> Sequence[Delivered]:
            try:
                await self._source.prepare()
            except Exception as error:  # noqa: BLE001 - as above
                return await self._failing_delivery(described, error)(event, context)
            return await self.find(described)(event, context)

        return handle

    def _failing_delivery(self, described: MessageType, error: Exception) -> DeliverInContext:
        async def handle(event: Any, context: MessageContext) -> Sequence[Delivered]:
            settling = Settling(self._failed, self._source.failure_sink, report=True)
            failure: Failure[Any] = Failure(not_built(described, error))
            token = active_context.set(context)
            try:
                return [
                    await settling.settle(event, context, name, failure)
                    for name in self._source.handlers_of(described.cls)
                ]
            finally:
                active_context.reset(token)

        return handle


async def _to_none_in(_event: Any, _context: MessageContext) -> Sequence[Delivered]:
    return ()
