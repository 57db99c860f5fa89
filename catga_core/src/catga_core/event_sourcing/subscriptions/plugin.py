"""`add_subscription`: has a handler called for the events of the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from catga_core.errors import ConfigurationError
from catga_core.event_sourcing.consumers import (
    ConsumerDelivery,
    FollowChoices,
    FollowerPorts,
    FollowOptions,
    check_follow_options,
    check_follower_name,
    provider_of_follower,
)
from catga_core.event_sourcing.hosting import Hosted, factory_with, hosted_class, problems_of_name
from catga_core.event_sourcing.subscriptions.definition import (
    Delivery,
    Start,
    SubscriptionDefinition,
    problems_of,
)
from catga_core.event_sourcing.subscriptions.handler import SubscriptionHandler, handler_of
from catga_core.event_sourcing.subscriptions.service import Subscriptions
from catga_core.event_sourcing.subscriptions.worker import SubscriptionWorker
from catga_core.handlers.hints import caller_locals, shown
from catga_core.host import Host
from catga_core.mediator import Dispatcher
from catga_core.messages import Event


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
    **options: Unpack[FollowChoices],
) -> None:
    """Have a handler called for every event of the log that a name has not seen, one after the other.

    It runs beside the handlers, in every process that adds it, and one of them at a time does the work: the others stand by
    and take over when its lease runs out. The order within a stream is kept. The other options are those of
    `FollowOptions`.

    Parameters:
        container: the container.
        name: the subscription's name, which its checkpoint is kept under: letters, digits, `_`, `-` and `.`.
        handler: a function `(event)`, `(event, stored: StoredEvent)`, with further parameters for services, or a class
            with such a method `handle` and services in its constructor, scoped ones and `MessageContext` included. The event's
            annotation tells which events it is for: a class, several (`A | B`), a base class, or `Event` for all. It may be
            asynchronous. Behaviors and validators apply to it as to any handler.
        stream: a glob on the stream's name, such as `order-*`.
        events: fewer classes than the annotation names; `None` for all of those.
        start: where it begins when it is run the first time: `Start.BEGINNING`, `Start.NOW`, or after a position.
        delivery: `AT_LEAST_ONCE` runs the handler outside of any unit of work. `EXACTLY_ONCE` runs it in one together with
            the checkpoint, so that what it writes to the container's storage is written once.
        partitions: how many parts the streams are divided into, by a hash of their names. Each is leased on its own, so
            that several processes share the work. The number stays as it was first.

    Raises:
        ConfigurationError: for what cannot work, or when the container runs already.
    """
    check_follower_name(name, "subscription")
    described = handler_of(handler, caller_locals())
    chosen = FollowOptions(**options)
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
    problems = problems_of(definition, named) + check_follow_options(chosen, named, stream)
    provider = provider_of_follower(name, "subscription")
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
    needs = {"ports": FollowerPorts, "subscriptions": Subscriptions, "dispatcher": Dispatcher}

    def make(
        ports: FollowerPorts, subscriptions: Subscriptions, dispatcher: Dispatcher
    ) -> SubscriptionWorker:
        if definition.delivery is Delivery.EXACTLY_ONCE:
            container.check_one_storage(f"the subscription {definition.name!r}")
        delivery = ConsumerDelivery(dispatcher, definition.stem)
        worker = SubscriptionWorker(definition, ports, delivery.deliver)
        subscriptions.add(worker)
        return worker

    service = hosted_class(SubscriptionWorker, provider, hosted)
    handled_with = (described.target,) if described.is_class else tuple(described.needs.values())
    made = factory_with(needs, make)
    container.add_hosted(service, made, name=provider, after=handled_with, role="work")
