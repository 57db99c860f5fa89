"""Which sagas are due or match a filter, the signals that they wait for, and their pruning."""

# ruff: noqa: S608 - statements are put together from texts of these modules only

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from typing import Final

from catga_core.interfaces.saga_records import (
    ClaimedSaga,
    SagaFilter,
    SagaKind,
    SagaPage,
    SagaRecord,
    SagaSignal,
    SagaState,
    SavedSaga,
)
from catga_core.storage_support.sagas import PRUNED
from catga_sqlite.engine.saga_rows import (
    GET,
    RECORD,
    claimed,
    entries_of,
    has_room,
    record_of,
    remove_entries,
)

_DUE: Final = (
    "SELECT due_at, number, name FROM catga_sagas INDEXED BY catga_sagas_due "
    "WHERE name = ? AND leased = ? AND due_at <= ? AND version = ? ORDER BY due_at, number LIMIT ?"
)
_NEXT: Final = (
    "SELECT due_at FROM catga_sagas INDEXED BY catga_sagas_due "
    "WHERE name = ? AND leased = ? AND due_at > ? AND version = ? ORDER BY due_at LIMIT 1"
)
_NEXT_END: Final = (
    "SELECT due_at FROM catga_sagas INDEXED BY catga_sagas_due "
    "WHERE name = ? AND leased = 1 AND due_at > ? ORDER BY due_at LIMIT 1"
)
_READ: Final = f"SELECT number, {RECORD} FROM catga_sagas WHERE transaction_id = ?"
# One text for every filter, so that it is prepared once: what is left out is NULL.
_MEANT: Final = (
    "transaction_id > :after AND (:state IS NULL OR state = :state) AND (:name IS NULL OR name = :name) "
    "AND (:parked IS NULL OR (problem IS NOT NULL) = :parked) AND (:before IS NULL OR updated_at < :before) "
    "ORDER BY transaction_id LIMIT :limit"
)
_FIND: Final = f"SELECT {RECORD} FROM catga_sagas WHERE {_MEANT}"
_FIND_PARTS: Final = (
    f"SELECT {RECORD} FROM catga_sagas INDEXED BY catga_sagas_parent WHERE parent = :parent AND {_MEANT}"
)
_FINAL: Final = ", ".join(f"'{state}'" for state in SagaState if state.is_final)
_CANCEL: Final = (
    "UPDATE catga_sagas SET cancelling = 1, due_at = CASE WHEN leased = 1 OR problem IS NOT NULL OR due_at <= :now "
    f"THEN due_at ELSE :now END WHERE transaction_id = :id AND cancelling = 0 AND state NOT IN ({_FINAL})"
)
_SIGNAL: Final = "INSERT INTO catga_saga_signals (topic, message_id, added_at, data) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_MAKE_DUE: Final = (
    "UPDATE catga_sagas SET due_at = :now WHERE number IN (SELECT number FROM catga_saga_waits WHERE topic = :topic) "
    "AND (due_at IS NULL OR due_at > :now)"
)
_SIGNALS: Final = (
    "SELECT topic, message_id, data, position FROM catga_saga_signals INDEXED BY catga_saga_signals_topic "
    "WHERE topic = ? AND position > ? ORDER BY position LIMIT ?"
)
_PRUNED: Final = ", ".join(f"'{state}'" for state in sorted(PRUNED))
_OLD: Final = (
    "SELECT number FROM catga_sagas s INDEXED BY catga_sagas_ended WHERE ended_at < ? AND leased = 0 AND NOT EXISTS ("
    f"SELECT 1 FROM catga_sagas p WHERE p.transaction_id = s.parent AND p.state NOT IN ({_PRUNED})) "
    "ORDER BY ended_at LIMIT ?"
)
_REMOVE: Final = "DELETE FROM catga_sagas WHERE number = ?"
_PRUNE_SIGNALS: Final = (
    "DELETE FROM catga_saga_signals WHERE position IN ("
    "SELECT position FROM catga_saga_signals WHERE added_at < ? ORDER BY added_at, position LIMIT ?)"
)


