"""Every store in this process's memory: as isolated and atomic as a database's, and gone with the process."""

from catga_core.memory.stores.checkpoints import MemoryCheckpoints
from catga_core.memory.stores.dead_letters import MemoryDeadLetters
from catga_core.memory.stores.event_log import MemoryEventLog
from catga_core.memory.stores.idempotency import MemoryIdempotency
from catga_core.memory.stores.inbox import MemoryInbox
from catga_core.memory.stores.locks import MemoryLocks
from catga_core.memory.stores.outbox import MemoryOutbox
from catga_core.memory.stores.snapshots import MemorySnapshots
from catga_core.memory.stores.storage import MemoryStorage
from catga_core.memory.stores.stores import MEMORY_PORTS, memory_stores

__all__ = [
    "MEMORY_PORTS",
    "MemoryCheckpoints",
    "MemoryDeadLetters",
    "MemoryEventLog",
    "MemoryIdempotency",
    "MemoryInbox",
    "MemoryLocks",
    "MemoryOutbox",
    "MemorySnapshots",
    "MemoryStorage",
    "memory_stores",
]
