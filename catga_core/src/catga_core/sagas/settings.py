"""What a run needs besides its saga: the services and policies of the container."""

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
from catga_core.messages.results import Success
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas.journal import Journal
from catga_core.sagas.saga import Saga
from catga_core.sagas.types import SagaType


class Children(Protocol):
    """Starts and compensates the sagas that are steps of others."""

    async def begin_child(
        self, parent: str, transaction_id: str, saga: type[Saga[Any, Any]], data: Any
    ) -> None:
        """Start a saga as a part of another; one that is known is left alone."""
        ...

    async def end_of(self, transaction_id: str) -> Success[Any] | None:
        """Return what a saga ended with, `None` where it has not ended.

        Raises:
            CatgaError: The error that it failed with.
        """
        ...

    async def compensate_child(self, transaction_id: str) -> None:
        """Have a completed saga compensated.

        Raises:
            CatgaError: A compensation failed.
        """
        ...

    def type_of(self, saga: type[Saga[Any, Any]]) -> SagaType:
        """Return a registered saga.

        Raises:
            ConfigurationError: It is not registered.
        """
        ...


class SagaCounters(msgspec.Struct):
    """What the sagas of this process have come to, and have needed, since it began.

    Args:
        ended: How many have ended, by state.
        resumed: How often one was resumed: one that a process had left, or whose wait was over.
        retried: How many further attempts the steps and compensations took that ended here.
    """

    ended: dict[SagaState, int] = msgspec.field(default_factory=dict[SagaState, int])
    resumed: int = 0
    retried: int = 0

    def count(self, state: SagaState) -> None:
        """Count one that ended."""
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
        retry: When a step is tried again.
        compensation_retry: When a compensation is tried again.
        linger: Seconds for which a saga that waits stays in memory.
        counters: Counts what the sagas of this process come to.
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
