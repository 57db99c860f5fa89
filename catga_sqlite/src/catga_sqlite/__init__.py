"""Durable state for Catga in one SQLite file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catga_sqlite.options import SqliteOptions
from catga_sqlite.plugin import add_sqlite_catga
from catga_sqlite.version import __version__

if TYPE_CHECKING:
    from catga_sqlite.engine.connection import SqliteConnection, SqliteResult
    from catga_sqlite.storage import SqliteStorage
    from catga_sqlite.stores import sqlite_stores
    from catga_sqlite.unit_of_work import SqliteUnitOfWork

__all__ = [
    "SqliteConnection",
    "SqliteOptions",
    "SqliteResult",
    "SqliteStorage",
    "SqliteUnitOfWork",
    "__version__",
    "add_sqlite_catga",
    "sqlite_stores",
]

# The rest needs sqlite3, which a program that only names its file does not load before it starts.
_HOMES = {
    "SqliteConnection": "engine.connection",
    "SqliteResult": "engine.connection",
    "SqliteStorage": "storage",
    "SqliteUnitOfWork": "unit_of_work",
    "sqlite_stores": "stores",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)
