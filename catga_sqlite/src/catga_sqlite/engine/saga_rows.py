"""The rows of sagas: what the process that runs a saga writes.

Each function is a job of the writer. A fencing token is made of the number of the saga's row and a count of its claims, so that the row
is found by its number. The count begins at random: after a rollback another saga gets the same number, and must not get a token that
was given before.
"""

# ruff: noqa: S608 - statements are put together from texts of this module only

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from catga_core.interfaces.saga_records import (
    BegunSaga,
    ClaimedSaga,
    NewSaga,
    SagaClaim,
    SagaPause,
    SagaRecord,
    SagaRenewal,
    SagaState,
)
from catga_core.storage_support.sagas import PRUNED, lost_saga, missing_entries

BITS: Final = 24
"""Bits of a token for the claims of one saga, and of an entry's id for the place in its journal."""

_RANDOM_BITS: Final = 20

RECORD: Final = (
    "transaction_id, name, version, format, data, deadline, parent, state, entries, created_at, updated_at, "
    "due_at, leased, cancelling, outcome, problem"
)
"""The columns of a saga, in the order of `record_of`."""

GET: Final = f"SELECT {RECORD} FROM catga_sagas WHERE transaction_id = ?"

_NEW: Final = (
    "transaction_id, name, version, state, leased, claims, due_at, created_at, updated_at, format, data"
)
# Most sagas have neither: sqlite3 looks for an adapter of every None that it binds.
_BEGIN: Final = (
    f"INSERT INTO catga_sagas ({_NEW}) VALUES (?, ?, ?, 'running', ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (transaction_id) DO NOTHING"
)
_BEGIN_PART: Final = (
    f"INSERT INTO catga_sagas ({_NEW}, deadline, parent) VALUES (?, ?, ?, 'running', ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (transaction_id) DO NOTHING"
)
_OVERDUE: Final = "SELECT 1 FROM catga_sagas INDEXED BY catga_sagas_due WHERE name = ? AND leased = ? AND due_at <= ? LIMIT 1"
_RUNNING: Final = (
    "SELECT count(*) FROM catga_sagas INDEXED BY catga_sagas_due WHERE name = ? AND leased = 1 AND due_at > ?"
)
_OWN: Final = "number = ? AND claims = ? AND leased = 1 AND transaction_id = ?"
_LOOK: Final = (
    "SELECT entries, state, leased, claims FROM catga_sagas WHERE number = ? AND transaction_id = ?"
)
_APPEND: Final = f"UPDATE catga_sagas SET entries = ?, updated_at = ? WHERE {_OWN} AND entries = ?"
_APPEND_STATE: Final = (
    f"UPDATE catga_sagas SET entries = ?, updated_at = ?, state = ? WHERE {_OWN} AND entries = ?"
)
_END: Final = (
    "UPDATE catga_sagas SET entries = ?, updated_at = ?, state = ?, leased = 0, due_at = NULL, ended_at = ?, outcome = ?, "
    f"problem = ? WHERE {_OWN} AND entries = ?"
)
_PAUSE: Final = (
    "UPDATE catga_sagas SET entries = ?, updated_at = ?, state = ?, leased = 0, due_at = CASE cancelling WHEN 1 THEN ? ELSE ? END, "
    f"ended_at = NULL, outcome = ?, problem = NULL, waits = ? WHERE {_OWN} AND entries = ?"
)
_LATER: Final = "SELECT 1 FROM catga_saga_signals INDEXED BY catga_saga_signals_topic WHERE topic = ? AND position > ? LIMIT 1"
_WAIT: Final = "INSERT INTO catga_saga_waits (topic, number) VALUES (?, ?) ON CONFLICT DO NOTHING"
_WAITS_NO_MORE: Final = "DELETE FROM catga_saga_waits WHERE topic = ? AND number = ?"
_ADD_ENTRY: Final = "INSERT INTO catga_saga_entries (id, entry) VALUES (?, ?) ON CONFLICT (id) DO NOTHING"
_ENTRIES: Final = "SELECT entry FROM catga_saga_entries WHERE id >= ? AND id < ? ORDER BY id"
_REMOVE_ENTRIES: Final = "DELETE FROM catga_saga_entries WHERE id >= ? AND id < ?"
_REWRITE: Final = (
    "UPDATE catga_sagas SET entries = ?, updated_at = ?, state = ?, version = ?, data = ?, cancelling = 0, outcome = NULL, "
    f"problem = NULL, ended_at = NULL WHERE {_OWN}"
)
_RENEW: Final = f"UPDATE catga_sagas SET due_at = ? WHERE {_OWN} RETURNING cancelling"
_CLAIM: Final = (
    "UPDATE catga_sagas SET leased = 1, due_at = ?, claims = claims + 1 WHERE number = ? "
    f"RETURNING number, claims, waits, {RECORD}"
)
_FIND_FREE: Final = (
    "SELECT number, leased FROM catga_sagas WHERE transaction_id = ? AND NOT (leased = 1 AND due_at > ?)"
)
_FORGET_WAITS: Final = "UPDATE catga_sagas SET waits = NULL WHERE number = ?"

