"""A set of stores in memory."""

from __future__ import annotations

from catga_core.clock import Clock, SystemClock
from catga_core.interfaces.stores import Stores
from catga_core.memory.stores.checkpoints import MemoryCheckpoints
from catga_core.memory.stores.dead_letters import MemoryDeadLetters
from catga_core.memory.stores.event_log import MemoryEventLog
from catga_core.memory.stores.idempotency import MemoryIdempotency
from catga_core.memory.stores.inbox import MemoryInbox
from catga_core.memory.stores.locks import MemoryLocks
from catga_core.memory.stores.outbox import MemoryOutbox
from catga_core.memory.stores.snapshots import MemorySnapshots
from catga_core.memory.stores.storage import MemoryStorage


def memory_stores(clock: Clock | None = None, storage: MemoryStorage | None = None) -> Stores:
    """Return every store, keeping its data in this process's memory.

    Parameters:
        clock: measures leases and expiry; the machine's for `None`.
        storage: where the data is, shared by all the stores made over the same one; a new one for `None`.

    Returns:
        stores that are isolated and atomic as those of a database are, and lose everything with the process.
    """
    clock = clock or SystemClock()
    storage = storage or MemoryStorage()
    return Stores(
        storage=storage,
        event_log=MemoryEventLog(storage),
        snapshots=MemorySnapshots(storage),
        checkpoints=MemoryCheckpoints(storage, clock),
        idempotency=MemoryIdempotency(storage, clock),
        inbox=MemoryInbox(storage, clock),
        outbox=MemoryOutbox(storage, clock),
        dead_letters=MemoryDeadLetters(storage),
        locks=MemoryLocks(storage, clock),
    )
