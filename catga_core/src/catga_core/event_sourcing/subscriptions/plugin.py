"""`add_subscription`: register a handler for the events of the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from catga_core.errors import ConfigurationError
from catga_core.event_sourcing.consumers import (
    ConsumerChoices,
    ConsumerDelivery,
    ConsumerPorts,
    check_consumer_name,
    check_consumer_options,
    chosen_options,
    provider_of_consumer,
)
from catga_core.event_sourcing.hosting import Hosted, factory_with, hosted_class, problems_of_name
from catga_core.event_sourcing.subscriptions.definition import (
    Start,
    SubscriptionDefinition,
    problems_of,
)
from catga_core.event_sourcing.subscriptions.handler import SubscriptionHandler, handler_of
from catga_core.event_sourcing.subscriptions.service import Subscriptions
from catga_core.event_sourcing.subscriptions.worker import SubscriptionWorker
from catga_core.handlers.hints import caller_locals, shown
from catga_core.host import Host
from catga_core.interfaces.checkpoints import CheckpointStore
from catga_core.interfaces.memberships import MembershipStore
from catga_core.interfaces.named_values import NamedValueStore
from catga_core.interfaces.storage import Storage
from catga_core.mediator import Dispatcher
from catga_core.messages import Event
from catga_core.messages.delivery import Delivery
from catga_core.messages.encodable import make_all_readable


def add_subscription(
    container: Host,
    name: str,
    handler: Any,
    *,
    stream: str = "*",
    events: Sequence[type[Event]] | None = None,
    start: Start | int = Start.BEGINNING,
    delivery: Delivery = Delivery.AT_LEAST_ONCE,
    partitions: int = 1,
    **options: Unpack[ConsumerChoices],
) -> None:
    """Register a handler for the events of the log, one after the other, with a checkpoint.

    Every process that adds the subscription competes for it. One at a time does the work; the others stand by and take over
    when its lease ends. The order within a stream is kept. The other options are those of `ConsumerOptions`.

    Args:
        container: The container.
        name: The subscription's name, under which its checkpoint is kept: letters, digits, `_`, `-` and `.`.
        handler: A function `(event)`, `(event, stored: StoredEvent)`, with further parameters for services, or a class
            with such a method `handle` and services in its constructor, scoped ones and `MessageContext` included. The event's
            annotation tells which events it is for: a class, several (`A | B`), a base class, or `Event` for all. It may be
            asynchronous. Behaviors and validators apply to it as to any handler.
        stream: A glob on the stream's name, such as `order-*`.
        events: Fewer classes than the annotation names; `None` for all of those.
        start: Where it starts when it runs for the first time: `Start.BEGINNING`, `Start.NOW`, or after a position.
        delivery: `AT_LEAST_ONCE` runs the handler outside of any unit of work. `EXACTLY_ONCE` runs it in one together with
            the checkpoint, so that what it writes to the container's storage is written once.
        partitions: How many partitions the streams are divided into, by a hash of their names. Each has its own lease, so
            that several processes share the work. To change the number, stop every process and delete the checkpoints: then
            all events are handled again.

    Raises:
        ConfigurationError: An argument is not possible, or the container runs already.
    """
    check_consumer_name(name, "subscription")
    names = caller_locals()
    described = handler_of(handler, names)
    make_all_readable(described.events, names)
    chosen = chosen_options(add_subscription, options)
    definition = SubscriptionDefinition(
        name=name,
        events=_events(name, described, events),
        stream=stream,
        start=start,
        delivery=delivery,
        partitions=partitions,
        options=chosen,
    )
    named = f"the subscription {name!r}"
    problems = problems_of(definition, named) + check_consumer_options(chosen, named, stream)
    provider = provider_of_consumer(name, "subscription")
    hosted = Hosted("subscription", name, described.target)
    problems += problems_of_name(hosted, provider, container.providers)
    if problems:
        raise ConfigurationError(problems)
    if described.is_class:
        container.add_class_consumer(definition.stem, name, handler, described.call_of)
    else:
        container.add_function_consumer(definition.stem, name, handler, described.call, described.needs)
    _host(container, definition, described, provider, hosted)


def _events(
    name: str, described: SubscriptionHandler, events: Sequence[type[Event]] | None
) -> tuple[type[Event], ...]:
    if events is None:
        return described.events
    given: object = events
    if not isinstance(given, Sequence) or isinstance(given, str):
        msg = f"the subscription {name!r} has events={shown(given)}: give a list of classes"
        raise ConfigurationError(msg)
    for each in events:
        asked: Any = each
        if not (isinstance(asked, type) and issubclass(asked, described.events)):
            taken = " | ".join(shown(one) for one in described.events)
            msg = f"the subscription {name!r} has {shown(asked)} in events=, and its handler takes {taken}: change one of the two"
            raise ConfigurationError(msg)
    if not events:
        msg = f"the subscription {name!r} has events=[], so it would be given nothing: leave events= out"
        raise ConfigurationError(msg)
    return tuple(events)


def _host(
    container: Host,
    definition: SubscriptionDefinition,
    described: SubscriptionHandler,
    provider: str,
    hosted: Hosted,
) -> None:
    needs = {"ports": ConsumerPorts, "subscriptions": Subscriptions, "dispatcher": Dispatcher}

    def make(
        ports: ConsumerPorts, subscriptions: Subscriptions, dispatcher: Dispatcher
    ) -> SubscriptionWorker:
        named = f"the subscription {definition.name!r}"
        if definition.delivery is Delivery.EXACTLY_ONCE:
            container.check_one_storage(named, (Storage, CheckpointStore))
        if definition.partitions > 1:
            container.check_one_storage(named, (CheckpointStore, NamedValueStore, MembershipStore))
        delivery = ConsumerDelivery(dispatcher, definition.stem)
        worker = SubscriptionWorker(definition, ports, delivery.deliver)
        subscriptions.add(worker)
        return worker

    service = hosted_class(SubscriptionWorker, provider, hosted)
    handled_with = (described.target,) if described.is_class else tuple(described.needs.values())
    made = factory_with(needs, make)
    container.add_hosted(service, made, name=provider, after=handled_with, role="work")
