"""Whether anybody has written, asked cheaply."""

from __future__ import annotations

import contextlib
import sqlite3

from catga_sqlite.engine.opening import open_reader
from catga_sqlite.options import SqliteOptions


class Probe:
    """A connection that reads nothing but the number that SQLite changes with every commit of another connection.

    Args:
        options: Which file.
    """

    def __init__(self, options: SqliteOptions) -> None:
        self._options = options
        self._connection: sqlite3.Connection | None = None
        self._seen: int | None = None

    def changed(self, _connection: sqlite3.Connection) -> bool:
        """Tell whether anything was committed since the last time; the first time, whether there may be.

        It is run by one reading thread after the other, on a connection that no other uses: the number counts for one
        connection only.
        """
        if self._connection is None:
            self._connection = open_reader(self._options)
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        changed = bool(version != self._seen)
        self._seen = version
        return changed

    def close(self) -> None:
        """Close the connection; it holds no lock and writes nothing, so this does not wait."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
            self._seen = None
