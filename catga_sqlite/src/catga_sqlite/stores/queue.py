"""Queues in SQLite."""

# ruff: noqa: S608 - statements are put together from texts of these modules only

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from catga_core.interfaces.queue import (
    ALL_QUEUED,
    QueuedMessage,
    QueueEntry,
    QueueFilter,
    QueueLease,
    QueuePage,
    QueueState,
    QueueStats,
)
from catga_core.runtime.unit_of_work import joined_unit_of_work
from catga_core.storage_support.queues import PageMark, mark_of, next_of, state_of
from catga_sqlite.engine import queue_rows as rows
from catga_sqlite.engine.ids import pack_id
from catga_sqlite.engine.queue_adding import add_together
from catga_sqlite.engine.wakeups import QUEUES
from catga_sqlite.storage import SqliteStorage

_HELD: Final = "EXISTS (SELECT 1 FROM catga_held_keys h WHERE h.queue = q.queue AND h.key = q.key)"
_ENTRY: Final = (
    f"SELECT number, queue, place, due_at, ready_at, leased, {_HELD}, attempts, error, done_at, result, {rows.MESSAGE} "
    "FROM catga_queued q"
)
_GET: Final = f"{_ENTRY} WHERE queue = ? AND message_id = ?"
# One text for every filter, so that it is prepared once: what is left out is NULL.
_MEANT: Final = (
    "(:queue IS NULL OR queue = :queue) AND (:name IS NULL OR name = :name) AND (:key IS NULL OR key = :key)"
)
_FIND_PLACED: Final = (
    f"{_ENTRY} INDEXED BY catga_queued_place WHERE place > :at AND {_MEANT} ORDER BY place LIMIT :limit"
)
_FIND_SCHEDULED: Final = (
    f"{_ENTRY} INDEXED BY catga_queued_scheduled WHERE state = 0 AND (due_at, number) > (:at, :number) AND {_MEANT} "
    "ORDER BY due_at, number LIMIT :limit"
)
_STATS: Final = (
    "SELECT queue, count(*), 0, count(*) FILTER (WHERE leased = 1 AND due_at > :now), "
    "count(*) FILTER (WHERE leased = 0 AND attempts > 0 AND due_at > :now), 0, min(ready_at) "
    "FROM catga_queued INDEXED BY catga_queued_place WHERE place IS NOT NULL GROUP BY queue UNION ALL "
    "SELECT queue, count(*) FILTER (WHERE due_at <= :now), count(*) FILTER (WHERE due_at > :now), 0, 0, 0, "
    "min(due_at) FILTER (WHERE due_at <= :now) "
    "FROM catga_queued INDEXED BY catga_queued_scheduled WHERE state = 0 GROUP BY queue UNION ALL "
    "SELECT queue, 0, 0, 0, 0, count(*), NULL FROM catga_held_keys GROUP BY queue"
)
_NEXT: Final = (
    "SELECT min(at) FROM ("
    "SELECT 0.0 AS at WHERE EXISTS (SELECT 1 FROM catga_queued INDEXED BY catga_queued_ready WHERE queue = :queue AND state = 1) "
    "UNION ALL SELECT min(due_at) FROM catga_queued INDEXED BY catga_queued_leased WHERE queue = :queue AND state = 2 "
    "UNION ALL SELECT min(due_at) FROM catga_queued INDEXED BY catga_queued_retrying WHERE queue = :queue AND state = 3 "
    "UNION ALL SELECT min(due_at) FROM catga_queued INDEXED BY catga_queued_scheduled WHERE queue = :queue AND state = 0)"
)
_PRUNE: Final = (
    "DELETE FROM catga_queued WHERE number IN ("
    "SELECT number FROM catga_queued WHERE done_at < ? ORDER BY done_at LIMIT ?)"
)


