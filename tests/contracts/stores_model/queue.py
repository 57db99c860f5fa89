"""The model of a queue store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st

from catga_core.interfaces import (
    QueuedMessage,
    QueueEntry,
    QueueFilter,
    QueueLease,
    QueueState,
    QueueStats,
    QueueStore,
)
from catga_core.messages.delivery import Priority
from catga_core.messages.fingerprints import same_content
from catga_testing import ManualClock
from catga_testing.contracts.stores.records import queued
from tests.contracts.stores_model.calls import Answer, BaseModel, Call, Kept

IDS, KEYS, QUEUES = [f"m-{number}" for number in range(10)], [None, "a", "b"], ["q", "r"]
CONTENTS = ["", "kit.Told@1#aa", "kit.Told@1#aa", "kit.Told@1#bb"]
BEGIN = ManualClock().time()


class Row(msgspec.Struct, frozen=True):
    """A message that is not done."""

    message: QueuedMessage
    ready_at: float
    due_at: float
    leased: bool = False
    attempts: int = 0
    token: int = 0
    sequence: int | None = None
    error: str | None = None


class Done(msgspec.Struct, frozen=True):
    """A message that is done."""

    message: QueuedMessage
    done_at: float
    attempts: int
    error: str | None
    result: bytes | None


class Given(msgspec.Struct, frozen=True):
    """A message to add."""

    message_id: str
    key: str | None
    priority: Priority
    due_at: float
    fingerprint: str


class QueueModel(BaseModel):
    """Of each queue, the messages that are due in their order, the scheduled ones by their time, and the others."""

    port = QueueStore

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}
        self.placed: dict[str, list[str]] = {name: [] for name in QUEUES}
        self.scheduled: dict[str, list[str]] = {name: [] for name in QUEUES}
        self.done: dict[tuple[str, str], Done] = {}
        self.held: set[tuple[str, str]] = set()

    def copy(self) -> QueueModel:
        other = QueueModel()
        other.rows, other.done, other.held, other.now = {**self.rows}, {**self.done}, {*self.held}, self.now
        other.placed = {name: [*ids] for name, ids in self.placed.items()}
        other.scheduled = {name: [*ids] for name, ids in self.scheduled.items()}
        return other

    @staticmethod
    def calls() -> st.SearchStrategy[Call]:
        kept, times = st.builds(Kept, st.integers(0, 5)), st.sampled_from([1.0, 1.0, 10.0, 3600.0])
        several = st.lists(kept, min_size=1, max_size=2)
        name, message_id = st.sampled_from(QUEUES), st.sampled_from(IDS)
        demands = st.dictionaries(name, st.sampled_from([1, 2, 100]), min_size=1)
        lease = st.builds(
            lambda asked, time, far: Call("lease", (asked,), {"lease": time, "longest_delay": far}),
            demands,
            times,
            st.sampled_from([None, None, 5.0]),
        )
        joining = QueueModel.joining()
        return _one_of(
            *[joining] * 6,
            *[lease] * 6,
            st.builds(lambda each, time: Call("renew", ([each],), {"lease": time}), kept, times),
            st.builds(
                lambda each, delay: Call("retry", (each,), {"delay": delay, "error": f"after {delay}"}),
                kept,
                st.sampled_from([0.0, 1.0, 10.0]),
            ),
            st.builds(lambda given: Call("release", (given,)), several),
            st.builds(lambda age: Call("prune", (), {"older_than": age}), times),
            st.builds(lambda *which: Call("get", which), name, message_id),
        )

    @staticmethod
    def joining() -> st.SearchStrategy[Call]:
        kept = st.builds(Kept, st.integers(0, 5))
        name, message_id = st.sampled_from(QUEUES), st.sampled_from(IDS)
        complete = st.builds(
            lambda several, result: Call("complete", (several,), {"result": result}),
            st.lists(kept, min_size=1, max_size=2),
            st.sampled_from([None, b"", b"42"]),
        )
        given = st.builds(
            Given,
            message_id,
            st.sampled_from(KEYS),
            st.sampled_from(Priority),
            st.one_of(st.just(0.0), st.just(0.0), st.sampled_from([BEGIN + 5.0 * n for n in range(20)])),
            st.sampled_from(CONTENTS),
        )
        queues = st.sampled_from([["q"], ["r"], ["q", "r"]])
        add = st.builds(lambda each, into: Call("add", (each,), {"queues": into}), given, queues)
        return _one_of(
            *[add] * 4,
            *[complete] * 2,
            st.builds(lambda each, hold: Call("discard", (each,), {"hold_key": hold}), kept, st.booleans()),
            st.builds(lambda *which: Call("release_key", which), name, st.sampled_from(["a", "b"])),
            st.builds(lambda *which: Call("cancel", which), name, st.sampled_from(IDS[:3])),
        )

    @staticmethod
    def looks() -> list[Call]:
        finds = [Call("find", (QueueFilter(queue=name),), {"limit": 100}) for name in QUEUES]
        return [*finds, Call("stats")]

    @staticmethod
    def kept(call: Call, answer: Answer) -> list[Any]:
        return list(answer.value) if call.method == "lease" else []

    @staticmethod
    def prepared(argument: Any) -> Any:
        if not isinstance(argument, Given):
            return argument
        return queued(
            argument.message_id,
            key=argument.key,
            priority=argument.priority,
            due_at=argument.due_at,
            fingerprint=argument.fingerprint,
        )

    def add(self, answer: Answer, message: QueuedMessage, *, queues: list[str]) -> bool:
        self._ripen()
        message_id, fresh = message.context.message_id, []
        for name in queues:
            known = self.rows.get((name, message_id)) or self.done.get((name, message_id))
            if known is None:
                fresh.append(name)
            elif not same_content(known.message.fingerprint, message.fingerprint):
                return answer.fails("CONFLICT")
        due_at = max(self.now, message.due_at)
        for name in fresh:
            if due_at > self.now:
                self.rows[name, message_id] = Row(message, due_at, due_at)
                self.scheduled[name].append(message_id)
                self.scheduled[name].sort(key=lambda each: self.rows[name, each].due_at)
            else:
                self.rows[name, message_id] = Row(message, due_at, 0.0)
                self.placed[name].append(message_id)
        return answer.gives(None)

    def lease(
        self, answer: Answer, demands: Mapping[str, int], *, lease: float, longest_delay: float | None
    ) -> bool:
        self._ripen()
        given: list[QueueLease] = answer.value
        if sorted({each.queue for each in given} - demands.keys()):
            return False
        for name, limit in demands.items():
            self._end_waits(name, longest_delay)
            due = sorted(
                (each for each in self._heads(name) if self.rows[name, each].due_at <= self.now),
                key=lambda each: self.rows[name, each].message.priority,
            )
            mine = [each for each in given if each.queue == name]
            if [_id(each) for each in mine] != due[:limit]:
                return False
            if not all(self._leased(each, lease) for each in mine):
                return False
            rows = [self.rows[name, each] for each in self.placed[name]]
            places = [row.sequence for row in rows if row.sequence is not None]
            if places != sorted(set(places)):
                return False
        return True

    def renew(self, answer: Answer, leased: list[QueueLease], *, lease: float) -> bool:
        own = [each for each in leased if self._owned(each) is not None]
        for each in own:
            self._set(each, due_at=self.now + lease)
        return answer.gives(own)

    def complete(self, answer: Answer, leased: list[QueueLease], *, result: bytes | None) -> bool:
        # In a unit of work it fails for a message that is somebody else's.
        lost = any(self._owned(each) is None for each in leased)
        if answer.code is not None or (lost and not answer.known):
            return lost and answer.fails("LOCKED")
        for each in leased:
            row = self._owned(each)
            if row is not None:
                self._remove(each.queue, _id(each))
                message = msgspec.structs.replace(row.message, data=b"")
                self.done[each.queue, _id(each)] = Done(message, self.now, row.attempts, row.error, result)
        return answer.gives(None)

    def retry(self, answer: Answer, leased: QueueLease, *, delay: float, error: str) -> bool:
        if self._owned(leased) is not None:
            due_at = self.now + delay if delay else 0.0
            self._set(leased, due_at=due_at, leased=False, error=error)
        return answer.gives(None)

    def release(self, answer: Answer, leased: list[QueueLease]) -> bool:
        for each in leased:
            row = self._owned(each)
            if row is not None:
                self._set(each, due_at=0.0, leased=False, attempts=row.attempts - 1)
        return answer.gives(None)

    def discard(self, answer: Answer, leased: QueueLease, *, hold_key: bool) -> bool:
        if _did_nothing(answer):
            return True
        if self._owned(leased) is None:
            return answer.gives(value=False) and answer.known
        if hold_key and leased.message.key is not None:
            self.held.add((leased.queue, leased.message.key))
        self._remove(leased.queue, _id(leased))
        return answer.gives(value=True)

    def release_key(self, answer: Answer, queue: str, key: str) -> bool:
        if _did_nothing(answer):
            return True
        if (queue, key) not in self.held:
            return answer.gives(value=False) and answer.known
        self.held.discard((queue, key))
        return answer.gives(value=True)

    def cancel(self, answer: Answer, queue: str, message_id: str) -> bool:
        if _did_nothing(answer):
            return True
        row = self.rows.get((queue, message_id))
        if row is None or (row.leased and row.due_at > self.now):
            return answer.gives(value=False) and answer.known
        self._remove(queue, message_id)
        return answer.gives(value=True)

    def get(self, answer: Answer, queue: str, message_id: str) -> bool:
        self._ripen()
        done = self.done.get((queue, message_id))
        if done is not None:
            return answer.gives(
                QueueEntry(
                    queue, done.message, QueueState.DONE, done.attempts, done.error, done.done_at, done.result
                )
            )
        return answer.gives(self._entry(queue, message_id) if (queue, message_id) in self.rows else None)

    def find(self, answer: Answer, which: QueueFilter, *, limit: int) -> bool:
        self._ripen()
        assert which.queue is not None
        ids = [*self.placed[which.queue], *self.scheduled[which.queue]]
        expected = [self._entry(which.queue, each) for each in ids]
        return answer.code is None and list(answer.value.entries) == expected[:limit]

    def stats(self, answer: Answer) -> bool:
        self._ripen()
        expected: dict[str, QueueStats] = {}
        for name in QUEUES:
            states = [self._entry(name, each).state for each in self.placed[name]]
            scheduled = len(self.scheduled[name])
            held = sum(queue == name for queue, _ in self.held)
            if states or scheduled or held:
                oldest = min((self.rows[name, each].ready_at for each in self.placed[name]), default=None)
                leased, retrying = (
                    states.count(QueueState.LEASED),
                    states.count(QueueState.RETRYING),
                )
                expected[name] = QueueStats(len(states), scheduled, leased, retrying, held, oldest)
        return answer.code is None and dict(answer.value) == expected

    def prune(self, answer: Answer, *, older_than: float) -> bool:
        old = [each for each, done in self.done.items() if done.done_at < self.now - older_than]
        for each in old:
            del self.done[each]
        return answer.gives(len(old))

    # --- inside ---

    def _ripen(self) -> None:
        """Give scheduled messages their places at their time: that a store does it later shows nowhere."""
        for name, ids in self.scheduled.items():
            while ids and self.rows[name, ids[0]].due_at <= self.now:
                message_id = ids.pop(0)
                self.rows[name, message_id] = msgspec.structs.replace(self.rows[name, message_id], due_at=0.0)
                self.placed[name].append(message_id)

    def _heads(self, name: str) -> Sequence[str]:
        keys: set[str] = set()
        heads: list[str] = []
        for message_id in self.placed[name]:
            key = self.rows[name, message_id].message.key
            if key is None or (key not in keys and (name, key) not in self.held):
                heads.append(message_id)
            if key is not None:
                keys.add(key)
        return heads

    def _end_waits(self, name: str, longest_delay: float | None) -> None:
        for message_id in self.placed[name]:
            row = self.rows[name, message_id]
            if longest_delay is not None and not row.leased and row.due_at > self.now + longest_delay:
                self.rows[name, message_id] = msgspec.structs.replace(row, due_at=0.0)

    def _leased(self, given: QueueLease, lease: float) -> bool:
        row = self._row(given)
        if row.sequence not in {None, given.sequence} or given.fencing_token <= row.token:
            return False
        self._set(
            given,
            due_at=self.now + lease,
            leased=True,
            attempts=row.attempts + 1,
            token=given.fencing_token,
            sequence=given.sequence,
        )
        return (given.message, given.attempt, given.error) == (row.message, row.attempts + 1, row.error)

    def _owned(self, leased: QueueLease) -> Row | None:
        row = self.rows.get((leased.queue, _id(leased)))
        if row is None or row.sequence != leased.sequence or row.token != leased.fencing_token:
            return None
        return row if row.leased else None

    def _entry(self, queue: str, message_id: str) -> QueueEntry:
        row = self.rows[queue, message_id]
        waits = row.due_at > self.now
        if message_id in self.scheduled[queue]:
            state = QueueState.SCHEDULED
        elif row.leased and waits:
            state = QueueState.LEASED
        elif row.message.key is not None and (queue, row.message.key) in self.held:
            state = QueueState.HELD
        else:
            state = QueueState.RETRYING if waits else QueueState.READY
        return QueueEntry(queue, row.message, state, row.attempts, row.error, row.due_at or row.ready_at)

    def _remove(self, queue: str, message_id: str) -> None:
        del self.rows[queue, message_id]
        ids = self.placed[queue] if message_id in self.placed[queue] else self.scheduled[queue]
        ids.remove(message_id)

    def _row(self, leased: QueueLease) -> Row:
        return self.rows[leased.queue, _id(leased)]

    def _set(self, of: QueueLease, /, **changes: Any) -> None:
        self.rows[of.queue, _id(of)] = msgspec.structs.replace(self._row(of), **changes)


def _id(leased: QueueLease) -> str:
    return leased.message.context.message_id


def _did_nothing(answer: Answer) -> bool:
    """Return whether a call had no part in a unit of work that collects writes: it looked before the commit."""
    return not answer.known and answer.value is False


def _one_of(*strategies: st.SearchStrategy[Call]) -> st.SearchStrategy[Call]:
    """Return one of some strategies; `st.one_of` would count each once, however often it is given."""
    return st.sampled_from(strategies).flatmap(lambda chosen: chosen)
