"""The fixtures of the outbox's kit, and what its tests lease with."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from catga_core.interfaces import LeasedMessage, OutboxMessage, OutboxStore, Stores
from catga_testing.contracts.stores.base import StoresContractBase, both
from catga_testing.contracts.stores.records import message

AMPLE = 3600.0
"""Seconds of a lease that does not run out."""

Two = tuple[OutboxStore, OutboxStore]


class OutboxContractBase(StoresContractBase):
    """The outbox of one test."""

    @pytest.fixture
    def outbox(self, stores: Stores) -> OutboxStore:
        """Return the outbox."""
        return stores[OutboxStore]

    @pytest.fixture
    def outboxes(self, pair: tuple[Stores, Stores]) -> Two:
        """Return the outboxes of one process or of two."""
        return both(pair, OutboxStore)


async def filled(outbox: OutboxStore, *names: str) -> list[OutboxMessage]:
    """Add messages one by one, each called by its id: what is before a `-` in it is its key, `-` alone is none."""
    given = [message(name, key=name.partition("-")[0] or None) for name in names]
    for each in given:
        await outbox.add([each])
    return given


async def lease(outbox: OutboxStore, limit: int = 100, *, lease: float = AMPLE) -> list[LeasedMessage]:
    """Take messages that are due."""
    return await outbox.lease(limit=limit, lease=lease)


def names(leased: Sequence[LeasedMessage]) -> list[str]:
    """Return the ids of leased messages."""
    return [each.message.context.message_id for each in leased]
