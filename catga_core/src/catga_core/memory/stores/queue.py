"""Queues in memory: what is ready in its order, what is scheduled by its time, and what was handled."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

from catga_core.clock import Clock
from catga_core.errors import MessageIdConflictError
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
from catga_core.memory.engine.schedule import Schedule
from catga_core.memory.engine.table import Table
from catga_core.memory.storage import MemoryStorage
from catga_core.memory.unit_of_work import MemoryUnitOfWork
from catga_core.messages.fingerprints import same_content
from catga_core.option_checks import check_name
from catga_core.runtime.waiter import Waiter

_replace = msgspec.structs.replace

_Mark: TypeAlias = tuple[int, float, str, str]
"""Where an entry is in the order of `find`: scheduled or not, place or time, queue, message id."""

_BEGIN: _Mark = (-1, 0.0, "", "")


class _Row(msgspec.Struct, frozen=True):
    """A message that is not done.

    Args:
        message: The message.
        ready_at: When it became due.
        due_at: When it may be leased; while it is leased, when its lease ends.
        leased: Whether a consumer has it.
        attempts: How many attempts were begun.
        fencing_token: Of its last lease.
        error: What the last attempt failed with.
    """

    message: QueuedMessage
    ready_at: float
    due_at: float
    leased: bool = False
    attempts: int = 0
    fencing_token: int = 0
    error: str | None = None


class _Done(msgspec.Struct, frozen=True):
    message: QueuedMessage
    attempts: int
    done_at: float
    result: bytes | None


class _Queue:
    """One queue; `ids` has the place of each message that is ready, `None` for one that is scheduled."""

    def __init__(self, storage: MemoryStorage) -> None:
        self.ready: Table[int, _Row] = Table(storage)
        self.scheduled: Table[str, _Row] = Table(storage)
        self.done: Table[str, _Done] = Table(storage)
        self.ids: Table[str, int | None] = Table(storage)
        self.held: Table[str, None] = Table(storage)
        self.schedule: Schedule[str] = Schedule()


class _Queues:
    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self.by_name: dict[str, _Queue] = {}
        self.sequence = 0
        self.waiter = Waiter()

    def of(self, name: str) -> _Queue:
        """Return a queue, made at its first use."""
        found = self.by_name.get(name)
        if found is None:
            found = self.by_name[name] = _Queue(self._storage)
        return found


class MemoryQueueStore:
    """Keeps messages in memory until they are handled.

    Args:
        storage: Where they are kept.
        clock: Measures times, leases and delays.
    """

    def __init__(self, storage: MemoryStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._queues = storage.part(_Queues)

    async def add(self, message: QueuedMessage, /, *, queues: Sequence[str]) -> None:
        """Add a message to the end of some queues, to all or to none; joins the ambient unit of work."""
        message_id = message.context.message_id
        check_name("message_id", message_id)
        for name in queues:
            check_name("queue", name)
        unit = await self._storage.write()
        fresh: list[_Queue] = []
        for name in queues:
            queue = self._queues.of(name)
            known = _known(queue, message_id, unit)
            if known is None:
                fresh.append(queue)
            elif not same_content(known.fingerprint, message.fingerprint):
                raise MessageIdConflictError(message_id, f"the queue {name!r}")
        now = self._clock.time()
        for queue in fresh:
            row = _Row(message, max(now, message.due_at), message.due_at)
            if message.due_at > now:
                queue.scheduled.write(unit)[message_id] = row
                queue.ids.write(unit)[message_id] = None
                queue.schedule.add(message.due_at, message_id, unit)
            else:
                self._place(queue, row, unit)
        self._wake()

    async def lease(
        self, demands: Mapping[str, int], /, *, lease: float, longest_delay: float | None = None
    ) -> list[QueueLease]:
        """Take messages that are due: of each queue by priority, then in their order."""
        unit = await self._storage.write()
        now = self._clock.time()
        far = math.inf if longest_delay is None else now + longest_delay
        leased: list[QueueLease] = []
        for name, limit in demands.items():
            queue = self._queues.by_name.get(name)
            if queue is None:
                continue
            self._place_due(queue, now, unit)
            ready = queue.ready.write(unit)
            heads = _heads(ready, queue.held.write(unit))
            due = [place for place, row in heads if _is_due(row, now, far)]
            due.sort(key=lambda place: ready[place].message.priority)
            for place in due[:limit]:
                token = self._storage.next_fencing_token()
                row = ready[place]
                ready[place] = _replace(
                    row, due_at=now + lease, leased=True, attempts=row.attempts + 1, fencing_token=token
                )
                leased.append(QueueLease(name, place, row.message, row.attempts + 1, token, row.error))
        return leased

    async def renew(self, leased: Sequence[QueueLease], /, *, lease: float) -> list[QueueLease]:
        """Extend leases, counted from now; return those that are still the caller's."""
        unit = await self._storage.write()
        until = self._clock.time() + lease
        kept: list[QueueLease] = []
        for each in leased:
            ready = self._queues.of(each.queue).ready.write(unit)
            if (row := _owned(ready, each)) is not None:
                ready[each.sequence] = _replace(row, due_at=until)
                kept.append(each)
        return kept

    async def complete(self, leased: Sequence[QueueLease], /, *, result: bytes | None = None) -> None:
        """Record that messages were handled; joins the ambient unit of work."""
        unit = await self._storage.write()
        now = self._clock.time()
        for each in leased:
            queue = self._queues.of(each.queue)
            ready = queue.ready.write(unit)
            if (row := _owned(ready, each)) is not None:
                del ready[each.sequence]
                message_id = each.message.context.message_id
                del queue.ids.write(unit)[message_id]
                message = _replace(row.message, data=b"")
                queue.done.write(unit)[message_id] = _Done(message, row.attempts, now, result)
        self._wake()

    async def retry(self, leased: QueueLease, /, *, delay: float, error: str) -> None:
        """Give a message back for another attempt; does nothing where it was taken over by another consumer."""
        ready = self._queues.of(leased.queue).ready.write(await self._storage.write())
        if (row := _owned(ready, leased)) is not None:
            due_at = self._clock.time() + delay
            ready[leased.sequence] = _replace(row, due_at=due_at, leased=False, error=error)
            self._wake()

    async def release(self, leased: Sequence[QueueLease], /) -> None:
        """Give messages back without an attempt: they are due at once, and this lease does not count as an attempt."""
        unit = await self._storage.write()
        now = self._clock.time()
        for each in leased:
            ready = self._queues.of(each.queue).ready.write(unit)
            if (row := _owned(ready, each)) is not None:
                ready[each.sequence] = _replace(row, due_at=now, leased=False, attempts=row.attempts - 1)
        self._wake()

    async def discard(self, leased: QueueLease, /, *, hold_key: bool = False) -> bool:
        """Remove a message that goes to the dead letters; joins the ambient unit of work."""
        unit = await self._storage.write()
        queue = self._queues.of(leased.queue)
        ready = queue.ready.write(unit)
        if _owned(ready, leased) is None:
            return False
        del ready[leased.sequence]
        del queue.ids.write(unit)[leased.message.context.message_id]
        if hold_key and leased.message.key is not None:
            queue.held.write(unit)[leased.message.key] = None
        self._wake()
        return True

    async def release_key(self, queue: str, key: str, /) -> bool:
        """Give the messages of a held key again; joins the ambient unit of work."""
        held = self._queues.of(queue).held.write(await self._storage.write())
        if key not in held:
            return False
        del held[key]
        self._wake()
        return True

    async def cancel(self, queue: str, message_id: str, /) -> bool:
        """Remove a message that no attempt of runs; joins the ambient unit of work."""
        unit = await self._storage.write()
        kept = self._queues.of(queue)
        ids, ready = kept.ids.write(unit), kept.ready.write(unit)
        if message_id not in ids:
            return False
        place = ids[message_id]
        if place is None:
            del kept.scheduled.write(unit)[message_id]
        elif ready[place].leased and ready[place].due_at > self._clock.time():
            return False
        else:
            del ready[place]
        del ids[message_id]
        self._wake()
        return True

    async def get(self, queue: str, message_id: str, /) -> QueueEntry | None:
        """Return a message, done or not; `None` where there is none."""
        kept = self._queues.by_name.get(queue)
        if kept is None:
            return None
        done = kept.done.read().get(message_id)
        if done is not None:
            return QueueEntry(
                queue, done.message, QueueState.DONE, done.attempts, None, done.done_at, done.result
            )
        ids = kept.ids.read()
        if message_id not in ids:
            return None
        place = ids[message_id]
        if place is None:
            return _entry(queue, kept.scheduled.read()[message_id], QueueState.SCHEDULED)
        return self._ready_entry(queue, kept.ready.read()[place], kept.held.read())

    async def find(
        self, filter: QueueFilter = ALL_QUEUED, /, *, after: str | None = None, limit: int = 100
    ) -> QueuePage:
        """Return the messages that are not done and match a filter, a page at a time."""
        begin = _mark_of(after)
        marked = sorted(
            ((mark, entry) for mark, entry in self._entries(filter) if mark > begin), key=_by_mark
        )
        page = marked[:limit]
        rest = len(marked) > len(page)
        return QueuePage([entry for _, entry in page], _encode(page[-1][0]).decode() if rest else None)

    async def stats(self) -> Mapping[str, QueueStats]:
        """Return the state of each queue that has a message that is not done, or a held key."""
        found: dict[str, QueueStats] = {}
        now = self._clock.time()
        for name, queue in self._queues.by_name.items():
            rows, held = queue.ready.read().values(), len(queue.held.read())
            # What is due and was not placed yet is ready, not scheduled.
            due = [row for row in queue.scheduled.read().values() if row.due_at <= now]
            scheduled = len(queue.scheduled.read()) - len(due)
            if not (rows or due or scheduled or held):
                continue
            leased = [row for row in rows if row.leased and row.due_at > now]
            retrying = sum(row.attempts > 0 and not row.leased and row.due_at > now for row in rows)
            oldest = min((row.ready_at for row in (*rows, *due)), default=None)
            found[name] = QueueStats(len(rows) + len(due), scheduled, len(leased), retrying, held, oldest)
        return found

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        """Remove messages that are done, never others; return how many."""
        unit = await self._storage.write()
        before = self._clock.time() - older_than
        removed = 0
        for queue in self._queues.by_name.values():
            done = queue.done.write(unit)
            old: list[str] = []
            # Those that were done first come first.
            for message_id, row in done.items():
                if removed + len(old) >= limit or row.done_at >= before:
                    break
                old.append(message_id)
            for message_id in old:
                del done[message_id]
            removed += len(old)
        return removed

    async def wait(self, queues: Sequence[str], /, *, timeout: float) -> None:
        """Return when there may be a message that is due in one of the queues, at the latest after a number of real seconds."""
        # Other tasks get a turn in any case, also where a caller waits in a loop.
        await asyncio.sleep(0)
        now = self._clock.time()
        times = [time for name in queues if (time := self._next_time(name)) is not None]
        if not times:
            await self._queues.waiter.wait(timeout=timeout)
        elif (next_due := min(times)) > now:
            await self._queues.waiter.wait(timeout=timeout, work=self._clock.sleep(next_due - now))

    # --- inside ---

    def _place(self, queue: _Queue, row: _Row, unit: MemoryUnitOfWork | None) -> None:
        self._queues.sequence += 1
        queue.ready.write(unit)[self._queues.sequence] = row
        queue.ids.write(unit)[row.message.context.message_id] = self._queues.sequence

    def _place_due(self, queue: _Queue, now: float, unit: MemoryUnitOfWork | None) -> None:
        if queue.schedule.next(_is_scheduled(queue)) is None:
            return
        scheduled = queue.scheduled.write(unit)
        for message_id in queue.schedule.take(now, _is_scheduled(queue)):
            self._place(queue, scheduled.pop(message_id), unit)

    def _next_time(self, name: str) -> float | None:
        queue = self._queues.by_name.get(name)
        if queue is None:
            return None
        times = [row.due_at for _, row in _heads(queue.ready.read(), queue.held.read())]
        scheduled = queue.schedule.next(_is_scheduled(queue))
        return min(times if scheduled is None else [*times, scheduled], default=None)

    def _entries(self, filter: QueueFilter) -> Iterator[tuple[_Mark, QueueEntry]]:
        for name, queue in self._queues.by_name.items():
            if filter.queue not in {None, name}:
                continue
            held = queue.held.read()
            for place, row in queue.ready.read().items():
                if _matches(filter, row.message):
                    yield (0, place, name, ""), self._ready_entry(name, row, held)
            for message_id, row in queue.scheduled.read().items():
                if _matches(filter, row.message):
                    yield (1, row.due_at, name, message_id), _entry(name, row, QueueState.SCHEDULED)

    def _ready_entry(self, queue: str, row: _Row, held: Mapping[str, None]) -> QueueEntry:
        now = self._clock.time()
        if row.leased and row.due_at > now:
            state = QueueState.LEASED
        elif row.message.key is not None and row.message.key in held:
            state = QueueState.HELD
        elif row.attempts and not row.leased and row.due_at > now:
            state = QueueState.RETRYING
        else:
            state = QueueState.READY
        return _entry(queue, row, state)

    def _wake(self) -> None:
        self._storage.wake(self._queues.waiter)


