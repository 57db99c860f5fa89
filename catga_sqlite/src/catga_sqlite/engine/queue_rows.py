"""The rows of queues: where each is in the indexes that leases take from.

Each function is a job of the writer. Of each key only the first message is READY, LEASED or RETRYING, and none of a held key.
"""

# ruff: noqa: S608 - statements are put together from texts of this module only

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from catga_core.interfaces.queue import QueuedMessage, QueueLease
from catga_core.messages.delivery import Priority
from catga_core.storage_support.queues import lost_message, most_at_once
from catga_core.storage_support.records import decode_context
from catga_sqlite.engine.ids import pack_id, unpack_id

SCHEDULED: Final = 0
READY: Final = 1
BEHIND: Final = 4

MESSAGE: Final = "message_id, name, schema_version, format, data, context, message_due_at, created_at, key, priority, fingerprint"
"""The columns of a message, in the order of `message_of`."""

_NUMBERS: Final = "UPDATE catga_queue_numbers SET last = last + ? RETURNING last"
_SCHEDULED: Final = (
    "SELECT number, key FROM catga_queued INDEXED BY catga_queued_scheduled "
    "WHERE queue = ? AND state = 0 AND due_at <= ? ORDER BY due_at, number LIMIT ?"
)
_PLACE: Final = "UPDATE catga_queued SET state = ?, place = ?, due_at = 0 WHERE number = ?"
_HELD: Final = "SELECT 1 FROM catga_held_keys WHERE queue = ? AND key = ?"
_HEAD: Final = (
    "SELECT number FROM catga_queued INDEXED BY catga_queued_key "
    "WHERE queue = :queue AND key = :key AND place IS NOT NULL ORDER BY place LIMIT 1"
)
_OFFER: Final = (
    f"UPDATE catga_queued SET state = 1 WHERE number = ({_HEAD}) AND state = 4 "
    "AND NOT EXISTS (SELECT 1 FROM catga_held_keys WHERE queue = :queue AND key = :key)"
)
_EXPIRE: Final = tuple(
    f"UPDATE catga_queued SET {now_it_is} WHERE number IN (SELECT number FROM catga_queued INDEXED BY {index} "
    f"WHERE queue = ? AND state = {state} AND due_at {due} ? ORDER BY due_at LIMIT ?)"
    for now_it_is, index, state, due in (
        ("state = 1", "catga_queued_leased", 2, "<="),
        ("state = 1", "catga_queued_retrying", 3, "<="),
        # What waits for a time after that was given back before the clock stepped back: its wait is over.
        ("state = 1, due_at = 0", "catga_queued_retrying", 3, ">"),
    )
)
_LEASE: Final = (
    "UPDATE catga_queued SET state = 2, leased = 1, due_at = ?, attempts = attempts + 1, fencing_token = fencing_token + 1 "
    "WHERE number IN (SELECT number FROM catga_queued INDEXED BY catga_queued_ready "
    f"WHERE queue = ? AND state = 1 ORDER BY priority, place LIMIT ?) RETURNING place, attempts, fencing_token, error, {MESSAGE}"
)
_IS_OWN: Final = "place = ? AND fencing_token = ? AND leased = 1"
_OWN: Final = f"SELECT 1 FROM catga_queued WHERE {_IS_OWN}"
_RENEW: Final = f"UPDATE catga_queued SET state = 2, due_at = ? WHERE {_IS_OWN}"
_COMPLETE: Final = (
    "UPDATE catga_queued SET state = 5, place = NULL, leased = 0, done_at = ?, result = ?, data = x'' "
    f"WHERE {_IS_OWN}"
)
_RETRY: Final = f"UPDATE catga_queued SET state = ?, due_at = ?, leased = 0, error = ? WHERE {_IS_OWN}"
_RELEASE: Final = (
    f"UPDATE catga_queued SET state = 1, due_at = 0, leased = 0, attempts = attempts - 1 WHERE {_IS_OWN}"
)
_DISCARD: Final = f"DELETE FROM catga_queued WHERE {_IS_OWN}"
_HOLD: Final = "INSERT INTO catga_held_keys (queue, key) VALUES (?, ?) ON CONFLICT DO NOTHING"
_RELEASE_KEY: Final = "DELETE FROM catga_held_keys WHERE queue = ? AND key = ?"
_CANCEL: Final = (
    "DELETE FROM catga_queued WHERE queue = ? AND message_id = ? AND done_at IS NULL "
    "AND NOT (leased = 1 AND due_at > ?) RETURNING key"
)


def message_of(
    message_id: str | bytes,
    name: str,
    schema_version: int,
    format: str,
    data: bytes,
    context: bytes,
    due_at: float,
    created_at: float,
    key: str | None,
    priority: int,
    fingerprint: str,
) -> QueuedMessage:
    """Return a message from its columns."""
    return QueuedMessage(
        name,
        schema_version,
        format,
        data,
        decode_context(unpack_id(message_id), context),
        due_at,
        created_at,
        key,
        Priority(priority),
        fingerprint,
    )


