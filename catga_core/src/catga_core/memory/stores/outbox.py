"""The outbox in memory: what is yet to be sent in its order, and what was sent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping, MutableMapping, Sequence

import msgspec

from catga_core.clock import Clock
from catga_core.errors import MessageIdConflictError
from catga_core.interfaces.outbox import LeasedMessage, OutboxMessage, OutboxStats
from catga_core.memory.engine.table import Table
from catga_core.memory.storage import MemoryStorage
from catga_core.messages.fingerprints import same_content
from catga_core.option_checks import check_name
from catga_core.runtime.waiter import Waiter


class _Pending(msgspec.Struct, frozen=True):
    """A message that is yet to be sent.

    Args:
        message: The message.
        due_at: When it may be leased; while it is leased, when its lease ends.
        leased: Whether somebody has it.
        attempts: How many tries failed.
        fencing_token: Of its last lease.
        error: What the last try failed with.
    """

    message: OutboxMessage
    due_at: float = 0.0
    leased: bool = False
    attempts: int = 0
    fencing_token: int = 0
    error: str | None = None


class _Sent(msgspec.Struct, frozen=True):
    """A message that was sent.

    Args:
        message_id: Whose id is not to be added again.
        sent_at: Seconds since the Unix epoch.
    """

    message_id: str
    sent_at: float


class _Outbox:
    def __init__(self, storage: MemoryStorage) -> None:
        self.pending: Table[int, _Pending] = Table(storage)
        self.sent: Table[int, _Sent] = Table(storage)
        self.ids: Table[str, str] = Table(storage)
        self.sequence = 0
        self.waiter = Waiter()


class MemoryOutboxStore:
    """Keeps messages in memory until they are sent.

    Args:
        storage: Where they are kept.
        clock: Measures leases and delays.
    """

    def __init__(self, storage: MemoryStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._outbox = storage.part(_Outbox)

    async def add(self, messages: Sequence[OutboxMessage], /) -> None:
        """Store messages at the end; joins the ambient unit of work. A repeated message is not added again."""
        for message in messages:
            check_name("message_id", message.context.message_id)
        outbox = self._outbox
        unit = await self._storage.write()
        ids, pending = outbox.ids.write(unit), outbox.pending.write(unit)
        fresh: dict[str, OutboxMessage] = {}
        for message in messages:
            message_id = message.context.message_id
            known = ids.get(message_id)
            if known is None and message_id in fresh:
                known = fresh[message_id].fingerprint
            if known is None:
                fresh[message_id] = message
            elif not same_content(known, message.fingerprint):
                raise MessageIdConflictError(message_id, "the outbox")
        for message_id, message in fresh.items():
            outbox.sequence += 1
            ids[message_id] = message.fingerprint
            pending[outbox.sequence] = _Pending(message)
        self._wake()

    async def lease(
        self,
        *,
        limit: int,
        lease: float,
        longest_delay: float | None = None,
        sent: Sequence[LeasedMessage] = (),
    ) -> list[LeasedMessage]:
        """Take messages that are due, oldest first; complete others before."""
        if sent:
            await self.complete(sent)
        pending = self._outbox.pending.write(await self._storage.write())
        now = self._clock.time()
        far = math.inf if longest_delay is None else now + longest_delay
        found = list(_due(pending, now, far, limit))
        leased: list[LeasedMessage] = []
        taken_over: dict[str, int] = {}
        for sequence, row in found:
            key = row.message.key
            if key is not None and (row.leased or key in taken_over):
                taken_over[key] = sequence
            token = self._storage.next_fencing_token()
            pending[sequence] = msgspec.structs.replace(
                row, due_at=now + lease, leased=True, fencing_token=token
            )
            leased.append(LeasedMessage(sequence, row.message, row.attempts, token, row.error))
        _end_leases_behind(pending, taken_over)
        return leased

    async def renew(self, leased: Sequence[LeasedMessage], /, *, lease: float) -> list[LeasedMessage]:
        """Extend leases, counted from now; return those that are still the caller's."""
        pending = self._outbox.pending.write(await self._storage.write())
        until = self._clock.time() + lease
        kept = [each for each in leased if _owned(pending, each) is not None]
        for each in kept:
            pending[each.sequence] = msgspec.structs.replace(pending[each.sequence], due_at=until)
        return kept

    async def complete(self, leased: Sequence[LeasedMessage], /) -> None:
        """Note that messages were sent. Those taken over by another are passed over: it will send them again."""
        unit = await self._storage.write()
        pending, sent = self._outbox.pending.write(unit), self._outbox.sent.write(unit)
        now = self._clock.time()
        for each in leased:
            if _owned(pending, each) is not None:
                del pending[each.sequence]
                sent[each.sequence] = _Sent(each.message.context.message_id, now)
        self._wake()

    async def retry(self, leased: LeasedMessage, /, *, delay: float, error: str) -> None:
        """Give a message back for a later try; passed over when it was taken over by another."""
        pending = self._outbox.pending.write(await self._storage.write())
        row = _owned(pending, leased)
        if row is not None:
            due_at = self._clock.time() + delay
            pending[leased.sequence] = msgspec.structs.replace(
                row, due_at=due_at, leased=False, attempts=row.attempts + 1, error=error
            )
            if row.message.key is not None:
                _end_leases_behind(pending, {row.message.key: leased.sequence})
            self._wake()

    async def release(self, leased: Sequence[LeasedMessage], /) -> None:
        """Give messages back untried, due at once: for a relay that stops."""
        pending = self._outbox.pending.write(await self._storage.write())
        now = self._clock.time()
        released: dict[str, int] = {}
        for each in leased:
            row = _owned(pending, each)
            if row is not None:
                pending[each.sequence] = msgspec.structs.replace(row, due_at=now, leased=False)
                if (key := row.message.key) is not None:
                    released[key] = min(each.sequence, released.get(key, each.sequence))
        _end_leases_behind(pending, released)
        self._wake()

    async def discard(self, leased: LeasedMessage, /) -> bool:
        """Take a message out for good, when it has gone to the dead letters; joins the ambient unit of work."""
        unit = await self._storage.write()
        pending, ids = self._outbox.pending.write(unit), self._outbox.ids.write(unit)
        if _owned(pending, leased) is None:
            return False
        del pending[leased.sequence]
        del ids[leased.message.context.message_id]
        self._wake()
        return True

    async def stats(self) -> OutboxStats:
        """Return how many messages wait, and since when."""
        rows = self._outbox.pending.read().values()
        oldest = min((row.message.created_at for row in rows), default=None)
        return OutboxStats(len(rows), oldest, sum(row.attempts > 0 for row in rows))

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        """Remove sent messages, never pending ones; return how many."""
        unit = await self._storage.write()
        sent, ids = self._outbox.sent.write(unit), self._outbox.ids.write(unit)
        before = self._clock.time() - older_than
        old: list[tuple[int, _Sent]] = []
        # Those that were sent first come first.
        for sequence, row in sent.items():
            if len(old) >= limit or row.sent_at >= before:
                break
            old.append((sequence, row))
        for sequence, row in old:
            del sent[sequence]
            del ids[row.message_id]
        return len(old)

    async def wait(self, *, timeout: float) -> None:
        """Return when there may be a message that is due, at the latest after so many seconds of real time."""
        # Other tasks get a turn in any case, also where a caller waits in a loop.
        await asyncio.sleep(0)
        now = self._clock.time()
        next_due = min((row.due_at for _, row in _first_of_keys(self._outbox.pending.read())), default=None)
        if next_due is None:
            await self._outbox.waiter.wait(timeout=timeout)
        elif next_due > now:
            await self._outbox.waiter.wait(timeout=timeout, work=self._clock.sleep(next_due - now))

    def _wake(self) -> None:
        self._storage.wake(self._outbox.waiter)


