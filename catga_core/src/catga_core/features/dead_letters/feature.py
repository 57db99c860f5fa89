"""The feature `dead_letters`: events that handlers failed for are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from catga_core.clock import Clock
from catga_core.errors import CatgaError, ErrorCode
from catga_core.feature import Builder, FeatureHost, Graph, Problem, Services
from catga_core.features.checks import duplicate_names
from catga_core.features.dead_letters.counters import DeadLetterCounters
from catga_core.features.dead_letters.options import DeadLetterOptions
from catga_core.features.dead_letters.replayers import Replayer, Replayers
from catga_core.features.units_of_work.feature import UnitOfWorkFeature
from catga_core.handlers import HandlerDefinition
from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterSource, DeadLetterStore
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.idempotency import IdempotencyStore
from catga_core.interfaces.storage import Storage
from catga_core.mediator import FailureSink
from catga_core.messages import MessageKind, MessageType
from catga_core.messages.serializer import Serializer


def add_dead_letters(container: FeatureHost, options: DeadLetterOptions | None = None) -> None:
    """Keep each event that a handler failed for as a dead letter.

    Args:
        container: The application's container.
        options: `None` for the defaults.
    """
    container.add_feature(DeadLetterFeature(options))


class DeadLetterFeature:
    """Writes a dead letter for each event handler that fails, and lets operators handle dead letters.

    Args:
        options: `None` for the defaults.
    """

    name = "dead_letters"

    def __init__(self, options: DeadLetterOptions | None = None) -> None:
        self._options = options or DeadLetterOptions()
        self._keep_failed_events = self._options.keep_failed_events
        self._counters = DeadLetterCounters()
        self._builder: Builder | None = None
        self._replayers: dict[DeadLetterSource, Callable[[], Replayer]] = {}
        self._atomic: list[Callable[[HandlerDefinition], bool]] = []
        self._handlers: list[HandlerDefinition] = []
        self._units: UnitOfWorkFeature | None = None

    # --- for other features ---

    def watch(self) -> None:
        """Have the number of dead letters watched, because a feature writes some."""
        if self._builder is not None:
            self._add_monitor(self._builder)

    def replay_with(self, source: DeadLetterSource, make: Callable[[], Replayer]) -> None:
        """Have the dead letters of a source replayed by a feature.

        Args:
            source: The source.
            make: Returns what replays them, asked for with each letter.
        """
        self._replayers[source] = make

    def replay_atomically(self, applies: Callable[[HandlerDefinition], bool]) -> None:
        """Have the removal of letters join the effects of handlers that run in no unit of work of their own.

        Args:
            applies: Tells for which handlers.
        """
        self._atomic.append(applies)

    # --- the feature ---

    def register(self, builder: Builder, /) -> None:
        """Add the sink for failed events, the monitor, and the operators' queue."""
        self._builder = builder
        self._replayers.clear()
        self._atomic.clear()
        self._handlers.clear()
        self._units = builder.use(UnitOfWorkFeature)
        builder.on_handler(self._handlers.append)
        services = builder.services
        builder.add_default(Replayers, lambda: (lambda: self._made_replayers(services), {}))
        builder.offer("dead_letter_queue", "catga_core.features.dead_letters.queue:DeadLetterQueue")
        if self._keep_failed_events:
            self._keep(builder)
            self._add_monitor(builder)

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Check the names of handlers."""
        return duplicate_names(graph, "a dead letter") if self._keep_failed_events else ()

    def health(self) -> Mapping[str, Health]:
        """Report how many dead letters were written, and how many could not be."""
        if not self._keep_failed_events:
            return {}
        counters = self._counters
        details = {"dead_letters": counters.dead_letters, "lost_dead_letters": counters.lost_dead_letters}
        if counters.lost_dead_letters:
            text = f"{counters.lost_dead_letters} dead letters could not be written"
            return {"dead_letters": Health(HealthStatus.DEGRADED, text, details)}
        return {"dead_letters": Health(HealthStatus.HEALTHY, "", details)}

    def _keep(self, builder: Builder) -> None:
        services = builder.services
        builder.need(DeadLetterStore)

        def make() -> FailureSink:
            from catga_core.features.dead_letters.recorder import FailedEvents

            # Asked for with each letter: a store that stands in for it may be there by then.
            return FailedEvents(
                lambda: services.get(DeadLetterStore),
                services.get(Serializer),
                services.get(Clock),
                self._counters,
            )

        builder.set_failure_sink(make)

    def _add_monitor(self, builder: Builder) -> None:
        from catga_core.features.dead_letters.monitor import DeadLetterMonitor

        services, options = builder.services, self._options

        def make(clock: Clock, **_stores: object) -> DeadLetterMonitor:
            return DeadLetterMonitor(lambda: services.get(DeadLetterStore), clock, options)

        needs = {"clock": Clock, "letters": DeadLetterStore}
        builder.add_worker(DeadLetterMonitor, make, needs, name="dead_letter_monitor")

    # --- replays ---

    def _made_replayers(self, services: Services) -> Replayers:
        def atomic(described: MessageType, handler: str) -> bool:
            together = services.same_storage(Storage, DeadLetterStore) is True
            return together and self._is_atomic(described, handler)

        def rehearsable(letter: DeadLetter) -> CatgaError | None:
            # What is recorded there would be taken for the result of the command that the replay repeats.
            elsewhere = services.same_storage(Storage, IdempotencyStore) is not True
            return _recorded_elsewhere(letter) if elsewhere else None

        return Replayers(dict(self._replayers), atomic, self._options.replay_lease_seconds, rehearsable)

    def _is_atomic(self, described: MessageType, handler: str) -> bool:
        event = described.kind is MessageKind.EVENT
        found = [
            each
            for each in self._handlers
            if issubclass(described.cls, each.message_type.cls) and (not event or each.name == handler)
        ]
        return bool(found) and all(self._is_in_unit_of_work(each) for each in found)

    def _is_in_unit_of_work(self, handler: HandlerDefinition) -> bool:
        if any(applies(handler) for applies in self._atomic):
            return True
        return self._units is not None and self._units.applies(handler)


def _recorded_elsewhere(letter: DeadLetter) -> CatgaError:
    text = (
        f"The dead letter {letter.id!r} cannot have a dry run: results of commands are kept in another storage than that of "
        "units of work, which a roll back does not reach. Take both from one storage, or replay it."
    )
    return CatgaError(text, code=ErrorCode.VALIDATION_FAILED)
