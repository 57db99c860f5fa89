"""The queues of this process: one for each event handler, one for each command that is handled here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from catga_core.features.queues.options import QueueOptions
from catga_core.interfaces.durable_transport import QueueDefinition, command_queue, event_queue
from catga_core.mediator import Dispatcher
from catga_core.messages import Message, MessageKind, MessageType, message_type
from catga_core.messages.delivery import Delivery

DeliveryOf = Callable[[MessageType], Delivery]
"""Returns how often messages of a type take effect."""


class Definitions:
    """Defines the queues of the handlers of this process.

    Args:
        dispatcher: Knows the handlers of events.
        delivery_of: How often messages of a type take effect.
        options: The options of queues.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        delivery_of: DeliveryOf,
        options: QueueOptions,
    ) -> None:
        self._dispatcher = dispatcher
        self._delivery_of = delivery_of
        self._options = options

    def events(
        self, published: Iterable[type[Message]] = (), *, of_all_events: Iterable[str] = ()
    ) -> Sequence[QueueDefinition]:
        """Return one definition for each handler of durable events.

        Args:
            published: Event classes besides those that handlers are registered for: what this process publishes for handlers of
                `Event`.
            of_all_events: The names of the handlers of `Event`, which have a queue whatever is known of their events.
        """
        handled: dict[str, dict[str, Delivery]] = {handler: {} for handler in of_all_events}
        for cls in dict.fromkeys((*self._dispatcher.handled_events(), *published)):
            described = message_type(cls)
            delivery = self._delivery_of(described)
            if delivery is Delivery.AT_MOST_ONCE:
                continue
            for handler in self._dispatcher.handlers_of(cls):
                handled.setdefault(handler, {})[described.name] = delivery
        service = self._dispatcher.service_name
        return [
            self._define(
                event_queue(service, handler),
                MessageKind.EVENT,
                tuple(names),
                handler,
                confirms=Delivery.EXACTLY_ONCE in names.values(),
            )
            for handler, names in handled.items()
        ]

    def commands(self, handled: Iterable[tuple[MessageType, str]]) -> Sequence[QueueDefinition]:
        """Return one definition for each command.

        Args:
            handled: The commands that this process handles, with their handlers' names.
        """
        return [
            self._define(
                command_queue(described.name),
                MessageKind.COMMAND,
                (described.name,),
                handler,
                confirms=self._delivery_of(described) is Delivery.EXACTLY_ONCE,
            )
            for described, handler in handled
        ]

    def _define(
        self, name: str, kind: MessageKind, messages: tuple[str, ...], handler: str, *, confirms: bool
    ) -> QueueDefinition:
        options = self._options
        return QueueDefinition(
            name, kind, messages, handler, options.concurrency, options.lease_seconds, confirms
        )