_waits_of = msgspec.json.Decoder(list[str]).decode


def record_of(
    transaction_id: str,
    name: str,
    version: int,
    format: str,
    data: bytes,
    deadline: float | None,
    parent: str | None,
    state: str,
    entries: int,
    created_at: float,
    updated_at: float,
    due_at: float | None,
    leased: int,
    cancelling: int,
    outcome: bytes | None,
    problem: bytes | None,
) -> SagaRecord:
    """Return a saga from its columns."""
    saga = NewSaga(transaction_id, name, version, format, data, deadline, parent)
    return SagaRecord(
        saga,
        SagaState(state),
        entries,
        created_at,
        updated_at,
        due_at,
        bool(leased),
        bool(cancelling),
        outcome,
        problem,
    )


def has_room(connection: sqlite3.Connection, name: str, most: int, now: float) -> int:
    """Return how many more sagas of a name may be leased."""
    [(running,)] = connection.execute(_RUNNING, (name, now)).fetchall()
    return most - int(running)


def begin(
    connection: sqlite3.Connection, saga: NewSaga, lease: float, most: int | None, now: float
) -> BegunSaga:
    """Add a saga that is not known."""
    free = most is None or _is_next(connection, saga.name, most, now)
    due_at = now + lease if free else now
    claims = random.getrandbits(_RANDOM_BITS)
    values: tuple[Any, ...] = (
        saga.transaction_id,
        saga.name,
        saga.version,
        int(free),
        claims,
        due_at,
        now,
        now,
        saga.format,
        bytearray(saga.data),
    )
    if saga.deadline is None and saga.parent is None:
        added = connection.execute(_BEGIN, values)
    else:
        added = connection.execute(_BEGIN_PART, (*values, saga.deadline, saga.parent))
    if not added.rowcount:
        return BegunSaga(
            record_of(*connection.execute(GET, (saga.transaction_id,)).fetchone()), None, created=False
        )
    record = SagaRecord(saga, SagaState.RUNNING, 0, now, now, due_at, free)
    claim = _claim_of(saga.transaction_id, added.lastrowid or 0, claims) if free else None
    return BegunSaga(record, claim, created=True)


def append(
    connection: sqlite3.Connection,
    claim: SagaClaim,
    entries: Sequence[bytes],
    after: int,
    state: SagaState | None,
    now: float,
) -> None:
    """Add entries to a journal."""
    number, claims = _parts(claim)
    count = after + len(entries)
    own = number, claims, claim.transaction_id, after
    if state is None:
        changed = connection.execute(_APPEND, (count, now, *own))
    else:
        changed = connection.execute(_APPEND_STATE, (count, now, state.value, *own))
    if not changed.rowcount:
        there, was = _require(connection, claim, after)
        if there >= count and state in {None, was}:
            # The same again, after an outcome that was not known.
            return
        count = max(there, count)
        connection.execute(_APPEND_STATE, (count, now, state or was, *own[:-1], there))
    _add(connection, number, after, entries)


def release(
    connection: sqlite3.Connection,
    claim: SagaClaim,
    entries: Sequence[bytes],
    after: int,
    pause: SagaPause,
    waits: bytes | None,
    now: float,
) -> None:
    """Add entries to a journal and give the claim back."""
    number, claims = _parts(claim)
    count, state = after + len(entries), pause.state
    ends = state.is_final or pause.problem is not None
    if ends:
        ended_at = now if state in PRUNED else None
        statement = _END
        changes: tuple[Any, ...] = (now, state.value, ended_at, pause.outcome, pause.problem)
    else:
        due_at = now if waits is not None and _is_signalled(connection, pause) else pause.due_at
        statement = _PAUSE
        changes = (now, state.value, now, due_at, pause.outcome, waits)
    own = number, claims, claim.transaction_id
    if not connection.execute(statement, (count, *changes, *own, after)).rowcount:
        if _was_released(connection, claim, count, state):
            # The same again, after an outcome that was not known.
            return
        there, _ = _require(connection, claim, after)
        connection.execute(statement, (max(there, count), *changes, *own, there))
    if waits is not None and not ends:
        connection.executemany(_WAIT, [(wait.topic, number) for wait in pause.waits])
    _add(connection, number, after, entries)