def _known(queue: _Queue, message_id: str, unit: MemoryUnitOfWork | None) -> QueuedMessage | None:
    done = queue.done.write(unit).get(message_id)
    if done is not None:
        return done.message
    ids = queue.ids.write(unit)
    if message_id not in ids:
        return None
    place = ids[message_id]
    row = queue.scheduled.write(unit)[message_id] if place is None else queue.ready.write(unit)[place]
    return row.message


def _is_scheduled(queue: _Queue) -> Callable[[str, float], bool]:
    rows = queue.scheduled.read()
    return lambda message_id, due_at: (row := rows.get(message_id)) is not None and row.due_at == due_at


def _owned(ready: Mapping[int, _Row], leased: QueueLease) -> _Row | None:
    """Return a message that was leased and neither given back nor taken over since, whatever the time."""
    row = ready.get(leased.sequence)
    return row if row is not None and row.leased and row.fencing_token == leased.fencing_token else None


def _heads(ready: Mapping[int, _Row], held: Mapping[str, None]) -> Iterator[tuple[int, _Row]]:
    """Yield the messages that no earlier message of their key, and no held key, keeps back."""
    keys: set[str] = set()
    for place, row in ready.items():
        key = row.message.key
        if key is None:
            yield place, row
        elif key not in keys:
            keys.add(key)
            if key not in held:
                yield place, row


def _is_due(row: _Row, now: float, far: float) -> bool:
    return row.due_at <= now or (row.due_at > far and not row.leased)


def _matches(filter: QueueFilter, message: QueuedMessage) -> bool:
    return filter.name in {None, message.name} and filter.key in {None, message.key}


def _entry(queue: str, row: _Row, state: QueueState) -> QueueEntry:
    return QueueEntry(queue, row.message, state, row.attempts, row.error, row.due_at)


def _by_mark(marked: tuple[_Mark, QueueEntry]) -> _Mark:
    return marked[0]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Mark).decode


def _mark_of(after: str | None) -> _Mark:
    if after is None:
        return _BEGIN
    try:
        return _decode(after)
    except msgspec.DecodeError:
        msg = f"after must be the `next` of a page of these queues; got {after!r}. Pass None for the first page."
        raise ValueError(msg) from None
