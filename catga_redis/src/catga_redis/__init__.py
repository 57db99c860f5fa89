"""Durable state for Catga in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catga_redis.options import RedisOptions
from catga_redis.plugin import add_redis_catga
from catga_redis.version import __version__

if TYPE_CHECKING:
    from catga_redis.engine.application import RedisConnection
    from catga_redis.storage import RedisStorage
    from catga_redis.stores import redis_stores

__all__ = [
    "RedisConnection",
    "RedisOptions",
    "RedisStorage",
    "__version__",
    "add_redis_catga",
    "redis_stores",
]


def __getattr__(name: str) -> Any:
    # redis-py takes as long to import as everything else together: imported when it is asked for.
    if name == "RedisStorage":
        from catga_redis.storage import RedisStorage

        return RedisStorage
    if name == "RedisConnection":
        from catga_redis.engine.application import RedisConnection

        return RedisConnection
    if name == "redis_stores":
        from catga_redis.stores import redis_stores

        return redis_stores
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
