"""Every store in this process's memory: as isolated and atomic as a database's, and gone with the process."""

from catga_core.local.stores.checkpoints import MemoryCheckpoints
from catga_core.local.stores.dead_letters import MemoryDeadLetters
from catga_core.local.stores.event_log import MemoryEventLog
from catga_core.local.stores.idempotency import MemoryIdempotency
from catga_core.local.stores.inbox import MemoryInbox
from catga_core.local.stores.locks import MemoryLocks
from catga_core.local.stores.outbox import MemoryOutbox
from catga_core.local.stores.snapshots import MemorySnapshots
from catga_core.local.stores.storage import MemoryStorage
from catga_core.local.stores.stores import memory_stores

__all__ = [
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
