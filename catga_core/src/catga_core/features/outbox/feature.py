"""The feature `outbox`: events are stored with a handler's data, and sent after its commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from catga_core.clock import Clock
from catga_core.feature import Builder, FeatureHost, Graph, Problem, Services
from catga_core.features.checks import other_storage
from catga_core.features.dead_letters.feature import DeadLetterFeature
from catga_core.features.outbox.options import OutboxOptions
from catga_core.features.retention.feature import RetentionFeature
from catga_core.features.retention.pruning import Prune
from catga_core.features.units_of_work.feature import UnitOfWorkFeature
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.event_log import EventLog
from catga_core.interfaces.health import Health
from catga_core.interfaces.named_values import NamedValueStore
from catga_core.interfaces.outbox import OutboxStore
from catga_core.interfaces.storage import Storage
from catga_core.mediator import Dispatcher, EventOutbox
from catga_core.messages import MessageKind
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.serializer import Serializer
from catga_core.runtime.retry import RetryPolicy


def add_outbox(container: FeatureHost, options: OutboxOptions | None = None) -> None:
    """Handle every command and event in a unit of work, and send events published in one after its commit.

    Handlers with `@own_units_of_work` open their units of work themselves.

    Args:
        container: The application's container.
        options: `None` for the defaults.
    """
    container.add_feature(OutboxFeature(options))


class OutboxFeature:
    """Stores published events in the surrounding unit of work, and relays them.

    Args:
        options: `None` for the defaults.
    """

    name = "outbox"

    def __init__(self, options: OutboxOptions | None = None) -> None:
        self._options = options or OutboxOptions()

    def register(self, builder: Builder, /) -> None:
        """Add the writer, the monitor, the relay, and the pruning of sent messages."""
        services = builder.services
        builder.need(Storage, OutboxStore, DeadLetterStore)
        builder.use(UnitOfWorkFeature).require(MessageKind.COMMAND, MessageKind.EVENT)
        builder.use(DeadLetterFeature).watch()
        builder.use(RetentionFeature).prune("outbox", OutboxStore, self._prune)
        builder.set_outbox(lambda: _writer(services))
        self._add_monitor(builder)
        if self._options.relay:
            self._add_relay(builder)

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Check that outbox, event log and units of work share one storage."""
        yield from other_storage(graph, "enable_outbox", "the outbox", OutboxStore)
        if "work" not in graph.roles and graph.is_default(OutboxStore):
            yield Problem(
                "The outbox is kept in this process's memory, and without the role 'work' no relay sends its messages, so that "
                "they would be lost at the stop. Add the role 'work', or choose a store, such as "
                "CatgaOptions(store='sqlite:///app.db')."
            )
        # An event log in memory by default may well be unused.
        if not graph.is_default(EventLog) and graph.same_storage(EventLog, Storage) is False:
            yield Problem(
                f"enable_outbox: the event log is kept in {graph.storage_of(EventLog)}, but units of work are those of "
                f"{graph.storage_of(Storage)}, so a handler that fails would leave the events it has appended. "
                "Take both from one storage."
            )

    def health(self) -> Mapping[str, Health]:
        """Report nothing: monitor and relay report."""
        return {}

    def _add_monitor(self, builder: Builder) -> None:
        from catga_core.features.outbox.monitor import OutboxMonitor

        services, alarm = builder.services, self._options.alarm_seconds

        def make(clock: Clock, **_stores: object) -> OutboxMonitor:
            return OutboxMonitor(lambda: services.get(OutboxStore), clock, alarm)

        builder.add_worker(
            OutboxMonitor, make, {"clock": Clock, "outbox": OutboxStore}, name="outbox_monitor"
        )

    def _add_relay(self, builder: Builder) -> None:
        from catga_core.features.outbox.receivers import Receivers
        from catga_core.features.outbox.relay import OutboxRelay, RelaySettings
        from catga_core.features.outbox.sending import OutboxSender

        services, options = builder.services, self._options

        def make(
            dispatcher: Dispatcher,
            serializer: Serializer,
            clock: Clock,
            registry: MessageRegistry,
            **_stores: object,
        ) -> OutboxRelay:
            policy = RetryPolicy(
                max_attempts=options.max_attempts,
                delay_seconds=options.retry_delay_seconds,
                max_delay_seconds=options.retry_max_delay_seconds,
            )
            receivers = Receivers(
                dispatcher,
                lambda: services.get(NamedValueStore),
                clock,
                lambda: services.get(Storage).capabilities.shared,
            )
            sender = OutboxSender(
                receivers.hand_over,
                dispatcher.enqueue,
                dispatcher.runs_handlers,
                registry,
                serializer,
                clock,
                policy,
                lambda: services.get(DeadLetterStore),
                lambda: services.get(Storage),
            )
            settings = RelaySettings(
                options.batch_size,
                options.lease_seconds,
                options.poll_seconds,
                # Twice, because the clock of the process that gave a message back may be ahead.
                2 * max(options.retry_max_delay_seconds, options.lease_seconds),
            )
            return OutboxRelay(
                lambda: services.get(OutboxStore),
                sender,
                receivers,
                clock,
                settings,
                lambda: services.get(Storage).capabilities.durable,
            )

        needs = {
            "dispatcher": Dispatcher,
            "serializer": Serializer,
            "clock": Clock,
            "registry": MessageRegistry,
            "outbox": OutboxStore,
            "storage": Storage,
            "letters": DeadLetterStore,
            "values": NamedValueStore,
        }
        builder.add_worker(OutboxRelay, make, needs, name="outbox_relay")

    def _prune(self, store: OutboxStore) -> Prune:
        return lambda: store.prune(older_than=self._options.retention_seconds)


def _writer(services: Services) -> EventOutbox:
    from catga_core.features.outbox.writer import OutboxWriter

    return OutboxWriter(
        services.get(OutboxStore),
        services.get(Storage),
        services.get(Serializer),
        services.get(Clock),
        services.get(MessageRegistry),
    )
