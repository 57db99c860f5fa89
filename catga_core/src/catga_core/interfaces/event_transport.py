"""The port of sending events to other processes."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from catga_core.interfaces.port import port
from catga_core.interfaces.transport_lifecycle import TransportLifecycle
from catga_core.messages import Event, MessageType
from catga_core.messages.message_context import MessageContext


@port("event_transport")
@runtime_checkable
class EventTransport(TransportLifecycle, Protocol):
    """Carries each event to every subscribing service."""

    async def publish(self, message_type: MessageType, event: Event, context: MessageContext, /) -> None:
        """Publish an event, to be delivered at most once to every subscribing service.

        Raises:
            CatgaError: The event could not be handed to the transport.
        """
        ...
