"""Assembles the executor of a process: for a container, and for tools that run sagas without one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from catga_core.clock import Clock
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.saga_records import ClaimedSaga
from catga_core.interfaces.saga_store import SagaStore
from catga_core.interfaces.storage import Storage
from catga_core.mediator import CatgaMediator
from catga_core.messages.registry import MessageRegistry
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas.children import ChildSagas
from catga_core.sagas.executor import SagaExecutor
from catga_core.sagas.letters import letter_writer
from catga_core.sagas.options import SagaOptions
from catga_core.sagas.run import SagaRun
from catga_core.sagas.runs import SagaRuns
from catga_core.sagas.saga import MakeSaga, Saga
from catga_core.sagas.settings import Services
from catga_core.sagas.types import SagaType


def assemble_executor(
    types: Mapping[tuple[str, int], SagaType],
    makers: Mapping[tuple[str, int], MakeSaga],
    options: SagaOptions,
    *,
    store: Callable[[], SagaStore],
    storage: Callable[[], Storage],
    letters: Callable[[], DeadLetterStore],
    mediator: CatgaMediator,
    clock: Clock,
    registry: MessageRegistry,
) -> SagaExecutor:
    """Return an executor; it runs no saga until its runs are started.

    Args:
        types: The registered sagas, by name and version.
        makers: The factory of each.
        options: The options of sagas.
        store: Returns the current store.
        storage: Returns the current storage.
        letters: Returns the current store of dead letters.
        mediator: Sends commands, publishes events.
        clock: The container's clock.
        registry: Decodes events.
    """
    retry = RetryPolicy(
        max_attempts=options.max_attempts,
        delay_seconds=options.retry_delay_seconds,
        max_delay_seconds=options.retry_max_delay_seconds,
    )

    def begin(claimed: ClaimedSaga, given: Saga[Any, Any] | None) -> SagaRun:
        key = claimed.record.saga.name, claimed.record.saga.version
        make = makers[key]

        async def use(call: Callable[[Saga[Any, Any]], Awaitable[None]]) -> None:
            await (make(call) if given is None else call(given))

        return SagaRun(claimed, types[key], use, shared)

    runs = SagaRuns(store, begin, clock, options.lease_seconds)
    executor = SagaExecutor(types, store, storage, runs, clock, options)
    write_letter = letter_writer(letters, storage, clock)
    shared = Services(
        store,
        storage,
        mediator,
        clock,
        registry,
        ChildSagas(executor, types, store),
        retry,
        msgspec.structs.replace(retry, max_attempts=options.compensation_max_attempts),
        options.linger_seconds,
        executor.counters,
        write_letter,
    )
    return executor
