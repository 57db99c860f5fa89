"""A store used from an event loop other than that of its storage."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from catga_core import CatgaError, ErrorCode
from catga_core.interfaces import (
    CheckpointStore,
    DeadLetterStore,
    EventLog,
    IdempotencyStore,
    InboxStore,
    LockProvider,
    MembershipStore,
    NamedValueStore,
    OutboxStore,
    SnapshotStore,
    Stores,
)
from catga_testing.contracts.event_loops import in_another_loop
from catga_testing.contracts.limits import SOON
from catga_testing.contracts.stores.base import StoresContractBase
from catga_testing.contracts.stores.records import appends

_USES: Mapping[Any, Callable[[Any], tuple[Callable[[], Awaitable[Any]], ...]]] = {
    EventLog: lambda log: (lambda: log.append([appends("orders-1")]), lambda: log.version("orders-1")),
    OutboxStore: lambda outbox: (lambda: outbox.lease(limit=1, lease=1.0), outbox.stats),
    InboxStore: lambda inbox: (lambda: inbox.record("m", "h"), lambda: inbox.seen("m", "h")),
    IdempotencyStore: lambda idempotency: (lambda: idempotency.claim("k", lease=1.0),),
    DeadLetterStore: lambda letters: (letters.count, lambda: letters.remove("x")),
    SnapshotStore: lambda snapshots: (lambda: snapshots.load("orders-1", "state", schema_version=1),),
    CheckpointStore: lambda checkpoints: (lambda: checkpoints.save("c", 1), lambda: checkpoints.load("c")),
    LockProvider: lambda locks: (lambda: locks.acquire("l", lease=1.0),),
    MembershipStore: lambda groups: (
        lambda: groups.announce("g", "a", lease=1.0),
        lambda: groups.members("g"),
    ),
    NamedValueStore: lambda values: (lambda: values.set("v", 1), lambda: values.get("v")),
}


class EventLoopsContract(StoresContractBase):
    """It is refused at once, and the event loop of the storage goes on."""

    async def test_use_from_another_event_loop_is_refused_at_once(self, stores: Stores) -> None:
        """With PERSISTENCE_FAILED that is not retryable: nothing is written, and nothing hangs."""
        for port, uses in _USES.items():
            if port not in stores:
                continue
            for use in uses(stores[port]):
                refused = await in_another_loop(use)

                assert isinstance(refused, CatgaError), (port.__name__, refused)
                assert refused.code == ErrorCode.PERSISTENCE_FAILED
                assert not refused.retryable

        async with asyncio.timeout(SOON):
            for port, uses in _USES.items():
                if port in stores:
                    for use in uses(stores[port]):
                        await use()
