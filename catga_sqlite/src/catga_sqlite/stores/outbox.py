"""The outbox in SQLite."""

# ruff: noqa: S608 - statements are put together from texts of this module only

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from catga_core.errors import MessageIdConflictError
from catga_core.interfaces.outbox import LeasedMessage, OutboxMessage, OutboxStats
from catga_core.messages.fingerprints import same_content
from catga_core.storage_support.records import (
    decode_context,
    decode_enqueue,
    encode_context,
    encode_enqueue,
)
from catga_sqlite.engine.ids import pack_id, unpack_id
from catga_sqlite.engine.wakeups import OUTBOX
from catga_sqlite.storage import SqliteStorage

_ADD: Final = (
    "INSERT INTO catga_outbox (message_id, key, name, schema_version, format, data, context, created_at, enqueue, fingerprint) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (message_id) DO NOTHING"
)
_KNOWN: Final = "SELECT fingerprint FROM catga_outbox WHERE message_id = ?"
# What waits for a time after :far was given back before the clock stepped back, and is due.
# Not where an earlier one of its key is not due. The index is named, because without statistics SQLite would walk over all
# that wait.
_DUE: Final = (
    "(p.due_at <= :now OR (p.due_at > :far AND p.leased = 0)) AND (p.key IS NULL OR NOT EXISTS ("
    "SELECT 1 FROM catga_outbox_pending e INDEXED BY catga_outbox_pending_keys "
    "WHERE e.key = p.key AND e.due_at > 0 AND e.due_at > :now AND e.sequence < p.sequence "
    "AND NOT (e.due_at > :far AND e.leased = 0)))"
)
_LEASE: Final = (
    "SELECT p.sequence, message_id, p.key, name, schema_version, format, data, context, p.created_at, attempts, fencing_token + 1, "
    "error, fingerprint, enqueue FROM catga_outbox_pending p CROSS JOIN catga_outbox o ON o.sequence = p.sequence "
    f"WHERE {_DUE} ORDER BY p.sequence LIMIT :limit"
)
# Rows that one statement changes: every statement releases the GIL and waits to get it back.
_SIZES: Final = (1, 8, 64)


def _for_each_size(text: str) -> dict[int, str]:
    return {size: f"{text} AND sequence IN ({', '.join('?' * size)})" for size in _SIZES}


_TAKE: Final = _for_each_size(
    "UPDATE catga_outbox_pending SET leased = 1, due_at = ?, fencing_token = fencing_token + 1 WHERE true"
)
_NOTE_SENT: Final = _for_each_size(
    "INSERT INTO catga_outbox_sent SELECT ?, sequence FROM catga_outbox_pending WHERE fencing_token = ? AND leased = 1"
)
_COMPLETE: Final = _for_each_size("DELETE FROM catga_outbox_pending WHERE fencing_token = ? AND leased = 1")
_IS_OWN: Final = "sequence = ? AND fencing_token = ? AND leased = 1"
_RENEW: Final = f"UPDATE catga_outbox_pending SET due_at = ? WHERE {_IS_OWN}"
_RETRY: Final = f"UPDATE catga_outbox_pending SET due_at = ?, leased = 0, attempts = attempts + 1, error = ? WHERE {_IS_OWN}"
_RELEASE: Final = f"UPDATE catga_outbox_pending SET due_at = 0, leased = 0 WHERE {_IS_OWN}"
# The leased messages of a key are its first ones: all others have `due_at = 0`, and are not in the index.
_END_LEASES_BEHIND: Final = (
    "UPDATE catga_outbox_pending INDEXED BY catga_outbox_pending_keys SET leased = 0, due_at = 0 "
    "WHERE key = ? AND due_at > 0 AND leased = 1 AND sequence > ?"
)
_DISCARD: Final = f"DELETE FROM catga_outbox_pending WHERE {_IS_OWN}"
_DELETE: Final = "DELETE FROM catga_outbox WHERE sequence = ?"
_STATS: Final = (
    "SELECT count(*), min(created_at), count(*) FILTER (WHERE attempts > 0) FROM catga_outbox_pending"
)
_ANY_DUE: Final = f"SELECT 1 FROM catga_outbox_pending p WHERE {_DUE} LIMIT 1"
_NEXT: Final = "SELECT min(due_at) FROM catga_outbox_pending WHERE due_at > ?"
_OLD: Final = "FROM catga_outbox_sent WHERE sent_at < ? ORDER BY sent_at, sequence LIMIT ?"
_PRUNE: Final = (
    f"DELETE FROM catga_outbox WHERE sequence IN (SELECT sequence {_OLD})",
    f"DELETE FROM catga_outbox_sent WHERE (sent_at, sequence) IN (SELECT sent_at, sequence {_OLD})",
)


