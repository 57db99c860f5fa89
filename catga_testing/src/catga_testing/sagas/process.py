"""One process of an exploration: executor, runs and recovery worker as in an application, without its container."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import msgspec

from catga_core import CatgaMediator, Clock
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.saga_store import SagaStore
from catga_core.interfaces.storage import Storage
from catga_core.interfaces.stores import Stores
from catga_core.messages.registry import MessageRegistry
from catga_core.sagas import Saga, SagaExecutor, SagaOptions
from catga_core.sagas.assembly import assemble_executor
from catga_core.sagas.recovery import SagaWorker
from catga_core.sagas.saga import MakeSaga
from catga_core.sagas.types import SagaType
from catga_testing.sagas.deliveries import Deliveries, WorldMediator
from catga_testing.sagas.observing import Observer, observe
from catga_testing.sagas.services import Proxied, arguments_of
from catga_testing.sagas.stores import ObservedStorage, ObservedStore
from catga_testing.sagas.trial import Life, Trial


class Kind(msgspec.Struct, frozen=True):
    """A saga's class.

    Args:
        read: What is read from it.
        cls: The class whose objects are observed.
    """

    read: SagaType
    cls: type[Saga[Any, Any]]


class Process:
    """A process that runs sagas until it dies.

    Args:
        number: Its number in the run, from 1.
        trial: The run.
        kinds: The sagas, by name and version.
        services: What the world offers, by name.
        stores: The stores, which every process shares.
        deliveries: Delivers messages.
        clock: The virtual clock.
        registry: Decodes events.
        options: How sagas are run.
    """

    def __init__(
        self,
        number: int,
        trial: Trial,
        kinds: Mapping[tuple[str, int], Kind],
        services: Mapping[str, object],
        stores: Stores,
        deliveries: Deliveries,
        clock: Clock,
        registry: MessageRegistry,
        options: SagaOptions,
    ) -> None:
        self.life: Life = Life(number)
        self._trial = trial
        self._world = services
        self._clock = clock
        life = self.life
        store = cast("SagaStore", ObservedStore(stores[SagaStore], trial, life))
        storage = cast("Storage", ObservedStorage(stores.storage, trial, life))
        self._mediator = cast("CatgaMediator", WorldMediator(deliveries, life))
        self.executor: SagaExecutor = assemble_executor(
            {key: each.read for key, each in kinds.items()},
            {key: self._maker(each) for key, each in kinds.items()},
            options,
            store=lambda: store,
            storage=lambda: storage,
            letters=lambda: stores[DeadLetterStore],
            mediator=self._mediator,
            clock=clock,
            registry=registry,
        )
        self._worker = SagaWorker(self.executor, lambda: store, clock, options, lambda: 1.0)

    async def start(self) -> None:
        """Start to run sagas."""
        await self._worker.start()

    def _maker(self, kind: Kind) -> MakeSaga:
        async def use(call: Callable[[Saga[Any, Any]], Awaitable[None]]) -> None:
            arguments = arguments_of(
                kind.read.cls,
                self._world,
                mediator=self._mediator,
                clock=self._clock,
                given=lambda service, name: Proxied(service, name, self._trial, self.life),
            )
            saga = kind.cls(**arguments)
            observe(saga, Observer(self._trial, self.life))
            await call(saga)

        return use