class SqliteQueueStore:
    """Queues in the file; `catga_sqlite.engine.queue_rows` has what is written.

    Args:
        storage: The file.
    """

    def __init__(self, storage: SqliteStorage) -> None:
        self._storage = storage
        self._clock = storage.clock

    async def add(self, message: QueuedMessage, /, *, queues: Sequence[str]) -> None:
        """Add a message to the end of some queues, to all or to none; joins the ambient unit of work."""
        if queues:
            request = message, tuple(queues), self._clock.time()
            await self._storage.write_together(add_together, request, QUEUES)

    async def lease(
        self, demands: Mapping[str, int], /, *, lease: float, longest_delay: float | None = None
    ) -> list[QueueLease]:
        """Take messages that are due: of each queue by priority, then in their order."""
        return await self._storage.write(rows.lease, dict(demands), lease, longest_delay, self._clock.time())

    async def renew(self, leased: Sequence[QueueLease], /, *, lease: float) -> list[QueueLease]:
        """Extend leases, counted from now; return those that are still the caller's."""
        return await self._storage.write(rows.renew, tuple(leased), lease, self._clock.time())

    async def complete(self, leased: Sequence[QueueLease], /, *, result: bytes | None = None) -> None:
        """Record that messages were handled; joins the ambient unit of work."""
        joined = joined_unit_of_work(self._storage) is not None
        await self._storage.write(
            rows.complete, tuple(leased), result, self._clock.time(), joined, topics=QUEUES
        )

    async def require(self, leased: QueueLease, /) -> None:
        """Require that a message is the caller's until the ambient unit of work is committed."""
        await self._storage.write(rows.require, leased)

    async def retry(self, leased: QueueLease, /, *, delay: float, error: str) -> None:
        """Give a message back for another attempt; does nothing where it was taken over by another consumer."""
        await self._storage.write(rows.retry, leased, delay, error, self._clock.time(), topics=QUEUES)

    async def release(self, leased: Sequence[QueueLease], /) -> None:
        """Give messages back without an attempt: they are due at once, and this lease does not count as an attempt."""
        await self._storage.write(rows.release, tuple(leased), topics=QUEUES)

    async def discard(self, leased: QueueLease, /, *, hold_key: bool = False) -> bool:
        """Remove a message that goes to the dead letters; joins the ambient unit of work."""
        return await self._storage.write(rows.discard, leased, hold_key, topics=QUEUES)

    async def release_key(self, queue: str, key: str, /) -> bool:
        """Give the messages of a held key again; joins the ambient unit of work."""
        return await self._storage.write(rows.release_key, queue, key, topics=QUEUES)

    async def cancel(self, queue: str, message_id: str, /) -> bool:
        """Remove a message that no attempt of runs; joins the ambient unit of work."""
        return await self._storage.write(rows.cancel, queue, message_id, self._clock.time(), topics=QUEUES)

    async def get(self, queue: str, message_id: str, /) -> QueueEntry | None:
        """Return a message, done or not; `None` where there is none."""
        return await self._storage.read(_get, queue, message_id, self._clock.time())

    async def find(
        self, filter: QueueFilter = ALL_QUEUED, /, *, after: str | None = None, limit: int = 100
    ) -> QueuePage:
        """Return the messages that are not done and match a filter, a page at a time."""
        return await self._storage.read(_find, filter, mark_of(after), limit, self._clock.time())

    async def stats(self) -> Mapping[str, QueueStats]:
        """Return the state of each queue that has a message that is not done, or a held key."""
        return await self._storage.read(_stats, self._clock.time())

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        """Remove messages that are done, never others; return how many."""
        return await self._storage.write(_prune, self._clock.time() - older_than, limit)

    async def wait(self, queues: Sequence[str], /, *, timeout: float) -> None:
        """Return when there may be a message that is due in one of the queues, at the latest after a number of real seconds."""

        async def due() -> float | None:
            return await self._storage.read(_due_in, tuple(queues), self._clock.time())

        await self._storage.wakeups.wait(QUEUES, timeout, due)


def _entry(row: Sequence[Any], now: float) -> tuple[PageMark, QueueEntry]:
    number, queue, place, due_at, ready_at, leased, held, attempts, error, done_at, result, *message = row
    if done_at is not None:
        state, time = QueueState.DONE, done_at
    else:
        state = state_of(
            now=now,
            due_at=due_at,
            placed=place is not None,
            leased=bool(leased),
            held=bool(held),
            attempts=attempts,
        )
        time = due_at or ready_at
    mark = (1, due_at, number) if place is None else (0, place, number)
    return mark, QueueEntry(queue, rows.message_of(*message), state, attempts, error, time, result)


def _get(connection: sqlite3.Connection, queue: str, message_id: str, now: float) -> QueueEntry | None:
    row = connection.execute(_GET, (queue, pack_id(message_id))).fetchone()
    return None if row is None else _entry(row, now)[1]


def _find(
    connection: sqlite3.Connection, filter: QueueFilter, after: PageMark, limit: int, now: float
) -> QueuePage:
    kind, at, number = after
    meant = {"queue": filter.queue, "name": filter.name, "key": filter.key}
    found: list[Any] = []
    if kind < 1:
        found = connection.execute(_FIND_PLACED, {**meant, "at": at, "limit": limit + 1}).fetchall()
        at, number = -1.0, 0
    left = limit + 1 - len(found)
    if left:
        values = {**meant, "at": at, "number": number, "limit": left}
        found += connection.execute(_FIND_SCHEDULED, values).fetchall()
    # One more than asked for tells whether there is a next page.
    page = [_entry(row, now) for row in found[:limit]]
    return QueuePage([entry for _, entry in page], next_of(page[-1][0]) if len(found) > limit else None)


def _stats(connection: sqlite3.Connection, now: float) -> dict[str, QueueStats]:
    found: dict[str, list[Any]] = {}
    for queue, *numbers, oldest in connection.execute(_STATS, {"now": now}):
        *sums, before = found.get(queue, [0, 0, 0, 0, 0, None])
        times = [each for each in (before, oldest) if each is not None]
        found[queue] = [
            *(one + other for one, other in zip(sums, numbers, strict=True)),
            min(times, default=None),
        ]
    return {queue: QueueStats(*numbers) for queue, numbers in found.items()}


def _due_in(connection: sqlite3.Connection, queues: Sequence[str], now: float) -> float | None:
    times = [connection.execute(_NEXT, {"queue": queue}).fetchone()[0] for queue in queues]
    soonest = min((each for each in times if each is not None), default=None)
    return None if soonest is None else max(0.0, soonest - now)


def _prune(connection: sqlite3.Connection, before: float, limit: int) -> int:
    return connection.execute(_PRUNE, (before, limit)).rowcount