class SqliteOutboxStore:
    """Messages to send, in the file.

    Args:
        storage: The file.
    """

    def __init__(self, storage: SqliteStorage) -> None:
        self._storage = storage
        self._clock = storage.clock

    async def add(self, messages: Sequence[OutboxMessage], /) -> None:
        """Store messages at the end; joins the ambient unit of work. A repeated message is not added again."""
        rows = [_row(message) for message in messages]
        if rows:
            await self._storage.write(_add, rows, topics=OUTBOX)

    async def lease(
        self,
        *,
        limit: int,
        lease: float,
        longest_delay: float | None = None,
        sent: Sequence[LeasedMessage] = (),
    ) -> list[LeasedMessage]:
        """Take messages that are due, oldest first; complete others before, in the same transaction."""
        return await self._storage.write(
            _lease,
            limit,
            lease,
            longest_delay,
            tuple(sent),
            self._clock.time(),
            topics=OUTBOX if sent else 0,
            flush=False,
        )

    async def renew(self, leased: Sequence[LeasedMessage], /, *, lease: float) -> list[LeasedMessage]:
        """Extend leases, counted from now; return those that are still the caller's."""
        return await self._storage.write(_renew, tuple(leased), lease, self._clock.time(), flush=False)

    async def complete(self, leased: Sequence[LeasedMessage], /) -> None:
        """Note that messages were sent. Those taken over by another are passed over: it will send them again."""
        await self._storage.write(_complete, tuple(leased), self._clock.time(), topics=OUTBOX, flush=False)

    async def retry(self, leased: LeasedMessage, /, *, delay: float, error: str) -> None:
        """Give a message back for a later try; passed over when it was taken over by another."""
        await self._storage.write(_retry, leased, delay, error, self._clock.time(), topics=OUTBOX)

    async def release(self, leased: Sequence[LeasedMessage], /) -> None:
        """Give messages back untried, due at once: for a relay that stops."""
        await self._storage.write(_release, tuple(leased), topics=OUTBOX)

    async def discard(self, leased: LeasedMessage, /) -> bool:
        """Take a message out for good, when it has gone to the dead letters; joins the ambient unit of work."""
        return await self._storage.write(_discard, leased, topics=OUTBOX)

    async def stats(self) -> OutboxStats:
        """Return how many messages wait, and since when."""
        return await self._storage.read(_stats)

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        """Remove sent messages, never pending ones; return how many."""
        return await self._storage.write(_prune, self._clock.time(), older_than, limit)

    async def wait(self, *, timeout: float) -> None:
        """Return when there may be a message that is due, at the latest after so many seconds of real time."""

        async def due() -> float | None:
            return await self._storage.read(_due_in, self._clock.time())

        await self._storage.wakeups.wait(OUTBOX, timeout, due)


def _row(message: OutboxMessage) -> tuple[Any, ...]:
    return (
        pack_id(message.context.message_id),
        message.key,
        message.name,
        message.schema_version,
        message.format,
        message.data,
        encode_context(message.context),
        message.created_at,
        encode_enqueue(message.enqueue),
        message.fingerprint,
    )


def _own(leased: LeasedMessage) -> tuple[int, int]:
    return leased.sequence, leased.fencing_token


