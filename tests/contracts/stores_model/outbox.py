"""The model of an outbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st

from catga_core.interfaces import LeasedMessage, OutboxMessage, OutboxStats, OutboxStore
from catga_testing.contracts.stores.records import message
from tests.contracts.stores_model.calls import Answer, BaseModel, Call, Kept

IDS, KEYS = [f"m-{number}" for number in range(20)], [None, "a"]


class Row(msgspec.Struct, frozen=True):
    """A message that is yet to be sent."""

    message: OutboxMessage
    due_at: float
    leased: bool = False
    attempts: int = 0
    token: int = 0
    sequence: int | None = None
    error: str | None = None


class Given(msgspec.Struct, frozen=True):
    """Messages to add, by id and key."""

    messages: list[tuple[str, str | None]]


class OutboxModel(BaseModel):
    """The messages to send in their order, and when the others were sent."""

    port = OutboxStore

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.sent: dict[str, float] = {}

    def copy(self) -> OutboxModel:
        other = OutboxModel()
        other.rows, other.sent, other.now = {**self.rows}, {**self.sent}, self.now
        return other

    @staticmethod
    def calls() -> st.SearchStrategy[Call]:
        kept, times = st.builds(Kept, st.integers(0, 5)), st.sampled_from([1.0, 10.0, 3600.0])
        limits = st.sampled_from([1, 2, 100])
        lease = st.builds(lambda most, time: Call("lease", (), {"limit": most, "lease": time}), limits, times)
        joining = OutboxModel.joining()
        return st.one_of(
            joining,
            joining,
            lease,
            lease,
            st.builds(lambda each, time: Call("renew", ([each],), {"lease": time}), kept, times),
            st.builds(lambda several: Call("complete", (several,)), st.lists(kept, min_size=1, max_size=2)),
            st.builds(
                lambda each, delay: Call("retry", (each,), {"delay": delay, "error": "no route"}), kept, times
            ),
            st.builds(lambda several: Call("release", (several,)), st.lists(kept, min_size=1, max_size=2)),
            st.builds(lambda age: Call("prune", (), {"older_than": age}), times),
            st.just(Call("stats")),
        )

    @staticmethod
    def joining() -> st.SearchStrategy[Call]:
        messages = st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(KEYS)), min_size=1, max_size=3)
        add = st.builds(lambda each: Call("add", (Given(each),)), messages)
        return st.one_of(
            add, add, st.builds(lambda number: Call("discard", (Kept(number),)), st.integers(0, 5))
        )

    @staticmethod
    def looks() -> list[Call]:
        return [Call("stats")]

    @staticmethod
    def kept(call: Call, answer: Answer) -> list[Any]:
        return list(answer.value) if call.method == "lease" else []

    @staticmethod
    def prepared(argument: Any) -> Any:
        if not isinstance(argument, Given):
            return argument
        return [message(message_id, key=key) for message_id, key in argument.messages]

    def add(self, answer: Answer, messages: Sequence[OutboxMessage]) -> bool:
        for each in messages:
            message_id = each.context.message_id
            if message_id not in self.rows and message_id not in self.sent:
                self.rows[message_id] = Row(each, self.now)
        return answer.gives(None)

    def lease(self, answer: Answer, *, limit: int, lease: float) -> bool:
        held: set[str] = set()
        due: list[str] = []
        for message_id, row in self.rows.items():
            key = row.message.key
            if row.due_at > self.now and key is not None:
                held.add(key)
            elif row.due_at <= self.now and key not in held:
                due.append(message_id)
        given: list[LeasedMessage] = answer.value
        if [each.message.context.message_id for each in given] != due[:limit]:
            return False
        if not all(self._leased(each, lease) for each in given):
            return False
        for each in {each.message.key: each for each in given}.values():
            self._end_leases_behind(each)
        sequences = [row.sequence for row in self.rows.values() if row.sequence is not None]
        return sequences == sorted(set(sequences))

    def renew(self, answer: Answer, leased: list[LeasedMessage], *, lease: float) -> bool:
        own = [each for each in leased if self._owned(each) is not None]
        if [each.sequence for each in answer.value] != [each.sequence for each in own]:
            return False
        for each in own:
            self._set(each, due_at=self.now + lease)
        return True

    def complete(self, answer: Answer, leased: list[LeasedMessage]) -> bool:
        for each in leased:
            if self._owned(each) is not None:
                del self.rows[_id(each)]
                self.sent[_id(each)] = self.now
        return answer.gives(None)

    def retry(self, answer: Answer, leased: LeasedMessage, *, delay: float, error: str) -> bool:
        row = self._owned(leased)
        if row is not None:
            self._set(leased, due_at=self.now + delay, leased=False, attempts=row.attempts + 1, error=error)
            self._end_leases_behind(leased)
        return answer.gives(None)

    def release(self, answer: Answer, leased: list[LeasedMessage]) -> bool:
        for each in leased:
            if self._owned(each) is not None:
                self._set(each, due_at=self.now, leased=False)
                self._end_leases_behind(each)
        return answer.gives(None)

    def discard(self, answer: Answer, leased: LeasedMessage) -> bool:
        if self._owned(leased) is None:
            return answer.gives(value=False)
        del self.rows[_id(leased)]
        return answer.gives(value=True)

    def stats(self, answer: Answer) -> bool:
        rows = self.rows.values()
        oldest = min((row.message.created_at for row in rows), default=None)
        return answer.gives(OutboxStats(len(rows), oldest, sum(row.attempts > 0 for row in rows)))

    def prune(self, answer: Answer, *, older_than: float) -> bool:
        old = [each for each, sent_at in self.sent.items() if sent_at < self.now - older_than]
        for each in old:
            del self.sent[each]
        return answer.gives(len(old))

    def _leased(self, given: LeasedMessage, lease: float) -> bool:
        row = self.rows[_id(given)]
        if row.sequence not in {None, given.sequence} or given.fencing_token <= row.token:
            return False
        self._set(
            given, due_at=self.now + lease, leased=True, token=given.fencing_token, sequence=given.sequence
        )
        return (given.message, given.attempts, given.error) == (row.message, row.attempts, row.error)

    def _owned(self, leased: LeasedMessage) -> Row | None:
        row = self.rows.get(_id(leased))
        same = row is not None and row.sequence == leased.sequence and row.token == leased.fencing_token
        return row if same and row is not None and row.leased else None

    def _end_leases_behind(self, of: LeasedMessage) -> None:
        """Whoever had one of a key and has it no longer must not send those after it before it."""
        key, ids = of.message.key, list(self.rows)
        for message_id in ids[ids.index(_id(of)) + 1 :] if key is not None else ():
            row = self.rows[message_id]
            if row.message.key == key and row.leased:
                self.rows[message_id] = msgspec.structs.replace(row, leased=False, due_at=0.0)

    def _row(self, leased: LeasedMessage) -> Row:
        return self.rows[_id(leased)]

    def _set(self, of: LeasedMessage, /, **changes: Any) -> None:
        self.rows[_id(of)] = msgspec.structs.replace(self._row(of), **changes)


def _id(leased: LeasedMessage) -> str:
    return leased.message.context.message_id
