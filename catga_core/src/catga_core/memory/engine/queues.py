"""The rows of queues in memory, and the indexes that leases take from."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from catga_core.interfaces.queue import QueuedMessage
from catga_core.memory.engine.ordered import Ordered
from catga_core.memory.engine.table import Table
from catga_core.memory.storage import MemoryStorage
from catga_core.memory.unit_of_work import MemoryUnitOfWork
from catga_core.runtime.waiter import Waiter
from catga_core.storage_support.queues import most_at_once

Unit: TypeAlias = MemoryUnitOfWork | None


class Row(msgspec.Struct, frozen=True):
    """A message that is not done.

    Args:
        message: The message.
        number: Rises in the order in which messages were added.
        ready_at: When it becomes due for the first time.
        due_at: When it may be leased, `0.0` for at once; while it is leased, when its lease ends.
        place: Its place; `None` while it is scheduled.
        leased: Whether a consumer has it, or had it until its lease ended.
        attempts: How many attempts were begun.
        fencing_token: Of its last lease.
        error: What the last failed attempt failed with.
    """

    message: QueuedMessage
    number: int
    ready_at: float
    due_at: float
    place: int | None = None
    leased: bool = False
    attempts: int = 0
    fencing_token: int = 0
    error: str | None = None

    @property
    def message_id(self) -> str:
        """The message's identity."""
        return self.message.context.message_id


class Done(msgspec.Struct, frozen=True):
    """A message that was handled.

    Args:
        message: The message without its bytes.
        attempts: How many attempts were begun.
        error: What the last failed attempt failed with.
        done_at: Seconds since the Unix epoch.
        result: What its handler ended with.
    """

    message: QueuedMessage
    attempts: int
    error: str | None
    done_at: float
    result: bytes | None


class Queue:
    """One queue.

    Of each key only the first message is in `ready`, `leased` or `retrying`, and none of a held key. One whose time has come is
    moved to `ready` by the next lease.

    Args:
        storage: Where it is kept.
        waiter: Whom to wake when changes were undone, because tasks that wait may have seen them.
    """

    def __init__(self, storage: MemoryStorage, waiter: Waiter) -> None:
        self.rows: Table[str, Row] = Table(storage)
        self.done: Table[str, Done] = Table(storage)
        self.held: Table[str, None] = Table(storage)
        self.ready: Ordered[tuple[int, int, str]] = Ordered(waiter.wake)
        self.leased: Ordered[tuple[float, int, str]] = Ordered(waiter.wake)
        self.retrying: Ordered[tuple[float, int, str]] = Ordered(waiter.wake)
        self.scheduled: Ordered[tuple[float, int, str]] = Ordered(waiter.wake)
        self.keyed: Ordered[tuple[str, int, str]] = Ordered(waiter.wake)

    def head(self, key: str) -> str | None:
        """Return the id of the first message of a key."""
        found = self.keyed.next((key,))
        return found[2] if found is not None and found[0] == key else None

    def place(self, row: Row, place: int, unit: Unit) -> None:
        """Give a message its place at the end."""
        row = msgspec.structs.replace(row, place=place, due_at=0.0)
        message_id, key = row.message_id, row.message.key
        self.rows.write(unit)[message_id] = row
        if key is None:
            self.offer(row, unit)
            return
        is_head = self.head(key) is None
        self.keyed.add((key, place, message_id), unit)
        if is_head and key not in self.held.write(unit):
            self.offer(row, unit)

    def offer(self, row: Row, unit: Unit) -> None:
        """Let the first message of a key, or one without a key, be leased when it is due."""
        assert row.place is not None  # noqa: S101 - for type checkers
        message_id = row.message_id
        if row.due_at == 0.0:
            self.ready.add((row.message.priority, row.place, message_id), unit)
        elif row.leased:
            self.leased.add((row.due_at, row.place, message_id), unit)
        else:
            self.retrying.add((row.due_at, row.place, message_id), unit)

    def change(self, row: Row, changed: Row, unit: Unit) -> None:
        """Keep what has become of a message that was leased."""
        self._withdraw(row, unit)
        self.rows.write(unit)[row.message_id] = changed
        self.offer(changed, unit)

    def remove(self, row: Row, unit: Unit) -> None:
        """Remove a message; the next one of its key may be leased then."""
        message_id, key = row.message_id, row.message.key
        del self.rows.write(unit)[message_id]
        if row.place is None:
            self.scheduled.discard((row.due_at, row.number, message_id), unit)
            return
        self._withdraw(row, unit)
        if key is not None:
            was_head = self.head(key) == message_id
            self.keyed.discard((key, row.place, message_id), unit)
            if was_head:
                self.offer_head(key, unit)

    def offer_head(self, key: str, unit: Unit) -> None:
        """Let the first message of a key be leased, unless the key is held."""
        head = self.head(key)
        if head is not None and key not in self.held.write(unit):
            self.offer(self.rows.write(unit)[head], unit)

    def ripen(self, now: float, far: float, limit: int, last_place: int, unit: Unit) -> int:
        """Move what has become due to `ready`, and give scheduled messages their places; return the last place then."""
        most = most_at_once(limit)
        rows = self.rows.write(unit)
        for _, _, message_id in self.scheduled.take_due(now, most, unit):
            last_place += 1
            self.place(rows[message_id], last_place, unit)
        for waiting in (self.leased, self.retrying):
            for item in waiting.take_due(now, most, unit):
                self._ready_now(item, unit)
        for _ in range(most):
            if (given := self.retrying.last) is None or given[0] <= far:
                break
            # Given back before the clock stepped back: the wait is over.
            row = rows[given[2]]
            self.change(row, msgspec.structs.replace(row, due_at=0.0), unit)
        return last_place

    def _ready_now(self, item: tuple[float, int, str], unit: Unit) -> None:
        _, place, message_id = item
        self.ready.add((self.rows.write(unit)[message_id].message.priority, place, message_id), unit)

    def _withdraw(self, row: Row, unit: Unit) -> None:
        assert row.place is not None  # noqa: S101 - for type checkers
        message_id = row.message_id
        self.ready.discard((row.message.priority, row.place, message_id), unit)
        self.leased.discard((row.due_at, row.place, message_id), unit)
        self.retrying.discard((row.due_at, row.place, message_id), unit)


class Queues:
    """All queues of a storage.

    Args:
        storage: Where they are kept.
    """

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self.by_name: dict[str, Queue] = {}
        self.number = 0
        self.place = 0
        self.waiter: Waiter = Waiter()

    def of(self, name: str) -> Queue:
        """Return a queue, made at its first use."""
        found = self.by_name.get(name)
        if found is None:
            found = self.by_name[name] = Queue(self._storage, self.waiter)
        return found
