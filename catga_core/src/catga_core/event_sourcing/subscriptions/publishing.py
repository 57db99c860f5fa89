"""`EventPublisher`: the worker of a subscription that publishes what it reads."""

from __future__ import annotations

import contextlib
from typing import ClassVar

from catga_core.errors import CatgaError
from catga_core.event_sourcing.consumers import ConsumerPorts
from catga_core.event_sourcing.consumers.delivery import context_of
from catga_core.event_sourcing.subscriptions.definition import SubscriptionDefinition
from catga_core.event_sourcing.subscriptions.worker import SubscriptionWorker
from catga_core.interfaces.event_store import StoredEvent
from catga_core.mediator import Dispatcher
from catga_core.messages import Event, message_type

_FLUSH_SECONDS = 5.0  # a log in memory is lost with the process, and a transport that is away may stay away


class EventPublisher(SubscriptionWorker):
    """Publishes the events of the log, each when the one before it is published.

    Args:
        definition: Its name, events and options.
        ports: What it uses.
        dispatcher: Sends an event over the transport, or to the handlers of this process where there is none.
    """

    starts_before_senders: ClassVar[bool] = False
    # Before its own handlers listen, this process would send them nothing.
    starts_after_serving: ClassVar[bool] = True

    def __init__(
        self, definition: SubscriptionDefinition, ports: ConsumerPorts, dispatcher: Dispatcher
    ) -> None:
        async def publish(stored: StoredEvent) -> None:
            event: Event = stored.event
            await dispatcher.hand_over(message_type(type(event)), event, context_of(stored))

        super().__init__(definition, ports, publish)

    @property
    def stops_after_messages(self) -> bool:
        """Whether it must outlive the messages in flight: what they append would be lost with this process."""
        return not self._ports.storage.capabilities.durable

    async def stop(self) -> None:
        """Finish the event that is being published and save the checkpoint; a log in memory is first published to its end."""
        try:
            if self.stops_after_messages:
                await self._flush()
        finally:
            await super().stop()

    async def _flush(self) -> None:
        # One that has stopped, or whose transport is away, loses the rest with the process.
        with contextlib.suppress(CatgaError):
            head = await self._ports.log.head()
            while any(each.position < head for each in self.parts):
                await self.wait_for(head, _FLUSH_SECONDS)
                # Handlers may have appended more.
                head = await self._ports.log.head()
