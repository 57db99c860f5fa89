"""A set of stores in one SQLite file."""

from __future__ import annotations

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
from catga_sqlite.options import SqliteOptions
from catga_sqlite.storage import SqliteStorage
from catga_sqlite.stores.checkpoints import SqliteCheckpointStore
from catga_sqlite.stores.dead_letters import SqliteDeadLetterStore
from catga_sqlite.stores.event_log import SqliteEventLog
from catga_sqlite.stores.idempotency import SqliteIdempotencyStore
from catga_sqlite.stores.inbox import SqliteInboxStore
from catga_sqlite.stores.locks import SqliteLockProvider
from catga_sqlite.stores.memberships import SqliteMembershipStore
from catga_sqlite.stores.named_values import SqliteNamedValueStore
from catga_sqlite.stores.outbox import SqliteOutboxStore
from catga_sqlite.stores.queue import SqliteQueueStore
from catga_sqlite.stores.sagas import SqliteSagaStore
from catga_sqlite.stores.snapshots import SqliteSnapshotStore


def sqlite_stores(options: SqliteOptions, clock: Clock | None = None) -> Stores:
    """Return every store, keeping its data in one SQLite file.

    Args:
        options: Which file, and what to promise of it.
        clock: Measures leases and expiry; the machine's for `None`.

    Returns:
        Stores whose `storage` is to be started before they are used, and stopped in the end.
    """
    storage = SqliteStorage(options, clock or SystemClock())
    return Stores(
        storage,
        {
            EventLog: SqliteEventLog(storage),
            SnapshotStore: SqliteSnapshotStore(storage),
            CheckpointStore: SqliteCheckpointStore(storage),
            IdempotencyStore: SqliteIdempotencyStore(storage),
            InboxStore: SqliteInboxStore(storage),
            OutboxStore: SqliteOutboxStore(storage),
            QueueStore: SqliteQueueStore(storage),
            SagaStore: SqliteSagaStore(storage),
            DeadLetterStore: SqliteDeadLetterStore(storage),
            LockProvider: SqliteLockProvider(storage),
            MembershipStore: SqliteMembershipStore(storage),
            NamedValueStore: SqliteNamedValueStore(storage),
        },
    )
