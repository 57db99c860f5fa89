"""How SQLite gets into a container."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from catga_core.clock import Clock
from catga_core.interfaces.stores import Stores
from catga_core.plugins import plugin
from catga_sqlite.options import SqliteOptions

if TYPE_CHECKING:
    from catga_core.container import CatgaContainer


@plugin(api=1)
def add_sqlite_catga(container: CatgaContainer, options: str | os.PathLike[str] | SqliteOptions) -> None:
    """Keep everything that is to last in one SQLite file: events, outbox, inbox, idempotency, dead letters, locks.

    Parameters:
        container: the application's container; for each store the last call wins.
        options: a path (`"app.db"`), a URL (`"sqlite:///app.db"`, see `SqliteOptions.from_url`), or `SqliteOptions`.

    Raises:
        ConfigurationError: for options that cannot work; for a file that cannot be used, when the container starts.
    """
    from catga_core.container.app.stores import STORE_PORTS, add_stores

    if isinstance(options, str):
        settings = SqliteOptions.from_url(options)
    else:
        settings = options if isinstance(options, SqliteOptions) else SqliteOptions(options)

    def make(clock: Clock) -> Stores:
        # sqlite3 is loaded when the container starts, not when this package is imported.
        from catga_sqlite.stores import sqlite_stores

        return sqlite_stores(settings, clock)

    add_stores(container, make, tuple(STORE_PORTS), name="sqlite")
