"""Dead letters in SQLite."""

# ruff: noqa: S608 - statements are put together from texts of this module only

from __future__ import annotations

import sqlite3
from typing import Any, Final

import msgspec

from catga_core.interfaces.dead_letters import (
    ALL_LETTERS,
    DeadLetter,
    DeadLetterFilter,
    DeadLetterPage,
)
from catga_core.storage_support.records import decode_context, encode_context, letter_fields, letter_of
from catga_sqlite.storage import SqliteStorage

_COLUMNS: Final = (
    "number, id, source, handler, name, schema_version, format, data, message_id, context, code, message, traceback, "
    "attempts, first_failed_at, last_failed_at, replays, queue, key"
)
# The attempts of both are added up; the first failure and the replays stay.
_ADD: Final = (
    f"INSERT INTO catga_dead_letters ({_COLUMNS}) VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (id) DO UPDATE SET source = excluded.source, handler = excluded.handler, name = excluded.name, "
    "schema_version = excluded.schema_version, format = excluded.format, data = excluded.data, "
    "message_id = excluded.message_id, context = excluded.context, code = excluded.code, message = excluded.message, "
    "traceback = excluded.traceback, attempts = attempts + excluded.attempts, last_failed_at = excluded.last_failed_at, "
    "queue = excluded.queue, key = excluded.key"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM catga_dead_letters"
_GET: Final = f"{_SELECT} WHERE id = ?"
_REPLAYING: Final = f"UPDATE catga_dead_letters SET replays = replays + 1 WHERE id = ? RETURNING {_COLUMNS}"
_REMOVE: Final = "DELETE FROM catga_dead_letters WHERE id = ?"
# One text for every filter, so that it is prepared once: what is left out is NULL.
_MEANT: Final = (
    "(:source IS NULL OR source = :source) AND (:handler IS NULL OR handler = :handler) AND "
    "(:name IS NULL OR name = :name) AND (:code IS NULL OR code = :code) AND "
    "(:queue IS NULL OR queue = :queue) AND (:key IS NULL OR key = :key) AND "
    "(:message_id IS NULL OR message_id = :message_id) AND "
    "(:failed_after IS NULL OR last_failed_at > :failed_after) AND "
    "(:failed_before IS NULL OR last_failed_at < :failed_before)"
)
_FIND: Final = f"{_SELECT} WHERE number > :after AND {_MEANT} ORDER BY number LIMIT :limit"
_COUNT: Final = f"SELECT count(*) FROM catga_dead_letters WHERE {_MEANT}"
_PURGE: Final = f"DELETE FROM catga_dead_letters WHERE number IN (SELECT number FROM catga_dead_letters WHERE {_MEANT} LIMIT :limit)"
# Letters that are purged in one transaction, so that others' writes come between.
_PURGED: Final = 1000


class SqliteDeadLetterStore:
    """Dead letters in the file.

    Args:
        storage: The file.
    """

    def __init__(self, storage: SqliteStorage) -> None:
        self._storage = storage

    async def add(self, letter: DeadLetter, /) -> None:
        """Keep a letter; joins the ambient unit of work."""
        await self._storage.write(_add, letter)

    async def get(self, letter_id: str, /) -> DeadLetter | None:
        """Return a letter, `None` where there is none."""
        return await self._storage.read(_get, letter_id)

    async def find(
        self, filter: DeadLetterFilter = ALL_LETTERS, /, *, after: str | None = None, limit: int = 100
    ) -> DeadLetterPage:
        """Return the letters a filter means, a page at a time, in the order in which they first came."""
        return await self._storage.read(_find, filter, 0 if after is None else _number(after), limit)

    async def count(self, filter: DeadLetterFilter = ALL_LETTERS, /) -> int:
        """Return how many letters a filter means."""
        return await self._storage.read(_count, filter)

    async def replaying(self, letter_id: str, /) -> DeadLetter | None:
        """Note that a letter is being replayed: its `replays` is one more; return it, `None` where there is none."""
        return await self._storage.write(_replaying, letter_id)

    async def remove(self, letter_id: str, /) -> bool:
        """Remove a letter; tell whether there was one. Joins the ambient unit of work."""
        return await self._storage.write(_remove, letter_id)

    async def purge(self, filter: DeadLetterFilter, /) -> int:
        """Remove every letter a filter means; return how many."""
        purged = 0
        while True:
            count = await self._storage.write(_purge, filter)
            purged += count
            if count < _PURGED:
                return purged


def _number(after: str) -> int:
    try:
        return int(after)
    except ValueError:
        msg = f"after={after!r} is not a page of these dead letters: give the `next` of the page before"
        raise ValueError(msg) from None


def _values(filter: DeadLetterFilter, **more: int) -> dict[str, Any]:
    source = None if filter.source is None else str(filter.source)
    return {**msgspec.structs.asdict(filter), "source": source, **more}


def _add(connection: sqlite3.Connection, letter: DeadLetter) -> None:
    connection.execute(
        _ADD,
        letter_fields(letter, letter.context.message_id, encode_context(letter.context)),
    )


def _letter(row: tuple[Any, ...]) -> DeadLetter:
    # The first column is the number; the context is in two columns.
    return letter_of(decode_context(row[8], row[9]), row[1:8], row[10:])


def _get(connection: sqlite3.Connection, letter_id: str) -> DeadLetter | None:
    row = connection.execute(_GET, (letter_id,)).fetchone()
    return None if row is None else _letter(row)


def _find(connection: sqlite3.Connection, filter: DeadLetterFilter, after: int, limit: int) -> DeadLetterPage:
    # One more than asked for tells whether there is a next page.
    rows = connection.execute(_FIND, _values(filter, after=after, limit=limit + 1)).fetchall()
    more = len(rows) > limit
    shown = rows[:limit]
    return DeadLetterPage([_letter(row) for row in shown], str(shown[-1][0]) if more else None)


def _count(connection: sqlite3.Connection, filter: DeadLetterFilter) -> int:
    (count,) = connection.execute(_COUNT, _values(filter)).fetchone()
    return int(count)


def _replaying(connection: sqlite3.Connection, letter_id: str) -> DeadLetter | None:
    rows = connection.execute(_REPLAYING, (letter_id,)).fetchall()
    return _letter(rows[0]) if rows else None


def _remove(connection: sqlite3.Connection, letter_id: str) -> bool:
    return connection.execute(_REMOVE, (letter_id,)).rowcount > 0


def _purge(connection: sqlite3.Connection, filter: DeadLetterFilter) -> int:
    return connection.execute(_PURGE, _values(filter, limit=_PURGED)).rowcount
