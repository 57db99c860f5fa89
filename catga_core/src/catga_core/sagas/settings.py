"""The services and policies of the container that runs of sagas use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from catga_core.clock import Clock
from catga_core.interfaces.saga_records import (
    SagaPause,
    SagaRecord,
    SagaState,
)
from catga_core.interfaces.saga_store import SagaStore
from catga_core.interfaces.storage import Storage
from catga_core.mediator import CatgaMediator
from catga_core.messages.registry import MessageRegistry
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas.journal import Journal
from catga_core.sagas.results import SagaResult
from catga_core.sagas.saga import Saga
from catga_core.sagas.types import SagaType


class Children(Protocol):
    """Starts and compensates the sagas that are steps of others."""

    async def begin_child(
        self, parent: str, transaction_id: str, saga: type[Saga[Any, Any]], data: Any
    ) -> None:
        """Start a child saga, unless its transaction id is known."""
        ...

    async def end_of(self, transaction_id: str) -> SagaResult[Any] | None:
        """Return the result of a saga, `None` if it has not ended.

        Raises:
            CatgaError: The store is away, or the result cannot be decoded.
        """
        ...

    async def compensate_child(self, transaction_id: str) -> None:
        """Compensate a completed saga.

        Raises:
            CatgaError: A compensation failed.
        """
        ...

    def type_of(self, saga: type[Saga[Any, Any]]) -> SagaType:
        """Return a registered saga.

        Raises:
            ConfigurationError: The saga is not registered.
        """
        ...


class SagaCounters(msgspec.Struct):
    """Counts of ended sagas, resumptions and retries in this process.

    Args:
        ended: The number of ended sagas, by state.
        resumed: The number of resumptions of sagas that a process had left or whose wait was over.
        retried: The number of attempts after the first, of the steps and compensations that ended here.
    """

    ended: dict[SagaState, int] = msgspec.field(default_factory=dict[SagaState, int])
    resumed: int = 0
    retried: int = 0

    def count(self, state: SagaState) -> None:
        """Count an ended saga."""
        self.ended[state] = self.ended.get(state, 0) + 1


class Services(msgspec.Struct, frozen=True):
    """The services and policies that runs of sagas share.

    Args:
        store: Returns the current store.
        storage: Returns the current storage.
        mediator: Sends commands, publishes events.
        clock: The container's clock.
        registry: Decodes events.
        children: Runs child sagas.
        retry: The retry policy of steps.
        compensation_retry: The retry policy of compensations.
        linger: Seconds that a waiting saga stays in memory.
        counters: Counts the outcomes of the sagas of this process.
        write_letter: Ends a saga whose compensation failed, with its dead letter.
    """

    store: Callable[[], SagaStore]
    storage: Callable[[], Storage]
    mediator: CatgaMediator
    clock: Clock
    registry: MessageRegistry
    children: Children
    retry: RetryPolicy
    compensation_retry: RetryPolicy
    linger: float
    counters: SagaCounters
    write_letter: Callable[[SagaRecord, SagaType, Journal, SagaPause], Awaitable[None]]
