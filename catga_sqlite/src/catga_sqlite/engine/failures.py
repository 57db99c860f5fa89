"""What SQLite says when it cannot, told as Catga's errors."""

from __future__ import annotations

import sqlite3
from typing import Final

from catga_core.errors import CatgaError, Outcome, PersistenceError

_FULL: Final = sqlite3.SQLITE_FULL
_IO: Final = sqlite3.SQLITE_IOERR
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_MENDS: Final = {
    sqlite3.SQLITE_BUSY: (
        "another process was writing for longer than busy_timeout_seconds: try again, or wait longer",
        True,
    ),
    sqlite3.SQLITE_LOCKED: ("it is locked: try again", True),
    sqlite3.SQLITE_FULL: ("there is no room left: free some on its disk, then try again", True),
    sqlite3.SQLITE_IOERR: ("its disk failed to read or write: look at the machine's log", True),
    sqlite3.SQLITE_READONLY: (
        "it may only be read: give this process the right to write it and its folder",
        False,
    ),
    sqlite3.SQLITE_READONLY_DBMOVED: (
        "stop this process, put the file back where it was if it was moved, and start again",
        False,
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened: check its folder, its rights and the number of open files",
        True,
    ),
    sqlite3.SQLITE_CORRUPT: ("its content is damaged: restore a backup", False),
    sqlite3.SQLITE_NOTADB: ("it is no SQLite database any more: restore a backup", False),
    sqlite3.SQLITE_TOOBIG: ("a value is larger than SQLite stores: keep large data elsewhere", False),
}


def moved_away() -> sqlite3.OperationalError:
    """Return the error for a file that is no longer the one that was opened, with the code that SQLite has for it.

    With a write-ahead log SQLite does not look by itself, and what is written then is gone when the process ends.
    """
    error = sqlite3.OperationalError("it was removed, moved or replaced while it was open")
    error.sqlite_errorcode = sqlite3.SQLITE_READONLY_DBMOVED
    error.sqlite_errorname = "SQLITE_READONLY_DBMOVED"
    return error


def primary_code(error: BaseException) -> int:
    """Return SQLite's primary result code of an error, 0 where it has none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_busy(error: BaseException) -> bool:
    """Tell whether another connection was in the way, so that trying again may help."""
    return primary_code(error) in _BUSY


def outcome_of_commit(error: BaseException) -> Outcome:
    """Return what is known of a transaction whose COMMIT failed.

    The frame that makes it valid is the last one to be written: where that could not be written the transaction is not
    there. Where it could not be flushed, a crash right now may bring it back.
    """
    return Outcome.UNKNOWN if primary_code(error) == _IO else Outcome.NOT_WRITTEN


def persistence_failed(error: BaseException, path: str, outcome: Outcome) -> CatgaError:
    """Return the error that a caller is given for one of SQLite's.

    Parameters:
        error: what sqlite3 raised.
        path: the file.
        outcome: whether it may have been written all the same.
    """
    if isinstance(error, CatgaError):
        return error
    code = getattr(error, "sqlite_errorcode", 0)
    mend, retryable = _MENDS.get(code) or _MENDS.get(primary_code(error), ("", False))
    doubt = ", and whether it was written is not known" if outcome is Outcome.UNKNOWN else ""
    text = f"the SQLite file {path!r} could not be used ({error}){doubt}"
    failed = PersistenceError(
        f"{text}: {mend}" if mend else text,
        retryable=retryable,
        outcome=outcome,
        details={"sqlite": getattr(error, "sqlite_errorname", type(error).__name__)},
    )
    # Without its traceback, whose frames hold the jobs of everybody.
    failed.__cause__ = error.with_traceback(None)
    return failed
