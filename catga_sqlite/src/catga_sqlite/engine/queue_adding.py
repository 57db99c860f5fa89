"""Adds messages to queues, those of several callers together."""

# ruff: noqa: S608 - statements are put together from texts of these modules only

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from catga_core.errors import CatgaError, MessageIdConflictError
from catga_core.interfaces.queue import QueuedMessage
from catga_core.messages.fingerprints import same_content
from catga_core.storage_support.records import encode_context
from catga_sqlite.engine.columns import bound_id
from catga_sqlite.engine.ids import unpack_id
from catga_sqlite.engine.queue_rows import READY, SCHEDULED, state_of_next, take_numbers

Adding: TypeAlias = tuple[QueuedMessage, Sequence[str], float]
"""A message, its queues, and the time."""

_KNOWN: Final = "SELECT fingerprint FROM catga_queued WHERE queue = ? AND message_id = ?"
_SOONEST: Final = (
    "SELECT min(due_at) FROM catga_queued INDEXED BY catga_queued_scheduled WHERE queue = ? AND state = 0"
)
_MESSAGE: Final = "message_id, name, schema_version, format, data, context, message_due_at, created_at, priority, fingerprint"
# Most messages have no key and are due: sqlite3 looks for an adapter of every None that it binds.
_ADD_READY: Final = (
    f"INSERT INTO catga_queued (number, queue, state, place, due_at, ready_at, {_MESSAGE}, key) "
    f"VALUES (?, ?, {READY}, ?, 0.0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)"
)
_ADD: Final = (
    f"INSERT INTO catga_queued (number, queue, state, place, due_at, ready_at, {_MESSAGE}, key) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def add_together(connection: sqlite3.Connection, asked: Sequence[Adding]) -> list[CatgaError | None]:
    """Add each message to those of its queues that do not have it; return why one is refused, `None` where it is not.

    Args:
        connection: In a transaction.
        asked: What callers ask, in their order.
    """
    number = take_numbers(connection, sum(len(queues) for _, queues, _ in asked))
    # When the earliest message is due that has no place yet, by queue.
    soonest: dict[str, float] = {}
    outcomes: list[CatgaError | None] = []
    execute = connection.execute
    for message, queues, now in asked:
        columns = _columns_of(message)
        fresh, refused = _without(connection, queues, columns[0], message.fingerprint)
        outcomes.append(refused)
        due_at, key = message.due_at, message.key
        ready_at = max(now, due_at)
        for queue in fresh:
            number += 1
            if queue not in soonest:
                [(found,)] = execute(_SOONEST, (queue,)).fetchall()
                soonest[queue] = math.inf if found is None else found
            # Behind those whose time has come, and which have no place yet.
            if due_at > now or soonest[queue] <= now:
                soonest[queue] = min(soonest[queue], ready_at)
                execute(_ADD, (number, queue, SCHEDULED, None, ready_at, ready_at, *columns, key))
            elif key is None:
                execute(_ADD_READY, (number, queue, number, ready_at, *columns))
            else:
                state = state_of_next(connection, queue, key)
                execute(_ADD, (number, queue, state, number, 0.0, ready_at, *columns, key))
    return outcomes


def _without(
    connection: sqlite3.Connection, queues: Sequence[str], packed: str | bytearray, fingerprint: str
) -> tuple[Sequence[str], CatgaError | None]:
    """Return the queues that do not have a message, and why it is refused: one has another of its id."""
    fresh: list[str] = []
    for queue in queues:
        known = connection.execute(_KNOWN, (queue, packed)).fetchone()
        if known is None:
            fresh.append(queue)
        elif not same_content(known[0], fingerprint):
            message_id = packed if isinstance(packed, str) else unpack_id(bytes(packed))
            return (), MessageIdConflictError(message_id, f"the queue {queue!r}")
    return fresh, None


def _columns_of(message: QueuedMessage) -> tuple[Any, ...]:
    return (
        bound_id(message.context.message_id),
        message.name,
        message.schema_version,
        message.format,
        bytearray(message.data),
        bytearray(encode_context(message.context)),
        message.due_at,
        message.created_at,
        int(message.priority),
        message.fingerprint,
    )