def take(
    connection: sqlite3.Connection, kinds: Sequence[SagaKind], limit: int, lease: float, now: float
) -> list[ClaimedSaga]:
    """Claim sagas that are due."""
    found: list[tuple[float, int, str, int]] = []
    for kind in kinds:
        for leased in (0, 1):
            due = connection.execute(_DUE, (kind.name, leased, now, kind.version, limit))
            found += [(*row, leased) for row in due]
    if not found:
        return []
    room = {
        kind.name: has_room(connection, kind.name, kind.most, now) for kind in kinds if kind.most is not None
    }
    taken: list[ClaimedSaga] = []
    for _, number, name, leased in sorted(found):
        if len(taken) == limit:
            break
        left = room.get(name)
        if left is not None:
            if left <= 0:
                continue
            room[name] = left - 1
        taken.append(claimed(connection, number, now + lease, taken_over=bool(leased)))
    return taken


def due_in(connection: sqlite3.Connection, kinds: Sequence[SagaKind], now: float) -> float | None:
    """Return the seconds until a saga may be taken; `None` where no time is known."""
    soonest = math.inf
    for kind in kinds:
        ways = [(kind.name, leased, now, kind.version) for leased in (0, 1)]
        if any(connection.execute(_DUE, (*way, 1)).fetchone() for way in ways):
            if kind.most is None or has_room(connection, kind.name, kind.most, now) > 0:
                return 0.0
            ends = connection.execute(_NEXT_END, (kind.name, now)).fetchone()
            soonest = min(soonest, ends[0])
            continue
        times = [connection.execute(_NEXT, way).fetchone() for way in ways]
        soonest = min(soonest, *(each[0] if each else math.inf for each in times))
    return None if soonest == math.inf else soonest - now


def get(connection: sqlite3.Connection, transaction_id: str) -> SagaRecord | None:
    """Return a saga."""
    row = connection.execute(GET, (transaction_id,)).fetchone()
    return None if row is None else record_of(*row)


def read(connection: sqlite3.Connection, transaction_id: str) -> SavedSaga | None:
    """Return a saga with its journal."""
    connection.execute("SAVEPOINT catga_read")
    try:
        row = connection.execute(_READ, (transaction_id,)).fetchone()
        return None if row is None else SavedSaga(record_of(*row[1:]), entries_of(connection, row[0]))
    finally:
        connection.execute("RELEASE catga_read")


def find(connection: sqlite3.Connection, filter: SagaFilter, after: str | None, limit: int) -> SagaPage:
    """Return a page of the sagas that match a filter."""
    values = {
        "after": after or "",
        "state": filter.state,
        "name": filter.name,
        "parked": filter.parked,
        "before": filter.updated_before,
        "parent": filter.parent,
        # One more than asked for tells whether there is a next page.
        "limit": limit + 1,
    }
    rows = connection.execute(_FIND if filter.parent is None else _FIND_PARTS, values).fetchall()
    page = [record_of(*row) for row in rows[:limit]]
    return SagaPage(page, page[-1].saga.transaction_id if len(rows) > limit else None)


def cancel(connection: sqlite3.Connection, transaction_id: str, now: float) -> SagaRecord | None:
    """Request a cancellation."""
    connection.execute(_CANCEL, {"id": transaction_id, "now": now})
    return get(connection, transaction_id)


def signal(connection: sqlite3.Connection, signal: SagaSignal, now: float) -> bool:
    """Add a signal that is not known."""
    values = (signal.topic, signal.message_id, now, bytearray(signal.data))
    if not connection.execute(_SIGNAL, values).rowcount:
        return False
    connection.execute(_MAKE_DUE, {"topic": signal.topic, "now": now})
    return True


def signals(connection: sqlite3.Connection, topic: str, after: int, limit: int) -> list[SagaSignal]:
    """Return signals of a topic."""
    return [SagaSignal(*row) for row in connection.execute(_SIGNALS, (topic, after, limit))]


def prune(connection: sqlite3.Connection, before: float, limit: int) -> int:
    """Remove old sagas and signals."""
    old = connection.execute(_OLD, (before, limit)).fetchall()
    for (number,) in old:
        remove_entries(connection, number)
    connection.executemany(_REMOVE, old)
    connection.execute(_PRUNE_SIGNALS, (before, limit))
    return len(old)
