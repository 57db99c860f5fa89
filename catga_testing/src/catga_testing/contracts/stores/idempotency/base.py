"""The fixtures of the idempotency store's kit."""

from __future__ import annotations

import pytest

from catga_core.interfaces import Claimed, Completed, IdempotencyStore, Stores
from catga_testing.contracts.stores.base import StoresContractBase, both

TTL = 3600.0
"""Seconds that a result of the kit is remembered, where a test says nothing else."""


class IdempotencyContractBase(StoresContractBase):
    """The idempotency store of one test."""

    @pytest.fixture
    def idempotency(self, stores: Stores) -> IdempotencyStore:
        """Return the idempotency store."""
        return stores[IdempotencyStore]

    @pytest.fixture
    def idempotencies(self, pair: tuple[Stores, Stores]) -> tuple[IdempotencyStore, IdempotencyStore]:
        """Return the idempotency stores of one process or of two."""
        return both(pair, IdempotencyStore)


async def claimed(store: IdempotencyStore, key: str, lease: float) -> Claimed:
    """Claim a key that is to be had."""
    outcome = await store.claim(key, lease=lease)
    assert isinstance(outcome, Claimed), outcome
    return outcome


async def completed(store: IdempotencyStore, key: str) -> Completed:
    """Return a key's result, which is to be there."""
    outcome = await store.claim(key, lease=TTL)
    assert isinstance(outcome, Completed), outcome
    return outcome
