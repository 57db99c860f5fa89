"""How Redis gets into a container."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from catga_core.container.app.stores import add_stores
from catga_core.errors import ConfigurationError
from catga_core.interfaces.checkpoints import CheckpointStore
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.event_log import EventLog
from catga_core.interfaces.idempotency import IdempotencyStore
from catga_core.interfaces.inbox import InboxStore
from catga_core.interfaces.locks import LockProvider
from catga_core.interfaces.outbox import OutboxStore
from catga_core.interfaces.snapshots import SnapshotStore
from catga_core.plugins import plugin
from catga_redis.options import RedisOptions, as_options

if TYPE_CHECKING:
    from catga_core.container import CatgaContainer


@plugin(api=1)
def add_redis_catga(
    container: CatgaContainer, options: str | RedisOptions = "redis://localhost:6379/0"
) -> None:
    """Keep state in Redis: event streams, idempotency, inbox, outbox, dead letters and locks.

    Parameters:
        container: the application's container; the last call for a store wins.
        options: a URL such as `redis://host:6379/0` (see `RedisOptions.from_url`), or `RedisOptions`, whose `enable_`
            options choose the stores.

    Raises:
        ConfigurationError: for options that cannot work, and when redis-py is not installed.
    """
    settings = as_options(options)
    if importlib.util.find_spec("redis") is None or importlib.util.find_spec("hiredis") is None:
        raise ConfigurationError(
            'the Redis stores need redis-py with hiredis, which is not installed: pip install "catga[redis]"'
        )
    ports = _ports(settings)
    if not ports:
        raise ConfigurationError(
            "every enable_ option of Redis is off, so nothing is kept there: switch one on, or leave Redis out"
        )
    # Imported here: redis-py takes as long to import as everything else together.
    from catga_redis.stores import redis_stores

    add_stores(container, lambda clock: redis_stores(settings, clock), ports, name="redis")


def _ports(options: RedisOptions) -> list[Any]:
    chosen = {
        EventLog: options.enable_event_store,
        SnapshotStore: options.enable_event_store,
        CheckpointStore: options.enable_event_store,
        IdempotencyStore: options.enable_idempotency,
        InboxStore: options.enable_inbox,
        OutboxStore: options.enable_outbox,
        DeadLetterStore: options.enable_dead_letters,
        LockProvider: options.enable_locks,
    }
    return [port for port, enabled in chosen.items() if enabled]
