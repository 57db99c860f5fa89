"""Every store that Redis has."""

from __future__ import annotations

from catga_core.clock import Clock
from catga_core.interfaces.stores import Stores
from catga_redis.checkpoints import RedisCheckpointStore
from catga_redis.dead_letters import RedisDeadLetterStore
from catga_redis.event_log import RedisEventLog
from catga_redis.idempotency import RedisIdempotencyStore
from catga_redis.inbox import RedisInboxStore
from catga_redis.locks import RedisLockProvider
from catga_redis.options import RedisOptions
from catga_redis.outbox import RedisOutboxStore
from catga_redis.snapshots import RedisSnapshotStore
from catga_redis.storage import RedisStorage


def redis_stores(options: RedisOptions, clock: Clock) -> Stores:
    """Return the stores of one Redis; those that the options switch off are `None`.

    Parameters:
        options: which Redis, and which stores.
        clock: what leases and expiry follow; the server's own time where it is `SystemClock`.
    """
    storage = RedisStorage(options, clock)
    events = options.enable_event_store
    return Stores(
        storage=storage,
        event_log=RedisEventLog(storage) if events else None,
        snapshots=RedisSnapshotStore(storage) if events else None,
        checkpoints=RedisCheckpointStore(storage) if events else None,
        idempotency=RedisIdempotencyStore(storage) if options.enable_idempotency else None,
        inbox=RedisInboxStore(storage) if options.enable_inbox else None,
        outbox=RedisOutboxStore(storage) if options.enable_outbox else None,
        dead_letters=RedisDeadLetterStore(storage) if options.enable_dead_letters else None,
        locks=RedisLockProvider(storage) if options.enable_locks else None,
    )
