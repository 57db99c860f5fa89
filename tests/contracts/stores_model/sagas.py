"""The model of a saga store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st

from catga_core.interfaces import (
    BegunSaga,
    ClaimedSaga,
    NewSaga,
    SagaClaim,
    SagaKind,
    SagaPause,
    SagaRecord,
    SagaRenewal,
    SagaSignal,
    SagaState,
    SagaStore,
    SagaWait,
    SavedSaga,
)
from tests.contracts.stores_model.calls import Answer, BaseModel, Call, Kept

IDS, NAMES, TOPICS, MESSAGES = ["o-1", "o-2", "o-3"], ["One", "Two"], ["paid", "shipped"], ["m-1", "m-2"]
REMOVED = {SagaState.COMPLETED, SagaState.COMPENSATED, SagaState.CANCELLED}
_replace = msgspec.structs.replace


class Row(msgspec.Struct, frozen=True):
    """A saga; `due_at` is the end of the lease where it is leased."""

    name: str
    due_at: float | None
    token: int | None
    entries: int = 0
    state: SagaState = SagaState.RUNNING
    leased: bool = False
    cancelling: bool = False
    parked: bool = False
    waits: tuple[str, ...] = ()
    updated_at: float = 0.0
    released: int | None = None


class SagasModel(BaseModel):
    """Sagas in the order of their begins, the signals of each topic, and the highest token of each saga."""

    port = SagaStore

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.signalled: dict[tuple[str, str], float] = {}
        self.highest: dict[str, int] = {}

    def copy(self) -> SagasModel:
        other = SagasModel()
        other.rows, other.signalled, other.highest = {**self.rows}, {**self.signalled}, {**self.highest}
        other.now = self.now
        return other

    @staticmethod
    def calls() -> st.SearchStrategy[Call]:
        id, claim = st.sampled_from(IDS), st.builds(Kept, st.integers(0, 5))
        lease, most = st.sampled_from([1.0, 10.0, 3600.0]), st.sampled_from([None, 1, 2])
        begin = st.builds(
            lambda each, name, seconds, limit: Call(
                "begin", (_new(each, name),), {"lease": seconds, "most": limit}
            ),
            id,
            st.sampled_from(NAMES),
            lease,
            most,
        )
        take = st.builds(
            lambda names, limits, limit, seconds: Call(
                "take",
                ([SagaKind(name, 1, most) for name, most in zip(names, limits, strict=True)],),
                {"limit": limit, "lease": seconds},
            ),
            st.permutations(NAMES),
            st.tuples(most, most),
            st.sampled_from([1, 2, 10]),
            lease,
        )
        joining = SagasModel.joining()
        return st.one_of(
            begin,
            begin,
            take,
            take,
            joining,
            joining,
            st.builds(lambda each, seconds: Call("claim", (each,), {"lease": seconds}), id, lease),
            st.builds(
                lambda several, seconds: Call("renew", (several,), {"lease": seconds}),
                st.lists(claim, min_size=1, max_size=2),
                lease,
            ),
            st.builds(lambda each: Call("read", (each,)), id),
            st.builds(
                lambda age: Call("prune", (), {"older_than": age}), st.sampled_from([0.0, 2.0, 3600.0])
            ),
        )

    @staticmethod
    def joining() -> st.SearchStrategy[Call]:
        claim, after = st.builds(Kept, st.integers(0, 5)), st.sampled_from([0, 0, 1, 2])
        entries = st.lists(st.just(b"entry"), max_size=2)
        state = st.sampled_from([None, SagaState.RUNNING, SagaState.COMPENSATING])
        pause = st.builds(
            _pause,
            st.sampled_from(list(SagaState)),
            st.sampled_from([None, 1.0, 5e8, 4e9]),
            st.lists(st.sampled_from(TOPICS), max_size=2, unique=True).map(tuple),
            st.sampled_from([False, False, False, True]),
        )
        append = st.builds(
            lambda each, some, at, then: Call("append", (each, some), {"after": at, "state": then}),
            claim,
            entries,
            after,
            state,
        )
        release = st.builds(
            lambda each, some, at, then: Call("release", (each, some), {"after": at, "pause": then}),
            claim,
            entries,
            after,
            pause,
        )
        signal = st.builds(
            lambda topic, message: Call("signal", (SagaSignal(topic, message, b""),)),
            st.sampled_from(TOPICS),
            st.sampled_from(MESSAGES),
        )
        cancel = st.builds(lambda each: Call("cancel", (each,)), st.sampled_from(IDS))
        return st.one_of(append, append, release, release, signal, cancel)

    @staticmethod
    def looks() -> list[Call]:
        return [
            *(Call("read", (each,)) for each in IDS),
            *(Call("signals", (topic,), {"limit": 10}) for topic in TOPICS),
        ]

    @staticmethod
    def kept(call: Call, answer: Answer) -> list[Any]:
        value = answer.value
        if isinstance(value, BegunSaga):
            return [] if value.claim is None else [value.claim]
        if isinstance(value, ClaimedSaga):
            return [value.claim]
        return [each.claim for each in value] if call.method == "take" else []

    def begin(self, answer: Answer, saga: NewSaga, *, lease: float, most: int | None) -> bool:
        begun: BegunSaga = answer.value
        known = self.rows.get(saga.transaction_id)
        if known is not None:
            return not begun.created and begun.claim is None and _shows(begun.record, known)
        waiting = any(
            row.name == saga.name and row.due_at is not None and row.due_at <= self.now
            for row in self.rows.values()
        )
        free = most is None or (self._running(saga.name) < most and not waiting)
        row = Row(saga.name, self.now + lease if free else self.now, None, leased=free, updated_at=self.now)
        if not begun.created or (begun.claim is not None) is not free or not _shows(begun.record, row):
            return False
        self.rows[saga.transaction_id] = row
        return begun.claim is None or self._claims(begun.claim, lease)

    def append(
        self,
        answer: Answer,
        claim: SagaClaim,
        entries: Sequence[bytes],
        *,
        after: int,
        state: SagaState | None,
    ) -> bool:
        row = self._owned(claim)
        if row is None:
            return answer.fails("LOCKED")
        if row.entries < after:
            return answer.fails("CONFLICT")
        count = max(row.entries, after + len(entries))
        if count != row.entries or state not in {None, row.state}:
            self.rows[claim.transaction_id] = _replace(
                row, entries=count, state=state or row.state, updated_at=self.now
            )
        return answer.gives(None)

    def release(
        self, answer: Answer, claim: SagaClaim, entries: Sequence[bytes], *, after: int, pause: SagaPause
    ) -> bool:
        row = self._owned(claim)
        if row is None:
            was = self.rows.get(claim.transaction_id)
            if was is not None and was.token == claim.fencing_token:
                # Released by this very claim: the same again is accepted, another is not.
                same = (was.entries, was.state) == (after + len(entries), pause.state)
                return answer.gives(None) if same else answer.fails("LOCKED")
            if was is not None and was.released == claim.fencing_token:
                # The claim that followed may have hidden that it was released.
                return not answer.known or answer.code in {None, "LOCKED"}
            return answer.fails("LOCKED")
        if row.entries < after:
            return answer.fails("CONFLICT")
        parked = pause.problem is not None
        due_at, waits = pause.due_at, tuple(wait.topic for wait in pause.waits)
        if parked or pause.state.is_final:
            due_at, waits = None, ()
        elif row.cancelling or any(topic in waits for topic, _ in self.signalled):
            due_at = self.now
        self.rows[claim.transaction_id] = _replace(
            row,
            entries=max(row.entries, after + len(entries)),
            state=pause.state,
            due_at=due_at,
            waits=waits,
            leased=False,
            parked=parked,
            updated_at=self.now,
            released=claim.fencing_token,
        )
        return answer.gives(None)

    def renew(self, answer: Answer, claims: Sequence[SagaClaim], *, lease: float) -> bool:
        lost: set[str] = set()
        cancelling: set[str] = set()
        for claim in claims:
            row = self._owned(claim)
            if row is None:
                lost.add(claim.transaction_id)
                continue
            self.rows[claim.transaction_id] = _replace(row, due_at=self.now + lease)
            if row.cancelling:
                cancelling.add(claim.transaction_id)
        return answer.gives(SagaRenewal(frozenset(lost), frozenset(cancelling)))

    def take(self, answer: Answer, kinds: Sequence[SagaKind], *, limit: int, lease: float) -> bool:
        room = {kind.name: kind.most - self._running(kind.name) for kind in kinds if kind.most is not None}
        due = [
            (row.due_at, number, id)
            for number, (id, row) in enumerate(self.rows.items())
            if row.due_at is not None and row.due_at <= self.now
        ]
        expected: list[str] = []
        for _, _, id in sorted(due):
            name = self.rows[id].name
            if len(expected) < limit and room.get(name, 1) > 0:
                expected.append(id)
                room[name] = room.get(name, 10) - 1
        taken: Sequence[ClaimedSaga] = answer.value
        return [each.record.saga.transaction_id for each in taken] == expected and all(
            self._claimed(each, lease) for each in taken
        )

    def claim(self, answer: Answer, id: str, *, lease: float) -> bool:
        row = self.rows.get(id)
        if row is None or (row.leased and row.due_at is not None and row.due_at > self.now):
            return answer.gives(None)
        return isinstance(answer.value, ClaimedSaga) and self._claimed(answer.value, lease)

    def cancel(self, answer: Answer, id: str) -> bool:
        row = self.rows.get(id)
        if row is None:
            return answer.gives(None)
        if not row.state.is_final and not row.cancelling:
            due_at = row.due_at
            if not row.leased and not row.parked:
                due_at = self.now if due_at is None else min(due_at, self.now)
            row = self.rows[id] = _replace(row, cancelling=True, due_at=due_at)
        return not answer.known or (isinstance(answer.value, SagaRecord) and _shows(answer.value, row))

    def signal(self, answer: Answer, signal: SagaSignal) -> bool:
        key = signal.topic, signal.message_id
        if key in self.signalled:
            return answer.gives(value=False)
        self.signalled[key] = self.now
        for id, row in self.rows.items():
            if signal.topic in row.waits and (row.due_at is None or row.due_at > self.now):
                self.rows[id] = _replace(row, due_at=self.now)
        return answer.gives(value=True)

    def signals(self, answer: Answer, topic: str, *, limit: int) -> bool:
        found: Sequence[SagaSignal] = answer.value
        places = [each.position for each in found]
        expected = [message for known, message in self.signalled if known == topic][:limit]
        return [each.message_id for each in found] == expected and places == sorted(set(places))

    def read(self, answer: Answer, id: str) -> bool:
        row, saved = self.rows.get(id), answer.value
        if row is None or not isinstance(saved, SavedSaga):
            return row is None and answer.gives(None)
        return _shows(saved.record, row) and list(saved.entries) == [b"entry"] * row.entries

    def prune(self, answer: Answer, *, older_than: float) -> bool:
        before = self.now - older_than
        old = [
            id
            for id, row in self.rows.items()
            if row.state in REMOVED and not row.leased and row.updated_at < before - 1e-5
        ]
        for id in old:
            del self.rows[id]
        for key in [key for key, at in self.signalled.items() if at < before - 1e-5]:
            del self.signalled[key]
        return answer.gives(len(old))

    def _running(self, name: str) -> int:
        return sum(
            row.name == name and row.leased and row.due_at is not None and row.due_at > self.now
            for row in self.rows.values()
        )

    def _owned(self, claim: SagaClaim) -> Row | None:
        row = self.rows.get(claim.transaction_id)
        return row if row is not None and row.leased and row.token == claim.fencing_token else None

    def _claims(self, claim: SagaClaim, lease: float) -> bool:
        id = claim.transaction_id
        if claim.fencing_token <= self.highest.get(id, 0):
            return False
        self.highest[id] = claim.fencing_token
        self.rows[id] = _replace(
            self.rows[id], token=claim.fencing_token, leased=True, due_at=self.now + lease, waits=()
        )
        return True

    def _claimed(self, claimed: ClaimedSaga, lease: float) -> bool:
        id = claimed.record.saga.transaction_id
        return (
            id == claimed.claim.transaction_id
            and self._claims(claimed.claim, lease)
            and _shows(claimed.record, self.rows[id])
            and len(claimed.entries) == self.rows[id].entries
        )


def _new(id: str, name: str) -> NewSaga:
    return NewSaga(id, name, 1, "json", b"data")


def _pause(state: SagaState, due_at: float | None, topics: tuple[str, ...], parked: bool) -> SagaPause:
    return SagaPause(
        state, due_at=due_at, waits=tuple(map(SagaWait, topics)), problem=b"changed" if parked else None
    )


def _shows(record: SagaRecord, row: Row) -> bool:
    return (
        (record.saga.name, record.state, record.entries) == (row.name, row.state, row.entries)
        and (record.leased, record.cancelling) == (row.leased, row.cancelling)
        and (record.problem is not None) is row.parked
        and (record.due_at is None) is (row.due_at is None)
        and (record.due_at is None or row.due_at is None or abs(record.due_at - row.due_at) < 0.002)
    )
