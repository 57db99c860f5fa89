"""Durable state for Catga in Redis."""

from catga_redis.version import __version__

__all__ = ["__version__"]
