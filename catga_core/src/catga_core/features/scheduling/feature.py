"""The feature `scheduling`: commands that are enqueued at recurring times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from catga_core.clock import Clock
from catga_core.feature import Builder, Graph, Problem, Services
from catga_core.features.queues.feature import QueuesFeature
from catga_core.features.scheduling.checks import different_commands, unshared_ticks
from catga_core.features.scheduling.definition import ScheduleDefinition
from catga_core.handlers import HandlerDefinition
from catga_core.interfaces.durable_transport import DurableTransport
from catga_core.interfaces.health import Health
from catga_core.interfaces.named_values import NamedValueStore
from catga_core.interfaces.storage import Storage
from catga_core.mediator import CatgaMediator
from catga_core.messages import MessageType


class SchedulingFeature:
    """Runs the schedules of a container."""

    name = "scheduling"

    def __init__(self) -> None:
        self._definitions: dict[str, ScheduleDefinition] = {}
        self._handled: set[MessageType] = set()
        self._services: Services | None = None

    def add(self, definition: ScheduleDefinition) -> None:
        """Add a schedule."""
        self._definitions[definition.name] = definition

    def register(self, builder: Builder, /) -> None:
        """Add the worker and the operators' service."""
        self._services = builder.services
        self._definitions.clear()
        self._handled.clear()
        builder.on_handler(self._note)
        builder.use(QueuesFeature)
        builder.need(Storage, NamedValueStore)
        services = builder.services

        from catga_core.features.scheduling.enqueueing import TickEnqueuer
        from catga_core.features.scheduling.operator import Schedules
        from catga_core.features.scheduling.worker import ScheduleWorker

        def values() -> NamedValueStore:
            return services.get(NamedValueStore)

        def enqueuer(mediator: CatgaMediator, clock: Clock, **_services: object) -> TickEnqueuer:
            return TickEnqueuer(
                values,
                lambda: services.get(Storage),
                mediator,
                clock,
                lambda: services.get(DurableTransport).capabilities.transactional,
                self._handled.__contains__,
            )

        def worker(enqueuer: TickEnqueuer, clock: Clock) -> ScheduleWorker:
            return ScheduleWorker(self._all, values, enqueuer, clock)

        def operator(
            worker: ScheduleWorker, enqueuer: TickEnqueuer, mediator: CatgaMediator, clock: Clock
        ) -> Schedules:
            return Schedules(self._all, worker, enqueuer, mediator, clock)

        own = {"mediator": CatgaMediator, "clock": Clock}
        stores = {"values": NamedValueStore, "storage": Storage, "transport": DurableTransport}
        builder.add_service(TickEnqueuer, enqueuer, {**own, **stores}, name="tick_enqueuer")
        needs = {"enqueuer": TickEnqueuer, "clock": Clock}
        builder.add_worker(ScheduleWorker, worker, needs, name="schedule_worker")
        needs = {"worker": ScheduleWorker, "enqueuer": TickEnqueuer, **own}
        builder.add_service(Schedules, operator, needs, name="schedules")

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Check the commands of each key, and that last ticks are kept where units of work and other replicas are."""
        definitions = self._all()
        yield from different_commands(definitions)
        if graph.same_storage(NamedValueStore, Storage) is False:
            yield Problem(
                f"Schedules keep their last ticks in {graph.storage_of(NamedValueStore)}, but units of work are those of "
                f"{graph.storage_of(Storage)}, so a tick could be run twice. Take both from one storage."
            )
        if self._services is not None:
            yield from unshared_ticks(definitions, graph, self._services.get(DurableTransport))

    def health(self) -> Mapping[str, Health]:
        """Report nothing: the worker reports."""
        return {}

    def _note(self, handler: HandlerDefinition) -> None:
        self._handled.add(handler.message_type)

    def _all(self) -> Sequence[ScheduleDefinition]:
        return list(self._definitions.values())
