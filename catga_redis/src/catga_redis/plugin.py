"""How Redis gets into a container."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from catga_core.container import add_stores
from catga_core.errors import ConfigurationError
from catga_core.plugins import plugin
from catga_redis.options import RedisOptions, as_options

if TYPE_CHECKING:
    from catga_core.container import CatgaContainer


@plugin(api=1)
def add_redis_catga(
    container: CatgaContainer, options: str | RedisOptions = "redis://localhost:6379/0"
) -> None:
    """Keep state in Redis: event streams, idempotency, inbox, outbox, queues, sagas, dead letters and locks.

    Args:
        container: The application's container; the last call for a store wins.
        options: A URL such as `redis://host:6379/0` (see `RedisOptions.from_url`), or `RedisOptions`, whose `enable_`
            options choose the stores.

    Raises:
        ConfigurationError: For options that cannot work, and when redis-py is not installed.
    """
    settings = as_options(options)
    if importlib.util.find_spec("redis") is None or importlib.util.find_spec("hiredis") is None:
        raise ConfigurationError(
            'the Redis stores need redis-py with hiredis, which is not installed: pip install "catga[redis]"'
        )
    # Imported here: redis-py takes as long to import as everything else together.
    from catga_redis.stores import enabled_ports, redis_stores

    ports = enabled_ports(settings)
    if not ports:
        raise ConfigurationError(
            "every enable_ option of Redis is off, so nothing is kept there: switch one on, or leave Redis out"
        )
    add_stores(container, lambda clock: redis_stores(settings, clock), ports, name="redis")
