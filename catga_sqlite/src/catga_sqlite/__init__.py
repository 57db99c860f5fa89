"""Durable state for Catga in one SQLite file."""

from catga_sqlite.version import __version__

__all__ = ["__version__"]
