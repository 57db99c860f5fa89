"""Sagas in memory: their journals, and what they wait for."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from itertools import islice

import msgspec

from catga_core.clock import Clock
from catga_core.interfaces.saga_records import (
    ALL_SAGAS,
    BegunSaga,
    ClaimedSaga,
    NewSaga,
    SagaClaim,
    SagaFilter,
    SagaKind,
    SagaPage,
    SagaPause,
    SagaRecord,
    SagaRenewal,
    SagaSignal,
    SagaState,
    SavedSaga,
)
from catga_core.memory.engine.sagas import SagaRow, Sagas, Unit
from catga_core.memory.storage import MemoryStorage
from catga_core.option_checks import check_name
from catga_core.runtime.waiter import poll_until
from catga_core.storage_support.sagas import PRUNED, lost_saga, matches, missing_entries

_replace = msgspec.structs.replace


class MemorySagaStore:
    """Keeps sagas in memory.

    Args:
        storage: Where they are kept.
        clock: Measures times and leases.
    """

    def __init__(self, storage: MemoryStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._sagas = storage.part(Sagas)

    # --- the process that runs a saga ---

    async def begin(self, saga: NewSaga, /, *, lease: float, most: int | None = None) -> BegunSaga:
        """Add a saga and claim it; one whose transaction id is known is returned as it is."""
        check_name("transaction_id", saga.transaction_id)
        unit, sagas = await self._storage.write(), self._sagas
        known = sagas.rows.write(unit).get(saga.transaction_id)
        if known is not None:
            return BegunSaga(known.record(), None, created=False)
        now = self._clock.time()
        sagas.number += 1
        free = most is None or (sagas.running(saga.name, now) < most and not self._queued(saga.name, now))
        token = self._storage.next_fencing_token() if free else 0
        due_at = now + lease if free else now
        row = SagaRow(saga, sagas.number, SagaState.RUNNING, now, now, due_at, free, token)
        sagas.keep(row, None, unit)
        if not free:
            self._wake()
        claim = SagaClaim(saga.transaction_id, token) if free else None
        return BegunSaga(row.record(), claim, created=True)

    async def append(
        self, claim: SagaClaim, entries: Sequence[bytes], /, *, after: int, state: SagaState | None = None
    ) -> None:
        """Add entries to a journal; joins the ambient unit of work."""
        unit = await self._storage.write()
        row = self._owned(claim, unit)
        count = self._write(row, entries, after, unit)
        if count != row.entries or state not in {None, row.state}:
            # In no index is anything of it changed.
            self._sagas.rows.write(unit)[row.id] = _replace(
                row, entries=count, state=state or row.state, updated_at=self._clock.time()
            )

    async def release(
        self, claim: SagaClaim, entries: Sequence[bytes], /, *, after: int, pause: SagaPause
    ) -> None:
        """Add entries to a journal and give the claim back, in one write; joins the ambient unit of work."""
        unit = await self._storage.write()
        rows = self._sagas.rows.write(unit)
        row = rows.get(claim.transaction_id)
        if row is not None and _released(row, claim, after + len(entries), pause.state):
            # The same again, after an outcome that was not known.
            return
        row = self._owned(claim, unit)
        count = self._write(row, entries, after, unit)
        now = self._clock.time()
        due_at, waits = pause.due_at, pause.waits
        if pause.problem is not None or pause.state.is_final:
            due_at, waits = None, ()
        elif row.cancelling or any(self._later(wait.topic, wait.after) for wait in pause.waits):
            due_at = now
        changed = _replace(
            row,
            entries=count,
            state=pause.state,
            updated_at=now,
            due_at=due_at,
            leased=False,
            waits=waits,
            outcome=pause.outcome,
            problem=pause.problem,
        )
        self._sagas.keep(changed, row, unit)
        if due_at is None:
            self._storage.wake(self._sagas.waiter, row.id)
        first = self._sagas.due.first
        if due_at is not None or (first is not None and first[0] <= now):
            # The second: one that had to wait until fewer of its name run.
            self._wake()

    async def rewrite(
        self, claim: SagaClaim, entries: Sequence[bytes], /, *, version: int, data: bytes, state: SagaState
    ) -> None:
        """Replace a whole journal; joins the ambient unit of work."""
        unit = await self._storage.write()
        row = self._owned(claim, unit)
        journal = self._sagas.entries.write(unit)
        for index in range(len(entries), row.entries):
            del journal[row.id, index]
        for index, entry in enumerate(entries):
            journal[row.id, index] = entry
        changed = _replace(
            row,
            saga=_replace(row.saga, version=version, data=data),
            state=state,
            entries=len(entries),
            updated_at=self._clock.time(),
            cancelling=False,
            outcome=None,
            problem=None,
        )
        self._sagas.rows.write(unit)[row.id] = changed

    async def renew(self, claims: Sequence[SagaClaim], /, *, lease: float) -> SagaRenewal:
        """Extend claims, counted from now."""
        unit = await self._storage.write()
        rows, until = self._sagas.rows.write(unit), self._clock.time() + lease
        lost: set[str] = set()
        cancelling: set[str] = set()
        for claim in claims:
            row = rows.get(claim.transaction_id)
            if row is None or not _owns(row, claim):
                lost.add(claim.transaction_id)
                continue
            self._sagas.keep(_replace(row, due_at=until), row, unit)
            if row.cancelling:
                cancelling.add(row.id)
        return SagaRenewal(frozenset(lost), frozenset(cancelling))

    async def take(self, kinds: Sequence[SagaKind], /, *, limit: int, lease: float) -> Sequence[ClaimedSaga]:
        """Claim sagas that are due, in the order in which they became due."""
        unit, sagas = await self._storage.write(), self._sagas
        now, rows = self._clock.time(), sagas.rows.write(unit)
        wanted = {(kind.name, kind.version) for kind in kinds}
        room = {
            kind.name: kind.most - sagas.running(kind.name, now) for kind in kinds if kind.most is not None
        }
        taken: list[SagaRow] = []
        for due_at, _, transaction_id in sagas.due.items:
            if due_at > now or len(taken) == limit:
                break
            row = rows[transaction_id]
            if (row.saga.name, row.saga.version) not in wanted or room.get(row.saga.name, 1) <= 0:
                continue
            if row.saga.name in room:
                room[row.saga.name] -= 1
            taken.append(row)
        return [self._claimed(row, now + lease, unit) for row in taken]

    async def claim(self, transaction_id: str, /, *, lease: float) -> ClaimedSaga | None:
        """Claim one saga, due or not, final or not."""
        unit, now = await self._storage.write(), self._clock.time()
        row = self._sagas.rows.write(unit).get(transaction_id)
        if row is None or (row.leased and row.due_at is not None and row.due_at > now):
            return None
        return self._claimed(row, now + lease, unit)

    # --- everyone ---

    async def get(self, transaction_id: str, /) -> SagaRecord | None:
        """Return a saga, `None` where there is none."""
        row = self._sagas.rows.read().get(transaction_id)
        return None if row is None else row.record()

    async def read(self, transaction_id: str, /) -> SavedSaga | None:
        """Return a saga with its journal, `None` where there is none."""
        row = self._sagas.rows.read().get(transaction_id)
        return None if row is None else SavedSaga(row.record(), _journal(row, self._sagas.entries.read()))

    async def find(
        self, filter: SagaFilter = ALL_SAGAS, /, *, after: str | None = None, limit: int = 100
    ) -> SagaPage:
        """Return the sagas that match a filter, a page at a time, in the order of their transaction ids."""
        rows = self._sagas.rows.read()
        found = (
            row.record()
            for transaction_id in sorted(rows)
            if (after is None or transaction_id > after)
            and matches(filter, (row := rows[transaction_id]).record())
        )
        page = list(islice(found, limit + 1))
        more = len(page) > limit
        return SagaPage(page[:limit], page[limit - 1].saga.transaction_id if more else None)

    async def cancel(self, transaction_id: str, /) -> SagaRecord | None:
        """Request the cancellation of a saga; joins the ambient unit of work."""
        unit = await self._storage.write()
        row = self._sagas.rows.write(unit).get(transaction_id)
        if row is None:
            return None
        if row.state.is_final or row.cancelling:
            return row.record()
        changed = _replace(row, cancelling=True)
        if not row.leased and row.problem is None:
            now = self._clock.time()
            changed = _replace(changed, due_at=now if row.due_at is None else min(row.due_at, now))
        self._sagas.keep(changed, row, unit)
        self._wake()
        return changed.record()

    async def signal(self, signal: SagaSignal, /) -> bool:
        """Add a signal; the sagas that wait for its topic become due. Joins the ambient unit of work."""
        check_name("topic", signal.topic)
        check_name("message_id", signal.message_id)
        unit, sagas = await self._storage.write(), self._sagas
        signals = sagas.signals.write(unit)
        if (signal.topic, signal.message_id) in signals:
            return False
        sagas.position += 1
        now = self._clock.time()
        signals[signal.topic, signal.message_id] = (_replace(signal, position=sagas.position), now)
        sagas.positions.add((signal.topic, sagas.position, signal.message_id), unit)
        rows = sagas.rows.write(unit)
        at, waiting = sagas.waiting.place((signal.topic,)), sagas.waiting.items
        ids: list[str] = []
        while at < len(waiting) and waiting[at][0] == signal.topic:
            ids.append(waiting[at][1])
            at += 1
        for transaction_id in ids:
            row = rows[transaction_id]
            if not row.leased and row.problem is None and (row.due_at is None or row.due_at > now):
                sagas.keep(_replace(row, due_at=now), row, unit)
        self._wake()
        return True

    async def signals(self, topic: str, /, *, after: int = 0, limit: int = 1) -> Sequence[SagaSignal]:
        """Return signals of a topic, in the order of their positions."""
        signals = self._sagas.signals.read()
        items, at = self._sagas.positions.items, self._sagas.positions.place((topic, after + 1))
        found: list[SagaSignal] = []
        while at < len(items) and items[at][0] == topic and len(found) < limit:
            # The index shows what an open unit of work has added.
            if (kept := signals.get((topic, items[at][2]))) is not None:
                found.append(kept[0])
            at += 1
        return found

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        """Remove sagas that are completed, compensated or cancelled, and signals; return how many sagas."""
        unit, sagas = await self._storage.write(), self._sagas
        rows, before = sagas.rows.write(unit), self._clock.time() - older_than
        old = [
            row for row in rows.values() if row.state in PRUNED and not row.leased and row.updated_at < before
        ]
        removed = [row for row in old if not self._is_needed(row, rows)][:limit]
        for row in removed:
            sagas.remove(row, unit)
        signals = sagas.signals.write(unit)
        for signal, _ in [kept for kept in signals.values() if kept[1] < before][:limit]:
            del signals[signal.topic, signal.message_id]
            sagas.positions.discard((signal.topic, signal.position, signal.message_id), unit)
        return len(removed)

    async def wait(self, kinds: Sequence[SagaKind], /, *, timeout: float) -> None:
        """Return when there may be a saga that is due, at the latest after a number of real seconds."""
        # Other tasks get a turn in any case, also where a caller waits in a loop.
        await asyncio.sleep(0)
        now, rows = self._clock.time(), self._sagas.rows.read()
        wanted = {(kind.name, kind.version): kind.most for kind in kinds}
        soon = math.inf
        for due_at, _, transaction_id in self._sagas.due.items:
            row = rows.get(transaction_id)
            key = (row.saga.name, row.saga.version) if row is not None else ("", 0)
            if key not in wanted or (
                wanted[key] is not None and due_at <= now and not self._has_room(key[0], wanted[key], now)
            ):
                continue
            soon = due_at
            break
        if soon == math.inf:
            await self._sagas.waiter.wait(timeout=timeout)
        elif soon > now:
            await self._sagas.waiter.wait(timeout=timeout, work=self._clock.sleep(soon - now))

    async def wait_final(self, transaction_id: str, /, *, timeout: float) -> SagaRecord | None:
        """Wait until a saga is final or parked, at most for a number of real seconds."""
        found: SagaRecord | None = None

        async def look() -> bool:
            nonlocal found
            found = await self.get(transaction_id)
            return found is None or found.state.is_final or found.problem is not None

        with self._sagas.waiter.expect(transaction_id) as expectation:
            await poll_until(
                look, wait=lambda left: expectation.wait(timeout=left), every=math.inf, timeout=timeout
            )
        return found

    # --- parts ---

    def _owned(self, claim: SagaClaim, unit: Unit) -> SagaRow:
        row = self._sagas.rows.write(unit).get(claim.transaction_id)
        if row is None or not _owns(row, claim):
            raise lost_saga(claim.transaction_id)
        return row

    def _write(self, row: SagaRow, entries: Sequence[bytes], after: int, unit: Unit) -> int:
        if after > row.entries:
            raise missing_entries(row.id, after, row.entries)
        journal = self._sagas.entries.write(unit)
        for index, entry in enumerate(entries, after):
            if index >= row.entries:
                journal[row.id, index] = entry
        return max(row.entries, after + len(entries))

    def _claimed(self, row: SagaRow, until: float, unit: Unit) -> ClaimedSaga:
        token = self._storage.next_fencing_token()
        changed = _replace(row, leased=True, due_at=until, fencing_token=token, waits=())
        self._sagas.keep(changed, row, unit)
        journal = _journal(row, self._sagas.entries.write(unit))
        return ClaimedSaga(SagaClaim(row.id, token), changed.record(), journal, row.leased)

    def _later(self, topic: str, after: int) -> bool:
        found = self._sagas.positions.next((topic, after + 1))
        return found is not None and found[0] == topic

    def _queued(self, name: str, now: float) -> bool:
        rows = self._sagas.rows.read()
        for due_at, _, transaction_id in self._sagas.due.items:
            if due_at > now:
                return False
            row = rows.get(transaction_id)
            if row is not None and row.saga.name == name:
                return True
        return False

    def _has_room(self, name: str, most: int | None, now: float) -> bool:
        return most is None or self._sagas.running(name, now) < most

    def _is_needed(self, row: SagaRow, rows: Mapping[str, SagaRow]) -> bool:
        parent = None if row.saga.parent is None else rows.get(row.saga.parent)
        return parent is not None and parent.state not in PRUNED

    def _wake(self) -> None:
        self._storage.wake(self._sagas.waiter)


def _owns(row: SagaRow, claim: SagaClaim) -> bool:
    return row.leased and row.fencing_token == claim.fencing_token


def _released(row: SagaRow, claim: SagaClaim, entries: int, state: SagaState) -> bool:
    was = not row.leased and row.fencing_token == claim.fencing_token
    return was and row.entries == entries and row.state is state


def _journal(row: SagaRow, entries: Mapping[tuple[str, int], bytes]) -> list[bytes]:
    return [entries[row.id, index] for index in range(row.entries)]
