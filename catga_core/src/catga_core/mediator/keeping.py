"""Who keeps an event that is delivered at least once: its publisher, or each of its receivers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from catga_core.errors import CatgaError, ConfigurationError, InternalError, Outcome
from catga_core.interfaces.endpoints import Delivered, HandlerEndpoint
from catga_core.mediator.durable import DurableMessages
from catga_core.mediator.failures import FailedDeliveries
from catga_core.mediator.routes import RouteSource
from catga_core.messages import MessageType
from catga_core.messages.delivery import Delivery
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import Failure
from catga_core.runtime.unit_of_work import open_unit_of_work


def publisher_keeps(source: RouteSource, described: MessageType) -> DurableMessages | None:
    """Return what keeps events of a type where they are published; `None` where they are sent or handled at once.

    Args:
        source: The container.
        described: The events' type.

    Raises:
        ConfigurationError: The type declares a delivery that this composition cannot keep.
        NotPrepared: `prepare` has to be awaited first.
    """
    durable = source.durable
    if durable is None:
        if described.delivery not in {None, Delivery.AT_MOST_ONCE}:
            raise ConfigurationError(not_kept(described))
        return None
    if not durable.takes(described):
        return None
    transport = source.event_transport
    if transport is None or durable.remote:
        return durable
    if transport.capabilities.remote:
        raise ConfigurationError(_lost_on_the_way(described, type(transport).__name__))
    # A transport within the process loses nothing: each receiver keeps the event.
    return None


def receiver_keeps(source: RouteSource, described: MessageType) -> DurableMessages | None:
    """Return what keeps events of a type that a transport delivers; `None` where they are handled at once.

    Args:
        source: The container.
        described: The events' type.
    """
    durable = source.durable
    return None if durable is None or durable.remote or not durable.takes(described) else durable


class KeepingEndpoint:
    """An `EventEndpoint` that keeps each event for its handlers instead of calling them.

    Args:
        described: The events' type.
        durable: Keeps them.
        handlers: Returns the names of the handlers.
        failed: Records an event that could not be kept.
    """

    validates: ClassVar[bool] = False

    def __init__(
        self,
        described: MessageType,
        durable: DurableMessages,
        handlers: Callable[[], Sequence[str]],
        failed: FailedDeliveries,
    ) -> None:
        self.message_type: MessageType = described
        self._durable = durable
        self._names = handlers
        self._failed = failed

    @property
    def handlers(self) -> Sequence[HandlerEndpoint]:
        """None: the queues of the handlers call them."""
        return ()

    async def handle(self, event: Any, context: MessageContext, /) -> Sequence[Delivered]:
        """Keep an event."""
        try:
            await self._durable.publish(self.message_type, event, context)
        except CatgaError as error:
            failure: Failure[Any] = Failure(error)
            for name in self._names():
                self._failed.record(event, name, failure, context)
            return [Delivered(name, failure, error) for name in self._names()]
        return ()


def refuse_in_unit_of_work(described: MessageType) -> None:
    """Refuse to publish or enqueue in a unit of work what its commit would not keep and its roll back would not take back.

    Raises:
        CatgaError: `INTERNAL_ERROR`: a unit of work is open.
    """
    if open_unit_of_work() is not None:
        text = (
            f"{described.name} was not kept: a unit of work is open, and the durable transport takes no part in it, so that a roll "
            "back would leave the message. Set CatgaOptions(enable_outbox=True), or publish it after the unit of work."
        )
        raise InternalError(text, outcome=Outcome.NOT_SENT)


def not_kept(described: MessageType) -> str:
    """Return the error text for a declared delivery in a container without queues."""
    return (
        f"{described.name} declares delivery={str(described.delivery)!r}, but this container keeps no events. Set "
        "CatgaOptions(enable_queues=True), or remove delivery=."
    )


def _lost_on_the_way(described: MessageType, transport: str) -> str:
    return (
        f"{described.name} is delivered {str(described.delivery or Delivery.AT_LEAST_ONCE).replace('_', ' ')}, but {transport} carries "
        "events at most once, and the queues of this container reach no other service. Use a durable transport, such as NATS with "
        "enable_jetstream=True, or declare delivery='at_most_once'."
    )