def _owned(pending: Mapping[int, _Pending], leased: LeasedMessage) -> _Pending | None:
    """Return a message that was leased and neither given back nor taken over since, whatever the time."""
    row = pending.get(leased.sequence)
    return row if row is not None and row.leased and row.fencing_token == leased.fencing_token else None


def _end_leases_behind(pending: MutableMapping[int, _Pending], places: Mapping[str, int]) -> None:
    """End the leases on the messages of some keys that come after a place, one for each key."""
    behind = [
        (sequence, row)
        for sequence, row in (pending.items() if places else ())
        if row.leased and (key := row.message.key) is not None and sequence > places.get(key, sequence)
    ]
    for sequence, row in behind:
        pending[sequence] = msgspec.structs.replace(row, due_at=0.0, leased=False)


def _due(
    pending: Mapping[int, _Pending], now: float, far: float, limit: int
) -> Iterator[tuple[int, _Pending]]:
    """Yield what may be leased now: of each key all that are due, up to the first that is not.

    What waits for a time after `far` was given back before the clock stepped back: it is due.
    """
    held: set[str] = set()
    left = limit
    for sequence, row in pending.items():
        key = row.message.key
        if left <= 0:
            return
        if key is None or key not in held:
            if row.due_at <= now or (row.due_at > far and not row.leased):
                left -= 1
                yield sequence, row
            elif key is not None:
                held.add(key)


def _first_of_keys(pending: Mapping[int, _Pending]) -> Iterator[tuple[int, _Pending]]:
    """Yield those that no earlier message of their key holds back."""
    keys: set[str] = set()
    for sequence, row in pending.items():
        key = row.message.key
        if key is None or key not in keys:
            if key is not None:
                keys.add(key)
            yield sequence, row
