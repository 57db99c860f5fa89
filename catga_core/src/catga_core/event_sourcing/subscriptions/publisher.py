"""`add_event_publisher`: publish the events of the log, which is its own outbox."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Unpack

from catga_core.errors import ConfigurationError
from catga_core.event_sourcing.consumers import (
    ConsumerChoices,
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
from catga_core.event_sourcing.subscriptions.publishing import EventPublisher
from catga_core.event_sourcing.subscriptions.service import Subscriptions
from catga_core.handlers.hints import caller_place, shown
from catga_core.host import Host
from catga_core.interfaces.checkpoints import CheckpointStore
from catga_core.interfaces.memberships import MembershipStore
from catga_core.interfaces.named_values import NamedValueStore
from catga_core.mediator import Dispatcher
from catga_core.messages import Event
from catga_core.messages.delivery import Delivery


def add_event_publisher(
    container: Host,
    *,
    stream: str = "*",
    events: type[Event] | Collection[type[Event]] | None = None,
    name: str | None = None,
    start: Start | int = Start.BEGINNING,
    partitions: int = 1,
    **options: Unpack[ConsumerChoices],
) -> None:
    """Publish every event that is appended to the log, at least once, in order per stream.

    The events go over the transport, or to the event handlers of this process where there is none, as `mediator.publish` would
    send them: with the message id, correlation id and headers that they were stored with. The log is the outbox: an event is
    published if and only if its append was committed, and a checkpoint says how far the publisher is. A crash between the
    two publishes an event again with the same message id, which an inbox recognizes.

    A publisher is a subscription: it has a lease, so that one process of several publishes, and is named in `app.subscriptions`
    and in health. The other options are those of `ConsumerOptions`.

    Args:
        container: The container.
        stream: A glob on the stream's name, such as `order-*`.
        events: The event classes to publish, or one of them; a base class stands for all derived ones, `None` for all events.
        name: The name that its checkpoint is kept under. `None` derives it from `stream`: `publisher` for all streams,
            `publisher-order-all` for `order-*`.
        start: Where it starts when it runs for the first time: `Start.BEGINNING`, `Start.NOW`, or after a position. Use
            `Start.NOW` for a log whose events were published in another way before.
        partitions: How many partitions the streams are divided into, as in `add_subscription`.
        attempts: Attempts for each event; unlimited by default, so that events wait in order for a transport that is
            away. An error that is not retryable, such as an event that cannot be decoded, is not tried again.

    Raises:
        ConfigurationError: An argument is not possible, another publisher has the name, or the container runs already.
    """
    chosen: str = _derived(stream) if name is None else name
    check_consumer_name(chosen, "event publisher")
    named = f"the event publisher {chosen!r}"
    unlimited: ConsumerChoices = {"attempts": None}
    definition = SubscriptionDefinition(
        name=chosen,
        events=_events(named, events),
        stream=stream,
        start=start,
        delivery=Delivery.AT_LEAST_ONCE,
        partitions=partitions,
        options=chosen_options(add_event_publisher, unlimited | options),
    )
    provider = provider_of_consumer(chosen, "subscription")
    problems = problems_of(definition, named) + check_consumer_options(definition.options, named, stream)
    hosted = Hosted("event publisher", chosen, f"add_event_publisher ({caller_place()})")
    taken = problems_of_name(hosted, provider, container.providers)
    problems += [f"{each}, by name=" for each in taken]
    if problems:
        raise ConfigurationError(problems)
    _host(container, definition, provider, hosted)


def _derived(stream: object) -> str:
    if not isinstance(stream, str) or stream in {"*", ""}:
        return "publisher"
    return f"publisher-{re.sub(r'[^A-Za-z0-9_.-]', '_', stream.replace('*', 'all'))}"


def _events(named: str, events: object) -> tuple[type[Event], ...]:
    if events is None:
        return (Event,)
    if isinstance(events, type):
        events = (events,)
    if isinstance(events, str) or not isinstance(events, Collection) or not events:
        msg = f"{named} has events={events!r}; expected one or more event classes. Pass a list of classes, or leave it out."
        raise ConfigurationError(msg)
    given: tuple[Any, ...] = tuple(events)  # pyright: ignore[reportUnknownArgumentType] - of whatever, checked below
    wrong = [shown(each) for each in given if not (isinstance(each, type) and issubclass(each, Event))]
    if wrong:
        msg = f"{named} has events={', '.join(wrong)}; expected classes derived from Event. Pass event classes only."
        raise ConfigurationError(msg)
    return given


def _host(container: Host, definition: SubscriptionDefinition, provider: str, hosted: Hosted) -> None:
    needs = {"ports": ConsumerPorts, "subscriptions": Subscriptions, "dispatcher": Dispatcher}

    def make(ports: ConsumerPorts, subscriptions: Subscriptions, dispatcher: Dispatcher) -> EventPublisher:
        if definition.partitions > 1:
            written = (CheckpointStore, NamedValueStore, MembershipStore)
            container.check_one_storage(f"the event publisher {definition.name!r}", written)
        worker = EventPublisher(definition, ports, dispatcher)
        subscriptions.add(worker)
        return worker

    service = hosted_class(EventPublisher, provider, hosted)
    container.add_hosted(service, factory_with(needs, make), name=provider, role="work")
