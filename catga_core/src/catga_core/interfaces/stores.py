"""What one storage brings: every store it has."""

from __future__ import annotations

import msgspec

from catga_core.interfaces.checkpoints import CheckpointStore
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.event_log import EventLog
from catga_core.interfaces.idempotency import IdempotencyStore
from catga_core.interfaces.inbox import InboxStore
from catga_core.interfaces.locks import LockProvider
from catga_core.interfaces.outbox import OutboxStore
from catga_core.interfaces.snapshots import SnapshotStore
from catga_core.interfaces.storage import Storage


class Stores(msgspec.Struct, frozen=True):
    """The stores of one storage; what it does not have is `None`.

    Parameters:
        storage: where they keep their data.
        event_log: streams of events.
        snapshots: states of streams.
        checkpoints: how far followers have come.
        idempotency: claims and results.
        inbox: which handler has had which message.
        outbox: messages to send after the commit.
        dead_letters: messages that could not be handled.
        locks: one holder at a time.
    """

    storage: Storage
    event_log: EventLog | None = None
    snapshots: SnapshotStore | None = None
    checkpoints: CheckpointStore | None = None
    idempotency: IdempotencyStore | None = None
    inbox: InboxStore | None = None
    outbox: OutboxStore | None = None
    dead_letters: DeadLetterStore | None = None
    locks: LockProvider | None = None
