"""Every store that Redis has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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
from catga_redis.options import RedisOptions
from catga_redis.storage import RedisStorage
from catga_redis.stores.checkpoints import RedisCheckpointStore
from catga_redis.stores.dead_letters import RedisDeadLetterStore
from catga_redis.stores.event_log import RedisEventLog
from catga_redis.stores.idempotency import RedisIdempotencyStore
from catga_redis.stores.inbox import RedisInboxStore
from catga_redis.stores.locks import RedisLockProvider
from catga_redis.stores.memberships import RedisMembershipStore
from catga_redis.stores.named_values import RedisNamedValueStore
from catga_redis.stores.outbox import RedisOutboxStore
from catga_redis.stores.queue import RedisQueueStore
from catga_redis.stores.sagas import RedisSagaStore
from catga_redis.stores.snapshots import RedisSnapshotStore

_STORES: Mapping[Any, tuple[str, Callable[[RedisStorage], object]]] = {
    EventLog: ("enable_event_store", RedisEventLog),
    SnapshotStore: ("enable_event_store", RedisSnapshotStore),
    CheckpointStore: ("enable_event_store", RedisCheckpointStore),
    IdempotencyStore: ("enable_idempotency", RedisIdempotencyStore),
    InboxStore: ("enable_inbox", RedisInboxStore),
    OutboxStore: ("enable_outbox", RedisOutboxStore),
    QueueStore: ("enable_queues", RedisQueueStore),
    SagaStore: ("enable_saga_persistence", RedisSagaStore),
    DeadLetterStore: ("enable_dead_letters", RedisDeadLetterStore),
    LockProvider: ("enable_locks", RedisLockProvider),
    MembershipStore: ("enable_event_store", RedisMembershipStore),
    NamedValueStore: ("enable_event_store", RedisNamedValueStore),
}
"""Each port: the option that enables its store, and the store."""


def enabled_ports(options: RedisOptions) -> tuple[Any, ...]:
    """Return the ports whose stores the options enable.

    Args:
        options: the options.
    """
    return tuple(port for port, (flag, _) in _STORES.items() if getattr(options, flag))


def redis_stores(options: RedisOptions, clock: Clock) -> Stores:
    """Return the stores of one Redis that the options enable.

    Args:
        options: which Redis, and which stores.
        clock: what leases and expiry follow; the server's own time where it is `SystemClock`.
    """
    storage = RedisStorage(options, clock)
    return Stores(storage, {port: _STORES[port][1](storage) for port in enabled_ports(options)})
