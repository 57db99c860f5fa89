"""The rows of sagas in memory, and the indexes that claims take from."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from catga_core.interfaces.saga_records import (
    NewSaga,
    SagaRecord,
    SagaSignal,
    SagaState,
    SagaWait,
)
from catga_core.memory.engine.ordered import Ordered
from catga_core.memory.engine.table import Table
from catga_core.memory.storage import MemoryStorage
from catga_core.memory.unit_of_work import MemoryUnitOfWork
from catga_core.runtime.waiter import Waiter

Unit: TypeAlias = MemoryUnitOfWork | None


class SagaRow(msgspec.Struct, frozen=True):
    """A saga.

    Args:
        saga: What it began with.
        number: Rises in the order in which sagas began.
        state: Its state.
        created_at: Seconds since the Unix epoch.
        updated_at: Seconds since the Unix epoch.
        due_at: As in `SagaRecord`.
        leased: Whether it is claimed.
        fencing_token: Of its last claim.
        entries: The number of entries in its journal.
        waits: The topics that it waits for.
        cancelling: Whether its cancellation was requested.
        outcome: What it ended with.
        problem: Why it is parked.
    """

    saga: NewSaga
    number: int
    state: SagaState
    created_at: float
    updated_at: float
    due_at: float | None
    leased: bool
    fencing_token: int
    entries: int = 0
    waits: tuple[SagaWait, ...] = ()
    cancelling: bool = False
    outcome: bytes | None = None
    problem: bytes | None = None

    @property
    def id(self) -> str:
        """The saga's transaction id."""
        return self.saga.transaction_id

    def record(self) -> SagaRecord:
        """Return it as the port shows it."""
        return SagaRecord(
            self.saga,
            self.state,
            self.entries,
            self.created_at,
            self.updated_at,
            self.due_at,
            self.leased,
            self.cancelling,
            self.outcome,
            self.problem,
        )


class Sagas:
    """All sagas of a storage.

    Args:
        storage: Where they are kept.
    """

    def __init__(self, storage: MemoryStorage) -> None:
        self.waiter: Waiter = Waiter()
        self.rows: Table[str, SagaRow] = Table(storage)
        self.entries: Table[tuple[str, int], bytes] = Table(storage)
        self.signals: Table[tuple[str, str], tuple[SagaSignal, float]] = Table(storage)
        self.due: Ordered[tuple[float, int, str]] = Ordered(self.waiter.wake)
        self.leased: Ordered[tuple[str, float, str]] = Ordered(self.waiter.wake)
        self.waiting: Ordered[tuple[str, str]] = Ordered(self.waiter.wake)
        self.positions: Ordered[tuple[str, int, str]] = Ordered(self.waiter.wake)
        self.number: int = 0
        self.position: int = 0

    def keep(self, row: SagaRow, before: SagaRow | None, unit: Unit) -> None:
        """Keep a row in the place of another, and its items in the indexes."""
        if before is not None:
            self._unlist(before, unit)
        self.rows.write(unit)[row.id] = row
        if row.due_at is not None:
            self.due.add((row.due_at, row.number, row.id), unit)
            if row.leased:
                self.leased.add((row.saga.name, row.due_at, row.id), unit)
        for wait in row.waits:
            self.waiting.add((wait.topic, row.id), unit)

    def remove(self, row: SagaRow, unit: Unit) -> None:
        """Remove a saga and its journal."""
        self._unlist(row, unit)
        del self.rows.write(unit)[row.id]
        entries = self.entries.write(unit)
        for index in range(row.entries):
            del entries[row.id, index]

    def running(self, name: str, now: float) -> int:
        """Return how many sagas of a name are leased."""
        items, count, at = self.leased.items, 0, self.leased.place((name, now))
        # Those whose lease has run out come first.
        while at + count < len(items) and items[at + count][0] == name:
            count += 1
        return count

    def _unlist(self, row: SagaRow, unit: Unit) -> None:
        if row.due_at is not None:
            self.due.discard((row.due_at, row.number, row.id), unit)
            if row.leased:
                self.leased.discard((row.saga.name, row.due_at, row.id), unit)
        for wait in row.waits:
            self.waiting.discard((wait.topic, row.id), unit)