def _add(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    if connection.executemany(_ADD, rows).rowcount == len(rows):
        return
    for packed, *_, fingerprint in rows:
        (known,) = connection.execute(_KNOWN, (packed,)).fetchone()
        if not same_content(known, fingerprint):
            raise MessageIdConflictError(unpack_id(packed), "the outbox")


def _filled(sequences: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield sequences in the numbers of them that a statement takes; the last one is repeated to get there."""
    most = _SIZES[-1]
    for begin in range(0, len(sequences), most):
        part = sequences[begin : begin + most]
        size = next(size for size in _SIZES if len(part) <= size)
        yield size, [*part, *[part[-1]] * (size - len(part))]


def _lease(
    connection: sqlite3.Connection,
    limit: int,
    lease: float,
    longest: float | None,
    sent: Sequence[LeasedMessage],
    now: float,
) -> list[LeasedMessage]:
    _complete(connection, sent, now)
    far = math.inf if longest is None else now + longest
    rows = connection.execute(_LEASE, {"now": now, "far": far, "limit": limit}).fetchall()
    for size, sequences in _filled([row[0] for row in rows]):
        connection.execute(_TAKE[size], (now + lease, *sequences))
    leased = [_leased(*row) for row in rows]
    if any(each.fencing_token > 1 for each in leased):
        _end_leases_behind(connection, {each.message.key: each for each in leased}.values())
    return leased


def _end_leases_behind(connection: sqlite3.Connection, places: Iterable[LeasedMessage]) -> None:
    """End the leases on messages that come after others of their key: these are no longer sent before them."""
    for each in places:
        if each.message.key is not None:
            connection.execute(_END_LEASES_BEHIND, (each.message.key, each.sequence))


def _leased(
    sequence: int,
    message_id: str | bytes,
    key: str | None,
    name: str,
    schema_version: int,
    format: str,
    data: bytes,
    context: bytes,
    created_at: float,
    attempts: int,
    fencing_token: int,
    error: str | None,
    fingerprint: str,
    enqueue: bytes | None,
) -> LeasedMessage:
    surroundings = decode_context(unpack_id(message_id), context)
    message = OutboxMessage(
        name,
        schema_version,
        format,
        data,
        surroundings,
        key,
        created_at,
        fingerprint,
        decode_enqueue(enqueue),
    )
    return LeasedMessage(sequence, message, attempts, fencing_token, error)


def _renew(
    connection: sqlite3.Connection, leased: Sequence[LeasedMessage], lease: float, now: float
) -> list[LeasedMessage]:
    until = now + lease
    return [each for each in leased if connection.execute(_RENEW, (until, *_own(each))).rowcount]


def _complete(connection: sqlite3.Connection, leased: Sequence[LeasedMessage], now: float) -> None:
    # Most are leased for the first time.
    by_token: dict[int, list[int]] = {}
    for each in leased:
        by_token.setdefault(each.fencing_token, []).append(each.sequence)
    for token, all_sequences in by_token.items():
        for size, sequences in _filled(all_sequences):
            connection.execute(_NOTE_SENT[size], (now, token, *sequences))
            connection.execute(_COMPLETE[size], (token, *sequences))


def _retry(
    connection: sqlite3.Connection, leased: LeasedMessage, delay: float, error: str, now: float
) -> None:
    if connection.execute(_RETRY, (now + delay, error, *_own(leased))).rowcount:
        _end_leases_behind(connection, [leased])


def _release(connection: sqlite3.Connection, leased: Sequence[LeasedMessage]) -> None:
    for each in leased:
        if connection.execute(_RELEASE, _own(each)).rowcount:
            _end_leases_behind(connection, [each])


def _discard(connection: sqlite3.Connection, leased: LeasedMessage) -> bool:
    if not connection.execute(_DISCARD, _own(leased)).rowcount:
        return False
    connection.execute(_DELETE, (leased.sequence,))
    return True


def _stats(connection: sqlite3.Connection) -> OutboxStats:
    return OutboxStats(*connection.execute(_STATS).fetchone())


def _due_in(connection: sqlite3.Connection, now: float) -> float | None:
    if connection.execute(_ANY_DUE, {"now": now, "far": math.inf}).fetchall():
        return 0.0
    (due_at,) = connection.execute(_NEXT, (now,)).fetchone()
    return None if due_at is None else due_at - now


def _prune(connection: sqlite3.Connection, now: float, older_than: float, limit: int) -> int:
    counts = [connection.execute(each, (now - older_than, limit)).rowcount for each in _PRUNE]
    return counts[-1]
