"""An application's own statements in the transaction of a unit of work."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from catga_core.errors import CatgaError, ErrorCode

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]
Row: TypeAlias = tuple[Any, ...]

# What SQLite passes over before the first word: a byte order mark counts as a space.
_FIRST_WORD: Final = re.compile(r"(?:\s|\ufeff|;|--[^\n]*(?:\n|$)|/\*.*?(?:\*/|$))*([A-Za-z]*)", re.DOTALL)
_REFUSED: Final = {
    **dict.fromkeys(
        ("BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE"),
        "the unit of work controls its transaction. Exit the block to commit, raise to roll back.",
    ),
    **dict.fromkeys(
        ("ATTACH", "DETACH", "PRAGMA", "VACUUM"),
        "all stores write with this connection. Use a separate connection outside the unit of work.",
    ),
}


class SqliteResult(msgspec.Struct, frozen=True):
    """What a statement gave.

    Args:
        rows: The rows of a query (or of `RETURNING`), each a tuple of `None`, `int`, `float`, `str` or `bytes`.
        rowcount: How many rows were changed, -1 for a query.
        lastrowid: The row id of the last row inserted on this connection, `None` for none.
    """

    rows: Sequence[Row]
    rowcount: int
    lastrowid: int | None


class RunOwn(Protocol):
    """Runs a function on the writer's connection, in the transaction."""

    async def __call__(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Return what the function returns."""
        ...


class SqliteConnection:
    """`uow.connection`: executes statements in the transaction, on the thread that writes.

    What fails is raised as `sqlite3` does it (`sqlite3.IntegrityError`, ...); the statement has had no effect then, and the
    unit of work goes on.

    Args:
        run: Runs a function in the transaction.
    """

    __slots__ = ("_run",)

    def __init__(self, run: RunOwn) -> None:
        self._run = run

    async def execute(self, sql: str, parameters: Parameters = (), /) -> SqliteResult:
        """Execute one statement.

        Args:
            sql: One statement; not one that ends the transaction or changes the connection.
            parameters: Values for its `?` (a sequence) or `:name` (a mapping).

        Returns:
            Its rows, all of them, and its counts.

        Raises:
            sqlite3.Error: As SQLite refuses it.
            CatgaError: `VALIDATION_FAILED` for a statement that is not for a unit of work, `PERSISTENCE_FAILED` when the
                unit of work is over or was rolled back.
        """
        _check(sql)
        result: SqliteResult = await self._run(_execute, sql, parameters)
        return result

    async def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> SqliteResult:
        """Execute one statement for each of many parameters; all or none.

        Args:
            sql: One statement that returns no rows.
            parameters: Values for each time.

        Raises:
            sqlite3.Error: As SQLite refuses it.
            CatgaError: As `execute`.
        """
        _check(sql)
        # Read here: an iterable of the application's is none of the other thread's business.
        result: SqliteResult = await self._run(_executemany, sql, list(parameters))
        return result

    async def fetch_all(self, sql: str, parameters: Parameters = (), /) -> Sequence[Row]:
        """Return the rows of a query; raises as `execute`.

        Args:
            sql: The query.
            parameters: Values for its `?` or `:name`.
        """
        return (await self.execute(sql, parameters)).rows

    async def fetch_one(self, sql: str, parameters: Parameters = (), /) -> Row | None:
        """Return the first row of a query, `None` where it has none; raises as `execute`.

        Args:
            sql: The query.
            parameters: Values for its `?` or `:name`.
        """
        _check(sql)
        row: Row | None = await self._run(_fetch_one, sql, parameters)
        return row


def _check(sql: str) -> None:
    found = _FIRST_WORD.match(sql)
    word = found[1].upper() if found else ""
    if word in _REFUSED:
        raise CatgaError(
            f"uow.connection does not execute {word}: {_REFUSED[word]}",
            code=ErrorCode.VALIDATION_FAILED,
            retryable=False,
        )


def _execute(connection: sqlite3.Connection, sql: str, parameters: Parameters) -> SqliteResult:
    cursor = connection.execute(sql, parameters)
    rows = cursor.fetchall()
    return SqliteResult(rows, cursor.rowcount, cursor.lastrowid)


def _executemany(connection: sqlite3.Connection, sql: str, parameters: list[Parameters]) -> SqliteResult:
    cursor = connection.executemany(sql, parameters)
    return SqliteResult((), cursor.rowcount, cursor.lastrowid)


def _fetch_one(connection: sqlite3.Connection, sql: str, parameters: Parameters) -> Row | None:
    cursor = connection.execute(sql, parameters)
    row: Row | None = cursor.fetchone()
    # A statement that is not stepped to its end would keep the transaction from committing.
    cursor.close()
    return row
