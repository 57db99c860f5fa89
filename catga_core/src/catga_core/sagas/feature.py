"""The feature `sagas`: registers sagas, and runs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from catga_core.clock import Clock
from catga_core.descriptions import with_module
from catga_core.feature import Builder, Graph, Problem
from catga_core.features.checks import other_storage
from catga_core.features.dead_letters.feature import DeadLetterFeature
from catga_core.features.retention.feature import RetentionFeature
from catga_core.features.retention.pruning import Prune
from catga_core.interfaces.dead_letters import DeadLetterSource, DeadLetterStore
from catga_core.interfaces.health import Health
from catga_core.interfaces.saga_store import SagaStore
from catga_core.interfaces.storage import Storage
from catga_core.mediator import CatgaMediator, Dispatcher
from catga_core.messages.registry import MessageRegistry
from catga_core.sagas.options import SagaOptions
from catga_core.sagas.saga import MakeSaga
from catga_core.sagas.types import SagaType


class SagasFeature:
    """Runs the registered sagas of a container.

    Args:
        options: `None` for the defaults.
    """

    name = "sagas"

    def __init__(self, options: SagaOptions | None = None) -> None:
        self._options = options or SagaOptions()
        self._types: dict[tuple[str, int], SagaType] = {}
        self._makers: dict[tuple[str, int], MakeSaga] = {}
        self._problems: list[Problem] = []

    def add(self, type_: SagaType, make: MakeSaga) -> None:
        """Add a saga.

        Args:
            type_: Its class.
            make: Calls a function with an instance of it, in a scope.
        """
        key = type_.name, type_.version
        known = self._types.get(key)
        if known is not None and known.cls is not type_.cls:
            self._problems.append(
                Problem(
                    f"Two sagas are called {type_.name!r} v{type_.version}: {with_module(known.cls)} and {with_module(type_.cls)}. "
                    "Give one of them another name or version with @saga(name=..., version=...)."
                )
            )
        self._types[key] = type_
        self._makers[key] = make

    def knows(self, cls: object) -> bool:
        """Return whether a class is registered."""
        return any(each.cls is cls for each in self._types.values())

    def configure(self, options: SagaOptions) -> None:
        """Set the options of sagas."""
        self._options = options

    def register(self, builder: Builder, /) -> None:
        """Register the executor, the worker, and the pruning of ended sagas."""
        self._types.clear()
        self._makers.clear()
        self._problems.clear()
        builder.need(Storage, SagaStore, DeadLetterStore)
        letters = builder.use(DeadLetterFeature)
        letters.watch()
        builder.use(RetentionFeature).prune("sagas", SagaStore, self._prune)
        services = builder.services

        from catga_core.sagas.assembly import assemble_executor
        from catga_core.sagas.executor import SagaExecutor
        from catga_core.sagas.receiving import SagaSignals
        from catga_core.sagas.recovery import SagaWorker
        from catga_core.sagas.replaying import SagaReplayer

        def store() -> SagaStore:
            return services.get(SagaStore)

        def storage() -> Storage:
            return services.get(Storage)

        def make_executor(
            mediator: CatgaMediator, clock: Clock, registry: MessageRegistry, **_stores: object
        ) -> SagaExecutor:
            return assemble_executor(
                self._types,
                self._makers,
                self._options,
                store=store,
                storage=storage,
                letters=lambda: services.get(DeadLetterStore),
                mediator=mediator,
                clock=clock,
                registry=registry,
            )

        letters.replay_with(
            DeadLetterSource.SAGA,
            lambda: SagaReplayer(
                services.get(SagaExecutor), services.get(DeadLetterStore), services.get(Clock)
            ),
        )

        def make_worker(executor: SagaExecutor, dispatcher: Dispatcher, clock: Clock) -> SagaWorker:
            return SagaWorker(executor, store, clock, self._options, lambda: dispatcher.shutdown_timeout)

        needs = {
            "mediator": CatgaMediator,
            "clock": Clock,
            "registry": MessageRegistry,
            "store": SagaStore,
            "storage": Storage,
            "letters": DeadLetterStore,
        }
        builder.add_service(SagaExecutor, make_executor, needs, name="sagas")

        def make_signals(executor: SagaExecutor, **_stores: object) -> SagaSignals:
            return SagaSignals(executor, store, lambda: list(self._types.values()))

        builder.add_service(
            SagaSignals,
            make_signals,
            {"executor": SagaExecutor, "store": SagaStore},
            name="saga_signals",
        )
        builder.add_worker(
            SagaWorker,
            make_worker,
            {"executor": SagaExecutor, "dispatcher": Dispatcher, "clock": Clock},
            name="saga_worker",
        )

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Check the storage, and that names are used once."""
        yield from self._problems
        yield from other_storage(graph, "add_sagas", "the saga store", SagaStore)
        yield from other_storage(graph, "add_sagas", "the dead letters", DeadLetterStore)

    def health(self) -> Mapping[str, Health]:
        """Return no health; the worker reports it."""
        return {}

    def _prune(self, store: SagaStore) -> Prune:
        return lambda: store.prune(older_than=self._options.retention_seconds)
