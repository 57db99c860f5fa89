"""Opening the file: connections as they are needed, and clear words where that cannot work."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import time
from collections.abc import Callable
from typing import Final

from catga_core.errors import ConfigurationError
from catga_core.paths import native_path
from catga_sqlite.engine.failures import is_busy, primary_code
from catga_sqlite.engine.schema import migrate
from catga_sqlite.options import SqliteOptions

# STRICT tables came with it; RETURNING and upserts are older.
_OLDEST: Final = (3, 37, 0)
# Bytes that a write-ahead log is cut down to after a checkpoint; one big transaction must not keep its size for ever.
_JOURNAL_LIMIT: Final = 64 * 1024 * 1024
_STATEMENTS: Final = 256
# KiB of pages that the writer keeps: the upper parts of the indices of a few million events.
_CACHE: Final = 16 * 1024
# Seconds between two looks whether another process has let the file go.
_PAUSE: Final = (0.002, 0.02)


def open_writer(options: SqliteOptions) -> sqlite3.Connection:
    """Return the connection that writes, with the tables up to date.

    Args:
        options: Which file.

    Raises:
        ConfigurationError: For a file that cannot be used.
    """
    path = options.file
    if sqlite3.sqlite_version_info < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        raise ConfigurationError(
            f"The SQLite library of this Python is {sqlite3.sqlite_version}; Catga needs {wanted}. Use a newer Python."
        )
    _check_place(path)
    _create(path, options.file_mode)
    try:
        connection = _connect(options)
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    try:
        # SQLite does not wait by itself where two connections switch to the write-ahead log, or recover it, at the same time.
        until = time.monotonic() + options.busy_timeout_seconds
        _when_free(lambda: _prepare(connection, options), until)
        _when_free(lambda: migrate(connection, path, options.application_id), until)
        # From here on the writer retries by itself, more evenly than SQLite's own waiting does.
        connection.execute("PRAGMA busy_timeout = 0").close()
    except sqlite3.Error as error:
        connection.close()
        raise _unusable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(options: SqliteOptions) -> sqlite3.Connection:
    """Return a connection that cannot write.

    Args:
        options: Which file; a writer has been opened before.
    """
    connection = _connect(options)
    connection.execute("PRAGMA query_only = 1").close()
    return connection


def whole_path(connection: sqlite3.Connection) -> str:
    """Return where the file is that was opened, also for a process that has gone to another folder since."""
    return native_path(str(connection.execute("PRAGMA database_list").fetchone()[2]))


def identity_of(path: str) -> tuple[int, int] | None:
    """Return what tells the file of that name from any other, `None` where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116, RUF100
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _connect(options: SqliteOptions) -> sqlite3.Connection:
    # isolation_level=None: transactions are begun here and nowhere else. Each connection is used by one thread at a time,
    # but the one that closes it may be another.
    return sqlite3.connect(
        native_path(options.file),
        timeout=options.busy_timeout_seconds,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS,
    )


def _prepare(connection: sqlite3.Connection, options: SqliteOptions) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise ConfigurationError(
            f"The SQLite file {options.file!r} cannot use a write-ahead log; its journal mode is {mode!r}. Move it to a "
            "local disk."
        )
    connection.execute(f"PRAGMA synchronous = {options.synchronous}").close()
    connection.execute(f"PRAGMA cache_size = -{_CACHE}").close()
    connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_LIMIT}").fetchone()


def _when_free(work: Callable[[], None], until: float) -> None:
    """Do work that may be repeated, again while another connection holds a lock.

    Args:
        work: What is done.
        until: The monotonic time until which it is repeated.
    """
    while True:
        try:
            work()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= until:
                raise
            time.sleep(random.uniform(*_PAUSE))  # noqa: S311 - no secret
        else:
            return


def _create(path: str, mode: int | None) -> None:
    """Create a file with its permissions where there is none; SQLite gives its write-ahead log the same.

    Args:
        path: The file, in a directory that exists.
        mode: The permissions; `None` leaves them to the process's umask.
    """
    if mode is None:
        return
    # A link to a file that does not exist yet is followed, as SQLite does.
    place = os.path.realpath(native_path(path))
    try:
        file = os.open(place, os.O_CREAT | os.O_EXCL | os.O_RDWR, stat.S_IRUSR | stat.S_IWUSR)
    except OSError:
        # It is there, made by another process perhaps; or SQLite will say what is wrong.
        return
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(file, mode)
    finally:
        os.close(file)


def _check_place(path: str) -> None:
    shown, path = path, native_path(path)
    folder = os.path.dirname(path) or "."  # noqa: PTH120, RUF100
    shown_folder = os.path.dirname(shown) or "."  # noqa: PTH120, RUF100
    if not os.path.isdir(folder):  # noqa: PTH112, RUF100
        raise ConfigurationError(
            f"The SQLite file {shown!r} cannot be opened: the directory {shown_folder!r} does not exist. Create it, or change the path."
        )
    if os.path.isdir(path):  # noqa: PTH112, RUF100
        raise ConfigurationError(f"The SQLite file {shown!r} is a directory. Pass the path of a file in it.")
    if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):  # noqa: PTH110, RUF100
        raise ConfigurationError(
            f"This process may not read and write the SQLite file {shown!r}. Change its permissions, or change the path."
        )
    if not os.access(folder, os.W_OK):
        raise ConfigurationError(
            f"This process may not write the directory {shown_folder!r}, which holds the write-ahead log of the SQLite file {shown!r}. "
            "Change its permissions, or change the path."
        )


def _unusable(path: str, error: sqlite3.Error) -> ConfigurationError:
    code = primary_code(error)
    if code == sqlite3.SQLITE_NOTADB:
        text = "is not a SQLite database, or is encrypted. Change the path."
    elif code == sqlite3.SQLITE_READONLY:
        text = "is read-only. Give this process write access to it and its directory."
    elif code == sqlite3.SQLITE_FULL:
        text = "cannot be prepared: its disk is full. Free some space."
    elif is_busy(error):
        text = "was locked by another process for longer than busy_timeout_seconds. Stop it, or raise busy_timeout_seconds."
    else:
        text = f"cannot be opened: {error}. Check the path, its permissions and the disk."
    return ConfigurationError(f"The SQLite file {path!r} {text}")
