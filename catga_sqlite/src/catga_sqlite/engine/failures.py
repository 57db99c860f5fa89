"""SQLite's errors as Catga's."""

from __future__ import annotations

import sqlite3
from typing import Final

from catga_core.errors import CatgaError, Outcome, PersistenceError

_IO: Final = sqlite3.SQLITE_IOERR
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_FIXES: Final = {
    sqlite3.SQLITE_BUSY: (
        "Another process held the write lock for longer than busy_timeout_seconds. Retry, or raise busy_timeout_seconds.",
        True,
    ),
    sqlite3.SQLITE_LOCKED: ("Another connection holds a lock. Retry.", True),
    sqlite3.SQLITE_FULL: ("The disk is full. Free some space and retry.", True),
    sqlite3.SQLITE_IOERR: ("The disk failed to read or write. Check the system log.", True),
    sqlite3.SQLITE_READONLY: (
        "The file is read-only. Give this process write access to it and its directory.",
        False,
    ),
    sqlite3.SQLITE_READONLY_DBMOVED: (
        "Stop this process, restore the file if it was moved, and start again.",
        False,
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "The file cannot be opened. Check its directory, its permissions and the number of open files.",
        True,
    ),
    sqlite3.SQLITE_CORRUPT: ("The file is corrupt. Restore a backup.", False),
    sqlite3.SQLITE_NOTADB: ("The file is not a SQLite database. Restore a backup.", False),
    sqlite3.SQLITE_TOOBIG: ("A value exceeds SQLite's limit. Keep large data elsewhere.", False),
}


def moved_away() -> sqlite3.OperationalError:
    """Return the error for a file that was removed, moved or replaced, with SQLite's code.

    With a write-ahead log SQLite does not look by itself, and what is written then is gone when the process ends.
    """
    error = sqlite3.OperationalError("it was removed, moved or replaced while it was open")
    error.sqlite_errorcode = sqlite3.SQLITE_READONLY_DBMOVED
    error.sqlite_errorname = "SQLITE_READONLY_DBMOVED"
    return error


def primary_code(error: BaseException) -> int:
    """Return SQLite's primary result code of an error, 0 for none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_busy(error: BaseException) -> bool:
    """Return whether another connection held a lock, so that a retry may succeed."""
    return primary_code(error) in _BUSY


def outcome_of_commit(error: BaseException) -> Outcome:
    """Return the outcome of a transaction whose COMMIT failed.

    The last frame written makes a transaction valid: without it nothing was written. If it could not be flushed, a crash
    may still bring it back.

    Args:
        error: What COMMIT raised.

    Returns:
        `UNKNOWN` after an I/O error, else `NOT_WRITTEN`.
    """
    return Outcome.UNKNOWN if primary_code(error) == _IO else Outcome.NOT_WRITTEN


def persistence_failed(error: BaseException, path: str, outcome: Outcome) -> CatgaError:
    """Return the error that a caller gets for an error of sqlite3.

    Args:
        error: What sqlite3 raised.
        path: The file.
        outcome: Whether the write may have been applied.

    Returns:
        A `PersistenceError`; a `CatgaError` is returned unchanged.
    """
    if isinstance(error, CatgaError):
        return error
    code = getattr(error, "sqlite_errorcode", 0)
    fix, retryable = _FIXES.get(code) or _FIXES.get(primary_code(error), ("", False))
    doubt = " The write may have been applied." if outcome is Outcome.UNKNOWN else ""
    failed = PersistenceError(
        f"The SQLite file {path!r} failed: {error}.{doubt} {fix}".rstrip(),
        retryable=retryable,
        outcome=outcome,
        details={"sqlite": getattr(error, "sqlite_errorname", type(error).__name__)},
    )
    # Without its traceback, whose frames hold the jobs of all callers.
    failed.__cause__ = error.with_traceback(None)
    return failed
