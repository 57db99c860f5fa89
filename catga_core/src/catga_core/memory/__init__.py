"""What works within one process: the local transport and its bus, and stores in memory."""

from catga_core.memory.bus import LocalBus, local_bus
from catga_core.memory.connection import MemoryConnection, MemoryRows
from catga_core.memory.stores import (
    MEMORY_PORTS,
    MemoryCheckpointStore,
    MemoryDeadLetterStore,
    MemoryEventLog,
    MemoryIdempotencyStore,
    MemoryInboxStore,
    MemoryLockProvider,
    MemoryMembershipStore,
    MemoryNamedValueStore,
    MemoryOutboxStore,
    MemorySnapshotStore,
    MemoryStorage,
    memory_stores,
)
from catga_core.memory.transport import LocalTransport

__all__ = [
    "MEMORY_PORTS",
    "LocalBus",
    "LocalTransport",
    "MemoryCheckpointStore",
    "MemoryConnection",
    "MemoryDeadLetterStore",
    "MemoryEventLog",
    "MemoryIdempotencyStore",
    "MemoryInboxStore",
    "MemoryLockProvider",
    "MemoryMembershipStore",
    "MemoryNamedValueStore",
    "MemoryOutboxStore",
    "MemoryRows",
    "MemorySnapshotStore",
    "MemoryStorage",
    "local_bus",
    "memory_stores",
]
