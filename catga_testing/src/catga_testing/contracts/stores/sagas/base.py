"""The fixtures of the sagas' kit, and what its tests begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
import pytest

from catga_core.interfaces import (
    ClaimedSaga,
    NewSaga,
    SagaClaim,
    SagaKind,
    SagaPause,
    SagaSignal,
    SagaState,
    SagaStore,
    SagaWait,
    Stores,
)
from catga_testing.contracts.stores.base import StoresContractBase, both

AMPLE = 3600.0
"""Seconds of a lease that does not run out."""

NAME = "OrderSaga"
"""The name of most sagas."""

KIND = SagaKind(NAME, 1)
"""What most tests can run."""

TOPIC = "OrderPaid/o-1"
"""What most tests wait for."""

DONE = SagaPause(SagaState.COMPLETED, outcome=b"done")
"""The end of most sagas."""

TwoSagaStores: TypeAlias = tuple[SagaStore, SagaStore]


class SagaContractBase(StoresContractBase):
    """The sagas of one test."""

    @pytest.fixture
    def sagas(self, stores: Stores) -> SagaStore:
        """Return the saga store."""
        return stores[SagaStore]

    @pytest.fixture
    def saga_stores(self, pair: tuple[Stores, Stores]) -> TwoSagaStores:
        """Return the saga stores of one process or of two."""
        return both(pair, SagaStore)


def saga(transaction_id: str, **given: Any) -> NewSaga:
    """Return a saga that begins.

    Args:
        transaction_id: Its identity.
        given: Fields to set.
    """
    made = NewSaga(transaction_id, NAME, 1, "json", b"data")
    return msgspec.structs.replace(made, **given)


async def begun(sagas: SagaStore, transaction_id: str, *, lease: float = AMPLE, **given: Any) -> SagaClaim:
    """Begin a saga, and return the claim of it."""
    answer = await sagas.begin(saga(transaction_id, **given), lease=lease)
    assert answer.created
    assert answer.claim is not None
    return answer.claim


async def paused(
    sagas: SagaStore,
    transaction_id: str,
    due_at: float | None = None,
    *,
    topics: Sequence[str] = (),
    **given: Any,
) -> None:
    """Begin a saga, and leave it waiting for a time or for topics."""
    claim = await begun(sagas, transaction_id, **given)
    pause = SagaPause(SagaState.WAITING, due_at=due_at, waits=tuple(map(SagaWait, topics)))
    await sagas.release(claim, [], after=0, pause=pause)


async def ended(sagas: SagaStore, transaction_id: str, pause: SagaPause = DONE, **given: Any) -> None:
    """Begin a saga, and end it."""
    claim = await begun(sagas, transaction_id, **given)
    await sagas.release(claim, [], after=0, pause=pause)


async def taken(
    sagas: SagaStore, *kinds: SagaKind, limit: int = 100, lease: float = AMPLE
) -> list[ClaimedSaga]:
    """Claim sagas that are due."""
    return list(await sagas.take(kinds or (KIND,), limit=limit, lease=lease))


def ids(claimed: Sequence[ClaimedSaga]) -> list[str]:
    """Return the transaction ids of claimed sagas."""
    return [each.record.saga.transaction_id for each in claimed]


def signal(message_id: str, topic: str = TOPIC) -> SagaSignal:
    """Return a signal of a topic."""
    return SagaSignal(topic, message_id, b"data")
