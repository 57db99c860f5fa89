"""The fixtures of the queues' kit, and what its tests lease with."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from catga_core.interfaces import QueuedMessage, QueueLease, QueueStore, Stores
from catga_testing.contracts.stores.base import StoresContractBase, both
from catga_testing.contracts.stores.place import StoreTime
from catga_testing.contracts.stores.records import queued

AMPLE = 3600.0
"""Seconds of a lease that does not run out."""

QUEUE = "mails"
"""The queue of most tests."""

TwoQueues = tuple[QueueStore, QueueStore]


class QueueContractBase(StoresContractBase):
    """The queues of one test."""

    @pytest.fixture
    def queue(self, stores: Stores) -> QueueStore:
        """Return the queues."""
        return stores[QueueStore]

    @pytest.fixture
    def queue_stores(self, pair: tuple[Stores, Stores]) -> TwoQueues:
        """Return the queues of one process or of two."""
        return both(pair, QueueStore)


async def filled(queue: QueueStore, *names: str, queues: Sequence[str] = (QUEUE,)) -> list[QueuedMessage]:
    """Add messages one by one, each called by its id: what is before a `-` in it is its key, `-` alone is none."""
    given = [queued(name, key=name.partition("-")[0] or None) for name in names]
    for each in given:
        await queue.add(each, queues=queues)
    return given


async def scheduled(queue: QueueStore, time: StoreTime, **seconds: float) -> list[QueuedMessage]:
    """Add messages that are due in a number of leases' time, each called by its id with its key before a `_`."""
    now = time.clock.time()
    given = [
        queued(name.replace("_", "-"), key=name.partition("_")[0] or None, due_at=now + after * time.lease)
        for name, after in seconds.items()
    ]
    for each in given:
        await queue.add(each, queues=[QUEUE])
    return given


async def lease(
    queue: QueueStore,
    limit: int = 100,
    *,
    of: str = QUEUE,
    lease: float = AMPLE,
    longest_delay: float | None = None,
) -> list[QueueLease]:
    """Take messages that are due from one queue."""
    return await queue.lease({of: limit}, lease=lease, longest_delay=longest_delay)


def names(leased: Sequence[QueueLease]) -> list[str]:
    """Return the ids of leased messages."""
    return [each.message.context.message_id for each in leased]