def lease(
    connection: sqlite3.Connection,
    demands: Mapping[str, int],
    seconds: float,
    longest: float | None,
    now: float,
) -> list[QueueLease]:
    """Lease messages that are due."""
    leased: list[QueueLease] = []
    for queue, limit in demands.items():
        most = most_at_once(limit)
        _place_due(connection, queue, now, most)
        for statement, due in zip(
            _EXPIRE, (now, now, math.inf if longest is None else now + longest), strict=True
        ):
            connection.execute(statement, (queue, due, most))
        rows = connection.execute(_LEASE, (now + seconds, queue, limit)).fetchall()
        found = [
            QueueLease(queue, place, message_of(*message), attempts, token, error)
            for place, attempts, token, error, *message in rows
        ]
        # RETURNING gives them in no order.
        leased += sorted(found, key=_order)
    return leased


def renew(
    connection: sqlite3.Connection, leased: Sequence[QueueLease], seconds: float, now: float
) -> list[QueueLease]:
    """Extend leases."""
    until = now + seconds
    return [each for each in leased if connection.execute(_RENEW, (until, *_own(each))).rowcount]


def complete(
    connection: sqlite3.Connection,
    leased: Sequence[QueueLease],
    result: bytes | None,
    now: float,
    joined: bool,
) -> None:
    """Record that messages were handled; in a unit of work, refuse where one is not the caller's any more."""
    for each in leased if joined else ():
        require(connection, each)
    for each in leased:
        if connection.execute(_COMPLETE, (now, result, *_own(each))).rowcount:
            _offer_head(connection, each.queue, each.message.key)


def require(connection: sqlite3.Connection, leased: QueueLease) -> None:
    """Refuse where a message is not the caller's any more."""
    if connection.execute(_OWN, _own(leased)).fetchone() is None:
        raise lost_message(leased.queue, leased.message.context.message_id)


def retry(connection: sqlite3.Connection, leased: QueueLease, delay: float, error: str, now: float) -> None:
    """Give a message back for another attempt."""
    position = (3, now + delay) if delay > 0 else (READY, 0.0)
    connection.execute(_RETRY, (*position, error, *_own(leased)))


def release(connection: sqlite3.Connection, leased: Iterable[QueueLease]) -> None:
    """Give messages back without an attempt."""
    connection.executemany(_RELEASE, [_own(each) for each in leased])


def discard(connection: sqlite3.Connection, leased: QueueLease, hold_key: bool) -> bool:
    """Remove a leased message."""
    if not connection.execute(_DISCARD, _own(leased)).rowcount:
        return False
    key = leased.message.key
    if hold_key and key is not None:
        connection.execute(_HOLD, (leased.queue, key))
    else:
        _offer_head(connection, leased.queue, key)
    return True


def release_key(connection: sqlite3.Connection, queue: str, key: str) -> bool:
    """Give the messages of a held key again."""
    if not connection.execute(_RELEASE_KEY, (queue, key)).rowcount:
        return False
    _offer_head(connection, queue, key)
    return True


def cancel(connection: sqlite3.Connection, queue: str, message_id: str, now: float) -> bool:
    """Remove a message that is not leased."""
    removed = connection.execute(_CANCEL, (queue, pack_id(message_id), now)).fetchall()
    for (key,) in removed:
        _offer_head(connection, queue, key)
    return bool(removed)


def _place_due(connection: sqlite3.Connection, queue: str, now: float, most: int) -> None:
    due = connection.execute(_SCHEDULED, (queue, now, most)).fetchall()
    if not due:
        return
    place = take_numbers(connection, len(due))
    for number, key in due:
        place += 1
        connection.execute(_PLACE, (state_of_next(connection, queue, key), place, number))


def take_numbers(connection: sqlite3.Connection, count: int) -> int:
    """Return the number before those that were taken."""
    [(last,)] = connection.execute(_NUMBERS, (count,)).fetchall()
    return int(last) - count


def state_of_next(connection: sqlite3.Connection, queue: str, key: str | None) -> int:
    """Return the state of a message that takes a place at the end."""
    if key is None:
        return READY
    waits = (
        connection.execute(_HEAD, {"queue": queue, "key": key}).fetchone()
        or connection.execute(_HELD, (queue, key)).fetchone()
    )
    return BEHIND if waits else READY


def _offer_head(connection: sqlite3.Connection, queue: str, key: str | None) -> None:
    if key is not None:
        connection.execute(_OFFER, {"queue": queue, "key": key})


def _own(leased: QueueLease) -> tuple[int, int]:
    return leased.sequence, leased.fencing_token


def _order(leased: QueueLease) -> tuple[int, int]:
    return leased.message.priority, leased.sequence
