"""A set of stores in one SQLite file."""

from __future__ import annotations

from catga_core.clock import Clock, SystemClock
from catga_core.interfaces.checkpoints import CheckpointStore
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.event_log import EventLog
from catga_core.interfaces.idempotency import IdempotencyStore
from catga_core.interfaces.inbox import InboxStore
from catga_core.interfaces.locks import LockProvider
from catga_core.interfaces.outbox import OutboxStore
from catga_core.interfaces.snapshots import SnapshotStore
from catga_core.interfaces.stores import Stores
from catga_sqlite.checkpoints import SqliteCheckpoints
from catga_sqlite.dead_letters import SqliteDeadLetters
from catga_sqlite.events import SqliteEventLog
from catga_sqlite.idempotency import SqliteIdempotency
from catga_sqlite.inbox import SqliteInbox
from catga_sqlite.locks import SqliteLocks
from catga_sqlite.options import SqliteOptions
from catga_sqlite.outbox import SqliteOutbox
from catga_sqlite.snapshots import SqliteSnapshots
from catga_sqlite.storage import SqliteStorage


def sqlite_stores(options: SqliteOptions, clock: Clock | None = None) -> Stores:
    """Return every store, keeping its data in one SQLite file.

    Parameters:
        options: which file, and what to promise of it.
        clock: measures leases and expiry; the machine's for `None`.

    Returns:
        stores whose `storage` is to be started before they are used, and stopped in the end.
    """
    storage = SqliteStorage(options, clock or SystemClock())
    return Stores(
        storage,
        {
            EventLog: SqliteEventLog(storage),
            SnapshotStore: SqliteSnapshots(storage),
            CheckpointStore: SqliteCheckpoints(storage),
            IdempotencyStore: SqliteIdempotency(storage),
            InboxStore: SqliteInbox(storage),
            OutboxStore: SqliteOutbox(storage),
            DeadLetterStore: SqliteDeadLetters(storage),
            LockProvider: SqliteLocks(storage),
        },
    )
