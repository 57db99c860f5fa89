"""In-memory stores: isolated and atomic as a database, lost with the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from catga_core.clock import Clock, SystemClock
from catga_core.interfaces.checkpoints import CheckpointStore
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.event_log import EventLog
from catga_core.interfaces.idempotency import IdempotencyStore
from catga_core.interfaces.inbox import InboxStore
from catga_core.interfaces.locks import LockProvider
from catga_core.interfaces.memberships import MembershipStore
from catga_core.interfaces.named_values import NamedValueStore
from catga_core.interfaces.outbox import OutboxStore
from catga_core.interfaces.queue import QueueStore
from catga_core.interfaces.saga_store import SagaStore
from catga_core.interfaces.snapshots import SnapshotStore
from catga_core.interfaces.stores import Stores
from catga_core.memory.storage import MemoryStorage
from catga_core.memory.stores.checkpoints import MemoryCheckpointStore
from catga_core.memory.stores.dead_letters import MemoryDeadLetterStore
from catga_core.memory.stores.event_log import MemoryEventLog
from catga_core.memory.stores.idempotency import MemoryIdempotencyStore
from catga_core.memory.stores.inbox import MemoryInboxStore
from catga_core.memory.stores.locks import MemoryLockProvider
from catga_core.memory.stores.memberships import MemoryMembershipStore
from catga_core.memory.stores.named_values import MemoryNamedValueStore
from catga_core.memory.stores.outbox import MemoryOutboxStore
from catga_core.memory.stores.queue import MemoryQueueStore
from catga_core.memory.stores.sagas import MemorySagaStore
from catga_core.memory.stores.snapshots import MemorySnapshotStore

__all__ = [
    "MEMORY_PORTS",
    "MemoryCheckpointStore",
    "MemoryDeadLetterStore",
    "MemoryEventLog",
    "MemoryIdempotencyStore",
    "MemoryInboxStore",
    "MemoryLockProvider",
    "MemoryMembershipStore",
    "MemoryNamedValueStore",
    "MemoryOutboxStore",
    "MemoryQueueStore",
    "MemorySagaStore",
    "MemorySnapshotStore",
    "MemoryStorage",
    "memory_stores",
]

_MAKERS: Mapping[Any, Callable[[MemoryStorage, Clock], object]] = {
    EventLog: lambda storage, _: MemoryEventLog(storage),
    SnapshotStore: lambda storage, _: MemorySnapshotStore(storage),
    CheckpointStore: MemoryCheckpointStore,
    IdempotencyStore: MemoryIdempotencyStore,
    InboxStore: MemoryInboxStore,
    OutboxStore: MemoryOutboxStore,
    QueueStore: MemoryQueueStore,
    SagaStore: MemorySagaStore,
    DeadLetterStore: lambda storage, _: MemoryDeadLetterStore(storage),
    LockProvider: MemoryLockProvider,
    MembershipStore: MemoryMembershipStore,
    NamedValueStore: lambda storage, _: MemoryNamedValueStore(storage),
}

MEMORY_PORTS: tuple[Any, ...] = tuple(_MAKERS)
"""The ports of which there is a store in memory."""


def memory_stores(clock: Clock | None = None, storage: MemoryStorage | None = None) -> Stores:
    """Return every store, keeping its data in this process's memory.

    Args:
        clock: measures leases and expiry; the machine's for `None`.
        storage: where the data is, shared by all the stores made over the same one; a new one for `None`.

    Returns:
        Stores that are isolated and atomic as those of a database are, and lose everything with the process.
    """
    clock = clock or SystemClock()
    storage = storage or MemoryStorage()
    return Stores(storage, {port: make(storage, clock) for port, make in _MAKERS.items()})
