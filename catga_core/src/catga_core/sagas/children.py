"""`ChildSagas`: runs and compensates the sagas that are steps of others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from catga_core.errors import CatgaError
from catga_core.interfaces.saga_records import SagaState
from catga_core.interfaces.saga_store import SagaStore
from catga_core.sagas.executor import SagaExecutor
from catga_core.sagas.interventions import failing_entry
from catga_core.sagas.records import result_of
from catga_core.sagas.results import SagaResult
from catga_core.sagas.saga import Saga
from catga_core.sagas.types import SagaType


class ChildSagas:
    """Starts, awaits and compensates sagas for the sagas around them.

    Args:
        executor: Starts and cancels sagas.
        types: The registered sagas, by name and version.
        store: Returns the current store.
    """

    def __init__(
        self,
        executor: SagaExecutor,
        types: Mapping[tuple[str, int], SagaType],
        store: Callable[[], SagaStore],
    ) -> None:
        self._executor = executor
        self._types = types
        self._store = store

    def type_of(self, saga: type[Saga[Any, Any]]) -> SagaType:
        """Return a registered saga.

        Raises:
            ConfigurationError: The saga is not registered.
        """
        return self._executor.type_of(saga)

    async def begin_child(
        self, parent: str, transaction_id: str, saga: type[Saga[Any, Any]], data: Any
    ) -> None:
        """Start a child saga, unless its transaction id is known."""
        await self._executor.start(transaction_id, data, saga, parent=parent)

    async def end_of(self, transaction_id: str) -> SagaResult[Any] | None:
        """Return the result of a child saga, `None` if it has not ended.

        Raises:
            CatgaError: The store is away, or the result cannot be decoded.
        """
        saved = await self._store().read(transaction_id)
        if saved is None or not saved.record.state.is_final:
            return None
        return result_of(saved, self._types.get((saved.record.saga.name, saved.record.saga.version)))

    async def compensate_child(self, transaction_id: str) -> None:
        """Compensate a child saga and wait; cancel it if it has not ended.

        Raises:
            CatgaError: A compensation failed, or the child is parked.
        """
        record = await self._store().get(transaction_id)
        if record is None:
            # The parent saga ended before the child began.
            return
        if not record.state.is_final:
            await self._executor.cancel(transaction_id)
            record = await self._store().wait_final(transaction_id, timeout=math.inf)
        if record is not None and record.state is SagaState.COMPLETED:
            await self._compensate_completed(transaction_id)
            record = await self._store().wait_final(transaction_id, timeout=math.inf)
        if record is None or (record.state.is_final and record.state is not SagaState.COMPENSATION_FAILED):
            return
        how = "could not be compensated" if record.state.is_final else "is parked and was not compensated"
        text = f"The child saga {transaction_id!r} {how}. Resolve that, then resume its parent saga."
        raise CatgaError(text, code="COMPENSATION_FAILED", retryable=False)

    async def _compensate_completed(self, transaction_id: str) -> None:
        hand = self._executor.interventions
        claimed, began = await hand.claim(transaction_id)
        if claimed.record.state is not SagaState.COMPLETED:
            await hand.give_back(claimed)
            return
        error = CatgaError("The parent saga failed.", code="PARENT_FAILED", retryable=False)
        failing = failing_entry(error, "the parent saga")
        await hand.go_on(claimed, [*claimed.entries, failing], SagaState.COMPENSATING, began)
