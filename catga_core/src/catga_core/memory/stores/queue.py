"""Queues in memory: what may be leased in its order, what waits by its time, and what was handled."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Iterator, Mapping, Sequence

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
from catga_core.memory.engine.queues import Done, Queue, Queues, Row, Unit
from catga_core.memory.storage import MemoryStorage
from catga_core.messages.fingerprints import same_content
from catga_core.option_checks import check_name
from catga_core.storage_support.queues import PageMark, lost_message, mark_of, next_of, state_of

_replace = msgspec.structs.replace


class MemoryQueueStore:
    """Keeps messages in memory until they are handled.

    Args:
        storage: Where they are kept.
        clock: Measures times, leases and delays.
    """

    def __init__(self, storage: MemoryStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._queues = storage.part(Queues)

    async def add(self, message: QueuedMessage, /, *, queues: Sequence[str]) -> None:
        """Add a message to the end of some queues, to all or to none; joins the ambient unit of work."""
        message_id = message.context.message_id
        check_name("message_id", message_id)
        for name in queues:
            check_name("queue", name)
        unit = await self._storage.write()
        fresh: list[Queue] = []
        for name in queues:
            queue = self._queues.of(name)
            known = queue.rows.write(unit).get(message_id) or queue.done.write(unit).get(message_id)
            if known is None:
                fresh.append(queue)
            elif not same_content(known.message.fingerprint, message.fingerprint):
                raise MessageIdConflictError(message_id, f"the queue {name!r}")
        now = self._clock.time()
        for queue in fresh:
            self._queues.number += 1
            due_at = max(now, message.due_at)
            row = Row(message, self._queues.number, due_at, due_at)
            # Behind those whose time has come, and which have no place yet.
            if due_at > now or ((first := queue.scheduled.first) is not None and first[0] <= now):
                queue.rows.write(unit)[message_id] = row
                queue.scheduled.add((due_at, row.number, message_id), unit)
            else:
                self._queues.place += 1
                queue.place(row, self._queues.place, unit)
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
            self._queues.place = queue.ripen(now, far, limit, self._queues.place, unit)
            rows = queue.rows.write(unit)
            for _, place, message_id in queue.ready.take_first(limit, unit):
                row = rows[message_id]
                token = self._storage.next_fencing_token()
                rows[message_id] = _replace(
                    row, due_at=now + lease, leased=True, attempts=row.attempts + 1, fencing_token=token
                )
                queue.leased.add((now + lease, place, message_id), unit)
                leased.append(QueueLease(name, place, row.message, row.attempts + 1, token, row.error))
        return leased

    async def renew(self, leased: Sequence[QueueLease], /, *, lease: float) -> list[QueueLease]:
        """Extend leases, counted from now; return those that are still the caller's."""
        unit = await self._storage.write()
        until = self._clock.time() + lease
        kept: list[QueueLease] = []
        for each in leased:
            queue = self._queues.of(each.queue)
            if (row := _owned(queue, each, unit)) is not None:
                queue.change(row, _replace(row, due_at=until), unit)
                kept.append(each)
        return kept

    async def complete(self, leased: Sequence[QueueLease], /, *, result: bytes | None = None) -> None:
        """Record that messages were handled; joins the ambient unit of work."""
        unit = await self._storage.write()
        now = self._clock.time()
        if unit is not None:
            lost = [each for each in leased if _owned(self._queues.of(each.queue), each, unit) is None]
            if lost:
                raise lost_message(lost[0].queue, lost[0].message.context.message_id)
        for each in leased:
            queue = self._queues.of(each.queue)
            if (row := _owned(queue, each, unit)) is not None:
                queue.remove(row, unit)
                message = _replace(row.message, data=b"")
                queue.done.write(unit)[row.message_id] = Done(message, row.attempts, row.error, now, result)
        self._wake()

    async def require(self, leased: QueueLease, /) -> None:
        """Require that a message is the caller's until the ambient unit of work is committed."""
        unit = await self._storage.write()
        if _owned(self._queues.of(leased.queue), leased, unit) is None:
            raise lost_message(leased.queue, leased.message.context.message_id)

    async def retry(self, leased: QueueLease, /, *, delay: float, error: str) -> None:
        """Give a message back for another attempt; does nothing where it was taken over by another consumer."""
        unit = await self._storage.write()
        queue = self._queues.of(leased.queue)
        if (row := _owned(queue, leased, unit)) is not None:
            due_at = self._clock.time() + delay if delay > 0 else 0.0
            queue.change(row, _replace(row, due_at=due_at, leased=False, error=error), unit)
            self._wake()

    async def release(self, leased: Sequence[QueueLease], /) -> None:
        """Give messages back without an attempt: they are due at once, and this lease does not count as an attempt."""
        unit = await self._storage.write()
        for each in leased:
            queue = self._queues.of(each.queue)
            if (row := _owned(queue, each, unit)) is not None:
                released = _replace(row, due_at=0.0, leased=False, attempts=row.attempts - 1)
                queue.change(row, released, unit)
        self._wake()

    async def discard(self, leased: QueueLease, /, *, hold_key: bool = False) -> bool:
        """Remove a message that goes to the dead letters; joins the ambient unit of work."""
        unit = await self._storage.write()
        queue = self._queues.of(leased.queue)
        if (row := _owned(queue, leased, unit)) is None:
            return False
        if hold_key and row.message.key is not None:
            queue.held.write(unit)[row.message.key] = None
        queue.remove(row, unit)
        self._wake()
        return True

    async def release_key(self, queue: str, key: str, /) -> bool:
        """Give the messages of a held key again; joins the ambient unit of work."""
        unit = await self._storage.write()
        kept = self._queues.of(queue)
        held = kept.held.write(unit)
        if key not in held:
            return False
        del held[key]
        kept.offer_head(key, unit)
        self._wake()
        return True

    async def cancel(self, queue: str, message_id: str, /) -> bool:
        """Remove a message that no attempt of runs; joins the ambient unit of work."""
        unit = await self._storage.write()
        kept = self._queues.of(queue)
        row = kept.rows.write(unit).get(message_id)
        if row is None or (row.leased and row.due_at > self._clock.time()):
            return False
        kept.remove(row, unit)
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
                queue, done.message, QueueState.DONE, done.attempts, done.error, done.done_at, done.result
            )
        row = kept.rows.read().get(message_id)
        return None if row is None else _entry(queue, row, kept.held.read(), self._clock.time())

    async def find(
        self, filter: QueueFilter = ALL_QUEUED, /, *, after: str | None = None, limit: int = 100
    ) -> QueuePage:
        """Return the messages that are not done and match a filter, a page at a time."""
        begin = mark_of(after)
        found = heapq.nsmallest(
            limit + 1, (each for each in self._matching(filter) if each[0] > begin), key=_mark
        )
        page, now = found[:limit], self._clock.time()
        entries = [_entry(name, row, self._queues.of(name).held.read(), now) for _, name, row in page]
        return QueuePage(entries, next_of(page[-1][0]) if len(found) > limit else None)

    async def stats(self) -> Mapping[str, QueueStats]:
        """Return the state of each queue that has a message that is not done, or a held key."""
        found: dict[str, QueueStats] = {}
        now = self._clock.time()
        for name, queue in self._queues.by_name.items():
            rows, held = queue.rows.read(), queue.held.read()
            if not (rows or held):
                continue
            states = [_entry(name, row, held, now).state for row in rows.values()]
            scheduled = states.count(QueueState.SCHEDULED)
            times = [row.ready_at for row in rows.values() if row.place is not None or row.ready_at <= now]
            found[name] = QueueStats(
                ready=len(states) - scheduled,
                scheduled=scheduled,
                leased=states.count(QueueState.LEASED),
                retrying=states.count(QueueState.RETRYING),
                held_keys=len(held),
                oldest_at=min(times, default=None),
            )
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
        self._storage.check_loop()
        times = [time for name in queues if (time := self._next_time(name)) is not None]
        soon = min(times) - self._clock.time() if times else None
        if soon is None:
            await self._queues.waiter.wait(timeout=timeout)
        elif soon > 0:
            await self._queues.waiter.wait(timeout=timeout, work=self._clock.sleep(soon))

    # --- inside ---

    def _next_time(self, name: str) -> float | None:
        queue = self._queues.by_name.get(name)
        if queue is None:
            return None
        if queue.ready.first is not None:
            return 0.0
        firsts = (queue.leased.first, queue.retrying.first, queue.scheduled.first)
        return min((first[0] for first in firsts if first is not None), default=None)

    def _matching(self, filter: QueueFilter) -> Iterator[tuple[PageMark, str, Row]]:
        for name, queue in self._queues.by_name.items():
            if filter.queue not in {None, name}:
                continue
            for row in queue.rows.read().values():
                message = row.message
                if filter.name in {None, message.name} and filter.key in {None, message.key}:
                    kind, at = (1, row.due_at) if row.place is None else (0, row.place)
                    yield (kind, at, row.number), name, row

    def _wake(self) -> None:
        self._storage.wake(self._queues.waiter)


def _owned(queue: Queue, leased: QueueLease, unit: Unit) -> Row | None:
    """Return a message that was leased and neither given back nor taken over since, whatever the time."""
    row = queue.rows.write(unit).get(leased.message.context.message_id)
    same = row is not None and row.place == leased.sequence and row.fencing_token == leased.fencing_token
    return row if same and row is not None and row.leased else None


def _entry(queue: str, row: Row, held: Mapping[str, None], now: float) -> QueueEntry:
    key = row.message.key
    state = state_of(
        now=now,
        due_at=row.due_at,
        placed=row.place is not None,
        leased=row.leased,
        held=key is not None and key in held,
        attempts=row.attempts,
    )
    return QueueEntry(queue, row.message, state, row.attempts, row.error, row.due_at or row.ready_at)


def _mark(each: tuple[PageMark, str, Row]) -> PageMark:
    return each[0]
