"""How SQLite gets into a container."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from catga_core.clock import Clock
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
from catga_core.plugins import plugin
from catga_sqlite.options import SqliteOptions

if TYPE_CHECKING:
    from catga_core.container import CatgaContainer


SQLITE_PORTS: tuple[Any, ...] = (
    EventLog,
    SnapshotStore,
    CheckpointStore,
    IdempotencyStore,
    InboxStore,
    OutboxStore,
    QueueStore,
    SagaStore,
    DeadLetterStore,
    LockProvider,
    MembershipStore,
    NamedValueStore,
)
"""The ports of which there is a store in SQLite: those of `sqlite_stores`, known without loading sqlite3."""


@plugin(api=1)
def add_sqlite_catga(container: CatgaContainer, options: str | os.PathLike[str] | SqliteOptions) -> None:
    """Keep everything that is to last in one SQLite file: events, outbox, queues, sagas, inbox, locks and the rest.

    Args:
        container: The application's container; for each store the last call wins.
        options: A path (`"app.db"`), a URL (`"sqlite:///app.db"`, see `SqliteOptions.from_url`), or `SqliteOptions`.

    Raises:
        ConfigurationError: For options that cannot work; for a file that cannot be used, when the container starts.
    """
    from catga_core.container import add_stores

    if isinstance(options, str):
        settings = SqliteOptions.from_url(options)
    else:
        settings = options if isinstance(options, SqliteOptions) else SqliteOptions(options)

    def make(clock: Clock) -> Stores:
        # sqlite3 is loaded when the container starts, not when this package is imported.
        from catga_sqlite.stores import sqlite_stores

        return sqlite_stores(settings, clock)

    add_stores(container, make, SQLITE_PORTS, name="sqlite")
