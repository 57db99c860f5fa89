"""The feature `queues`: events delivered at least once, and enqueued commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from catga_core.clock import Clock
from catga_core.feature import Builder, FeatureHost, Graph, Problem, Services
from catga_core.features.checks import duplicate_names, other_storage, without_message_id
from catga_core.features.dead_letters.feature import DeadLetterFeature
from catga_core.features.queues.definitions import Definitions
from catga_core.features.queues.options import QueueOptions
from catga_core.features.queues.results import ResultCodecs
from catga_core.features.retention.feature import RetentionFeature
from catga_core.features.retention.pruning import Prune
from catga_core.handlers import HandlerDefinition
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.durable_transport import DurableTransport, QueueDefinition
from catga_core.interfaces.health import Health
from catga_core.interfaces.inbox import InboxStore
from catga_core.interfaces.named_values import NamedValueStore
from catga_core.interfaces.queue import QueueStore
from catga_core.interfaces.storage import Storage
from catga_core.mediator import Dispatcher, DurableMessages
from catga_core.messages import Event, MessageKind, MessageType
from catga_core.messages.delivery import Delivery
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.serializer import Serializer
from catga_core.runtime.retry import RetryPolicy


def add_queues(container: FeatureHost, options: QueueOptions | None = None) -> None:
    """Keep durable events and enqueued commands in queues until their handlers have handled them.

    Args:
        container: The application's container.
        options: `None` for the defaults.
    """
    container.add_feature(QueuesFeature(options))


class QueuesFeature:
    """Adds the publisher and the consumers, and the durable transport over the container's queue store where there is none.

    Args:
        options: `None` for the defaults.
    """

    name = "queues"

    def __init__(self, options: QueueOptions | None = None) -> None:
        self._options = options or QueueOptions()
        self._commands: dict[MessageType, str] = {}
        self._of_all_events: dict[str, None] = {}
        self._services: Services | None = None

    def register(self, builder: Builder, /) -> None:
        """Add transport, publisher, consumers, monitor, and the pruning of what was handled."""
        self._services = builder.services
        self._commands.clear()
        self._of_all_events.clear()
        builder.on_handler(self._note)
        builder.need(Storage, QueueStore, DurableTransport, DeadLetterStore, NamedValueStore)
        builder.use(RetentionFeature).prune("queue", QueueStore, self._prune)
        builder.use(DeadLetterFeature).watch()
        builder.use(DeadLetterFeature).replay_atomically(self._is_confirmed)
        builder.offer("message_queues", "catga_core.features.queues.operator:MessageQueues")
        self._add_transport(builder)
        self._add_publisher(builder)
        self._add_consumers(builder)
        self._add_monitor(builder)

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Check the storage, the names of handlers, and that messages have ids."""
        yield from other_storage(graph, "enable_queues", "the queue store", QueueStore)
        yield from other_storage(graph, "enable_queues", "the dead letters", DeadLetterStore)
        yield from duplicate_names(graph, "a queue")
        durable = [each.message_type for each in graph.handlers if self._is_kept(each.message_type)]
        yield from without_message_id(durable, "A queue")
        yield from self._without_filter(graph)

    def _without_filter(self, graph: Graph) -> Iterator[Problem]:
        """Yield a problem for each message whose redeliveries nothing would filter."""
        transport = None if self._services is None else self._services.get(DurableTransport)
        if transport is None or transport.capabilities.transactional:
            return
        named = type(transport).__name__
        for described in dict.fromkeys(each.message_type for each in graph.handlers):
            if self._delivery_of(described) is not Delivery.EXACTLY_ONCE:
                continue
            if described.kind is MessageKind.COMMAND:
                yield Problem(
                    f"{described.name} declares delivery='exactly_once', but {named} is not in the container's storage, so that a "
                    "redelivered command would be handled again. Use @idempotent and delivery='at_least_once'."
                )
            elif described.kind is MessageKind.EVENT and not graph.has_feature("inbox"):
                yield Problem(
                    f"{described.name} is delivered exactly once, but {named} is not in the container's storage, and no inbox "
                    "filters its redeliveries. Set CatgaOptions(enable_inbox=True)."
                )

    def health(self) -> Mapping[str, Health]:
        """Report nothing: transport, consumers and monitor report."""
        return {}

    # --- parts ---

    def _add_transport(self, builder: Builder) -> None:
        services, options = builder.services, self._options

        def default() -> tuple[Callable[..., Any], Mapping[str, Any]]:
            from catga_core.features.queues.stored import StoredQueues, StoredSettings

            settings = StoredSettings(
                options.lease_seconds,
                options.poll_seconds,
                # Twice, because the clock of the process that gave a message back may be ahead.
                2 * max(options.retry_max_delay_seconds, options.lease_seconds),
            )

            def make(clock: Clock, **_stores: object) -> StoredQueues:
                return StoredQueues(
                    lambda: services.get(QueueStore), lambda: services.get(Storage), clock, settings
                )

            return make, {"clock": Clock, "store": QueueStore, "storage": Storage}

        builder.add_default(DurableTransport, default)

        from catga_core.features.queues.hosting import StoredQueuesHost

        builder.add_worker(
            StoredQueuesHost,
            StoredQueuesHost,
            {"transport": DurableTransport},
            name="queue_leases",
            role=None,
        )

    def _add_publisher(self, builder: Builder) -> None:
        services = builder.services

        made: tuple[Sequence[object], DurableMessages] | None = None

        def publisher() -> DurableMessages:
            from catga_core.features.queues.publisher import QueuePublisher

            # Asked for by each message: what it has compiled is kept until one of these is replaced.
            nonlocal made
            serializer, clock, registry = (
                services.get(Serializer),
                services.get(Clock),
                services.get(MessageRegistry),
            )
            given = (serializer, clock, registry, services.get(Dispatcher))
            if made is None or any(one is not other for one, other in zip(made[0], given, strict=True)):
                made = (
                    given,
                    QueuePublisher(
                        lambda: services.get(DurableTransport),
                        self._definitions(services),
                        self._delivery_of,
                        serializer,
                        clock,
                        registry,
                        ResultCodecs(serializer, registry),
                    ),
                )
            return made[1]

        builder.set_durable(publisher)

    def _add_consumers(self, builder: Builder) -> None:
        from catga_core.features.queues.consumers import QueueConsumers
        from catga_core.features.queues.fencing import Fences
        from catga_core.features.queues.handling import Handling
        from catga_core.features.queues.settling import Settling

        services, options = builder.services, self._options

        def make(
            dispatcher: Dispatcher,
            serializer: Serializer,
            clock: Clock,
            registry: MessageRegistry,
            **_services: object,
        ) -> QueueConsumers:
            policy = RetryPolicy(
                max_attempts=options.max_attempts,
                delay_seconds=options.retry_delay_seconds,
                max_delay_seconds=options.retry_max_delay_seconds,
            )

            def transport() -> DurableTransport:
                return services.get(DurableTransport)

            def storage() -> Storage:
                return services.get(Storage)

            settling = Settling(
                transport, lambda: services.get(DeadLetterStore), storage, clock, policy, options.on_failure
            )
            results = ResultCodecs(serializer, registry) if options.keep_results else None

            async def had(message_id: str, handler: str) -> bool:
                return await services.get(InboxStore).seen(message_id, handler)

            fences = Fences(transport, lambda: services.get(NamedValueStore))
            handling = Handling(
                dispatcher, registry, serializer, results, settling, transport, storage, had, fences
            )
            definitions = self._definitions(services)

            def all_queues() -> Sequence[QueueDefinition]:
                events = definitions.events(of_all_events=self._of_all_events)
                return [*events, *definitions.commands(self._commands.items())]

            return QueueConsumers(
                all_queues,
                handling,
                transport,
                clock,
                options.lease_seconds,
                settling.counters,
                lambda: dispatcher.shutdown_timeout,
            )

        needs = {
            "dispatcher": Dispatcher,
            "serializer": Serializer,
            "clock": Clock,
            "registry": MessageRegistry,
            "transport": DurableTransport,
            "storage": Storage,
            "letters": DeadLetterStore,
            "values": NamedValueStore,
        }
        builder.add_worker(QueueConsumers, make, needs, name="queue_consumers")

    def _add_monitor(self, builder: Builder) -> None:
        from catga_core.features.queues.monitor import QueueMonitor

        services, alarm = builder.services, self._options.alarm_seconds

        def make(clock: Clock, **_services: object) -> QueueMonitor:
            return QueueMonitor(lambda: services.get(DurableTransport), clock, alarm)

        needs = {"clock": Clock, "transport": DurableTransport}
        builder.add_worker(QueueMonitor, make, needs, name="queue_monitor")

    def _definitions(self, services: Services) -> Definitions:
        return Definitions(
            services.get(Dispatcher),
            self._delivery_of,
            self._options,
        )

    # --- which messages ---

    def _note(self, handler: HandlerDefinition) -> None:
        described = handler.message_type
        if handler.consumer:
            return
        if described.kind is MessageKind.COMMAND:
            self._commands[described] = handler.name
        elif described.cls is Event:
            self._of_all_events[handler.name] = None

    def _is_kept(self, described: MessageType) -> bool:
        return (
            described.kind is MessageKind.EVENT and self._delivery_of(described) is not Delivery.AT_MOST_ONCE
        )

    def _is_confirmed(self, handler: HandlerDefinition) -> bool:
        services = self._services
        if services is None or self._delivery_of(handler.message_type) is not Delivery.EXACTLY_ONCE:
            return False
        return services.get(DurableTransport).capabilities.transactional

    def _delivery_of(self, described: MessageType) -> Delivery:
        if described.delivery is not None:
            return described.delivery
        if described.kind is MessageKind.COMMAND:
            return Delivery.AT_LEAST_ONCE
        if self._options.delivery is not None:
            return self._options.delivery
        services = self._services
        if services is not None and services.get(DurableTransport).capabilities.remote:
            return Delivery.AT_LEAST_ONCE
        return Delivery.AT_MOST_ONCE

    def _prune(self, store: QueueStore) -> Prune:
        return lambda: store.prune(older_than=self._options.retention_seconds)