def rewrite(
    connection: sqlite3.Connection,
    claim: SagaClaim,
    entries: Sequence[bytes],
    version: int,
    data: bytes,
    state: SagaState,
    now: float,
) -> None:
    """Replace a whole journal."""
    number, claims = _parts(claim)
    values = (len(entries), now, state.value, version, bytearray(data), number, claims, claim.transaction_id)
    if not connection.execute(_REWRITE, values).rowcount:
        raise lost_saga(claim.transaction_id)
    remove_entries(connection, number)
    _add(connection, number, 0, entries)


def renew(
    connection: sqlite3.Connection, claims: Sequence[SagaClaim], lease: float, now: float
) -> SagaRenewal:
    """Extend claims."""
    lost: set[str] = set()
    cancelling: set[str] = set()
    for claim in claims:
        found = connection.execute(_RENEW, (now + lease, *_parts(claim), claim.transaction_id)).fetchall()
        if not found:
            lost.add(claim.transaction_id)
        elif found[0][0]:
            cancelling.add(claim.transaction_id)
    return SagaRenewal(frozenset(lost), frozenset(cancelling))


def claim_one(
    connection: sqlite3.Connection, transaction_id: str, lease: float, now: float
) -> ClaimedSaga | None:
    """Claim a saga that no process runs."""
    found = connection.execute(_FIND_FREE, (transaction_id, now)).fetchone()
    return None if found is None else claimed(connection, found[0], now + lease, taken_over=bool(found[1]))


def claimed(connection: sqlite3.Connection, number: int, until: float, *, taken_over: bool) -> ClaimedSaga:
    """Claim the saga of a row."""
    [(_, claims, waits, *columns)] = connection.execute(_CLAIM, (until, number)).fetchall()
    if waits is not None:
        connection.executemany(_WAITS_NO_MORE, [(topic, number) for topic in _waits_of(waits)])
        connection.execute(_FORGET_WAITS, (number,))
    record = record_of(*columns)
    entries = entries_of(connection, number) if record.entries else []
    return ClaimedSaga(_claim_of(record.saga.transaction_id, number, claims), record, entries, taken_over)


def entries_of(connection: sqlite3.Connection, number: int) -> list[bytes]:
    """Return the journal of a saga."""
    return [entry for (entry,) in connection.execute(_ENTRIES, _range_of(number))]


def remove_entries(connection: sqlite3.Connection, number: int) -> None:
    """Remove the journal of a saga."""
    connection.execute(_REMOVE_ENTRIES, _range_of(number))


def _add(connection: sqlite3.Connection, number: int, after: int, entries: Sequence[bytes]) -> None:
    id = (number << BITS) + after
    for entry in entries:
        connection.execute(_ADD_ENTRY, (id, bytearray(entry)))
        id += 1


def _is_next(connection: sqlite3.Connection, name: str, most: int, now: float) -> bool:
    """Return whether a new saga has room, and no other waits for its turn."""
    return has_room(connection, name, most, now) > 0 and not any(
        connection.execute(_OVERDUE, (name, leased, now)).fetchone() for leased in (0, 1)
    )


def _is_signalled(connection: sqlite3.Connection, pause: SagaPause) -> bool:
    return any(connection.execute(_LATER, (wait.topic, wait.after)).fetchone() for wait in pause.waits)


def _was_released(connection: sqlite3.Connection, claim: SagaClaim, count: int, state: SagaState) -> bool:
    number, claims = _parts(claim)
    found = connection.execute(_LOOK, (number, claim.transaction_id)).fetchone()
    return found is not None and tuple(found) == (count, state.value, 0, claims)


def _require(connection: sqlite3.Connection, claim: SagaClaim, after: int) -> tuple[int, str]:
    """Return how many entries there are, and the state; raise where the claim was lost or entries are missing."""
    number, claims = _parts(claim)
    found = connection.execute(_LOOK, (number, claim.transaction_id)).fetchone()
    if found is None or found[2:] != (1, claims):
        raise lost_saga(claim.transaction_id)
    there, state, _, _ = found
    if there < after:
        raise missing_entries(claim.transaction_id, after, there)
    return there, state


def _parts(claim: SagaClaim) -> tuple[int, int]:
    return claim.fencing_token >> BITS, claim.fencing_token & ((1 << BITS) - 1)


def _claim_of(transaction_id: str, number: int, claims: int) -> SagaClaim:
    return SagaClaim(transaction_id, (number << BITS) + claims)


def _range_of(number: int) -> tuple[int, int]:
    return number << BITS, (number + 1) << BITS
