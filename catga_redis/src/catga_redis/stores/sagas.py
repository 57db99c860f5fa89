"""Sagas in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from catga_core.identifiers import new_id
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
from catga_core.option_checks import check_name
from catga_core.storage_support.sagas import PRUNED
from catga_redis.engine.news import look_again_within
from catga_redis.engine.refusals import is_refusal, refusal
from catga_redis.engine.together import Together
from catga_redis.storage import RedisStorage
from catga_redis.unit_of_work import RedisUnitOfWork

_TOPIC: Final = "sg"
_GRAIN: Final = 0.001
_LOOK_AT: Final = 500  # sagas one script looks at: it keeps everybody else waiting meanwhile
_FIXED: Final = tuple[str, float | None, str | None]  # format, deadline, parent

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_FIXED).decode
_replace = msgspec.structs.replace


class RedisSagaStore:
    """Keeps the journals of sagas, and what they wait for; lua/sagas.lua tells how.

    Args:
        storage: Where.
    """

    def __init__(self, storage: RedisStorage) -> None:
        self._storage = storage
        self._commands = storage.commands
        self._together = Together(storage.commands, "sagas_together")

    async def begin(self, saga: NewSaga, /, *, lease: float, most: int | None = None) -> BegunSaga:
        """Add a saga and claim it; inside a unit of work the commit checks that the answer still holds."""
        check_name("transaction_id", saga.transaction_id)
        unit = self._storage.joined()
        if unit is not None:
            return await self._promise(unit, saga, lease, most)
        limit = "" if most is None else most
        answer = await self._together.run("begin_saga", *_new(saga), lease, limit, new_id(), "")
        if not isinstance(answer, bytes):
            return BegunSaga(_record(answer), None, created=False)
        begun = _begun(saga, answer, lease)
        if begun.claim is None:
            self._storage.news.wake(_TOPIC)
        return begun

    async def append(
        self, claim: SagaClaim, entries: Sequence[bytes], /, *, after: int, state: SagaState | None = None
    ) -> None:
        """Add entries to a journal; inside a unit of work it is checked and written at the commit."""
        head = (*_token(claim), after, "" if state is None else state.value, len(entries))
        await self._write("append_saga", *head, *entries, together=True)

    async def release(
        self, claim: SagaClaim, entries: Sequence[bytes], /, *, after: int, pause: SagaPause
    ) -> None:
        """Add entries to a journal and give the claim back; inside a unit of work, at the commit."""
        ends = pause.state.is_final or pause.problem is not None
        waits = [] if ends else [part for wait in pause.waits for part in (wait.topic, wait.after)]
        await self._write(
            "release_saga",
            *_token(claim),
            after,
            pause.state.value,
            len(entries),
            int(ends),
            int(pause.state in PRUNED),
            "" if pause.due_at is None else repr(float(pause.due_at)),
            _optional(pause.outcome),
            _optional(pause.problem),
            len(waits) // 2,
            *entries,
            *waits,
            together=True,
        )
        if self._storage.joined() is None:
            self._storage.news.wake(_end_of(claim.transaction_id) if ends else _TOPIC)

    async def rewrite(
        self, claim: SagaClaim, entries: Sequence[bytes], /, *, version: int, data: bytes, state: SagaState
    ) -> None:
        """Replace a whole journal; inside a unit of work it is checked and written at the commit."""
        head = (*_token(claim), 0, version, data, state.value, len(entries))
        await self._write("rewrite_saga", *head, *entries)

    async def renew(self, claims: Sequence[SagaClaim], /, *, lease: float) -> SagaRenewal:
        """Extend claims, counted from now."""
        answer: list[int] = []
        for begin in range(0, len(claims), _LOOK_AT):
            some = claims[begin : begin + _LOOK_AT]
            tokens = [part for claim in some for part in _token(claim)]
            answer += await self._commands.run("renew_sagas", len(some), lease, *tokens)
        ids = [claim.transaction_id for claim in claims]
        lost = frozenset(id for id, what in zip(ids, answer, strict=True) if what == 1)
        cancelling = frozenset(id for id, what in zip(ids, answer, strict=True) if what == 2)
        return SagaRenewal(lost, cancelling)

    async def take(self, kinds: Sequence[SagaKind], /, *, limit: int, lease: float) -> Sequence[ClaimedSaga]:
        """Claim sagas that are due, in the order in which they became due."""
        # Not asked again when the answer is lost: what was claimed then is taken over when its lease ends.
        answer = await self._commands.run(
            "take_sagas", lease, limit, new_id(), len(kinds), *_kinds(kinds), again=False
        )
        return [_claimed(each) for each in answer]

    async def claim(self, transaction_id: str, /, *, lease: float) -> ClaimedSaga | None:
        """Claim one saga, due or not, final or not."""
        answer = await self._commands.run("claim_saga", transaction_id, lease, new_id())
        return None if answer is None else _claimed(answer)

    async def get(self, transaction_id: str, /) -> SagaRecord | None:
        """Return a saga, `None` where there is none."""
        answer = await self._commands.run("get_saga", transaction_id)
        return None if answer is None else _record(answer)

    async def read(self, transaction_id: str, /) -> SavedSaga | None:
        """Return a saga with its journal, `None` where there is none."""
        answer = await self._commands.run("read_saga", transaction_id)
        return None if answer is None else SavedSaga(_record(answer[0]), answer[1])

    async def find(
        self, filter: SagaFilter = ALL_SAGAS, /, *, after: str | None = None, limit: int = 100
    ) -> SagaPage:
        """Return the sagas that match a filter, a page at a time, in the order of their transaction ids."""
        wanted = (
            _text(filter.state),
            _text(filter.name),
            _text(None if filter.parked is None else str(int(filter.parked))),
            _text(None if filter.updated_before is None else repr(float(filter.updated_before))),
            _text(filter.parent),
        )
        found: list[SagaRecord] = []
        last: str | bytes = after or ""
        more = True
        # One more than asked for tells whether there is another page.
        while more and len(found) <= limit:
            answer = await self._commands.run("find_sagas", last, _LOOK_AT, limit + 1 - len(found), *wanted)
            last, more, rows = answer
            found += map(_record, rows)
        page = found[:limit]
        return SagaPage(page, page[-1].saga.transaction_id if len(found) > limit else None)

    async def cancel(self, transaction_id: str, /) -> SagaRecord | None:
        """Request the cancellation of a saga; inside a unit of work, at the commit."""
        unit = self._storage.joined()
        if unit is None:
            answer = await self._commands.run("cancel_saga", transaction_id)
            self._storage.news.wake(_TOPIC)
            return None if answer is None else _record(answer)
        found = unit.sagas.get(transaction_id) or await self.get(transaction_id)
        if found is None or found.state.is_final or found.cancelling:
            return found
        unit.stage("cancel_saga", transaction_id)
        if found.leased or found.problem is not None:
            return _replace(found, cancelling=True)
        now = self._storage.clock.time()
        return _replace(
            found, cancelling=True, due_at=now if found.due_at is None else min(now, found.due_at)
        )

    async def signal(self, signal: SagaSignal, /) -> bool:
        """Add a signal; the sagas that wait for its topic become due. Inside a unit of work, at the commit."""
        check_name("topic", signal.topic)
        check_name("message_id", signal.message_id)
        operation = ("add_signal", signal.topic, signal.message_id, signal.data, new_id())
        unit = self._storage.joined()
        if unit is not None:
            unit.stage(*operation)
            return True
        added = bool(await self._commands.run(*operation))
        self._storage.news.wake(_TOPIC)
        return added

    async def signals(self, topic: str, /, *, after: int = 0, limit: int = 1) -> Sequence[SagaSignal]:
        """Return signals of a topic, in the order of their positions."""
        answer = await self._commands.run("list_signals", topic, after, limit)
        return [SagaSignal(topic, id.decode(), data, int(place)) for place, id, data in answer]

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        """Remove sagas that are completed, compensated or cancelled, and signals; return how many sagas."""
        removed = 0
        skip: int | None = 0
        while skip is not None and removed < limit:
            some, skip = await self._commands.run(
                "prune_sagas", older_than, limit - removed, min(limit, _LOOK_AT), skip
            )
            removed += some
        left = limit
        while left > 0:
            wanted = min(left, _LOOK_AT)
            if await self._commands.run("prune_signals", older_than, wanted) < wanted:
                break
            left -= wanted
        return removed

    async def wait(self, kinds: Sequence[SagaKind], /, *, timeout: float) -> None:
        """Return when there may be a saga that is due, at the latest after a number of real seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while True:
            with self._storage.news.expect(_TOPIC) as news:
                due_in = await self._commands.run("sagas_due_in", len(kinds), *_kinds(kinds))
                seconds = None if due_in is None else float(due_in)
                left = until - loop.time()
                if (seconds is not None and seconds <= 0) or left <= 0:
                    return
                soon = left if seconds is None else min(left, seconds + _GRAIN)
                await news.wait(timeout=look_again_within(soon))

    async def wait_final(self, transaction_id: str, /, *, timeout: float) -> SagaRecord | None:
        """Wait until a saga is final or parked, at most for a number of real seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while True:
            with self._storage.news.expect(_end_of(transaction_id)) as news:
                answer = await self._commands.run("await_saga", transaction_id)
                found = None if answer is None else _record(answer)
                left = until - loop.time()
                if found is None or found.state.is_final or found.problem is not None or left <= 0:
                    return found
                await news.wait(timeout=look_again_within(left))

    async def _write(self, name: str, *arguments: Any, together: bool = False) -> None:
        unit = self._storage.joined()
        if unit is not None:
            unit.stage(name, *arguments)
            return
        run = self._together.run if together else self._commands.run
        answer = await run(name, *arguments)
        if is_refusal(answer):
            raise refusal(answer)

    async def _promise(
        self, unit: RedisUnitOfWork, saga: NewSaga, lease: float, most: int | None
    ) -> BegunSaga:
        """Begin a saga in a unit of work: what is answered now is what the commit writes, or it writes nothing."""
        id = saga.transaction_id
        if (own := unit.sagas.get(id)) is not None:
            return BegunSaga(own, None, created=False)
        limit = most
        if most is not None:
            beside = [each for each in unit.sagas.values() if each.saga.name == saga.name]
            # One of this block that waits for its turn is before it.
            limit = most - len(beside) if all(each.leased for each in beside) else 0
        answer = await self._commands.run("promise_saga", id, saga.name, "" if limit is None else limit)
        # Another task of the block may have begun it meanwhile.
        if (own := unit.sagas.get(id)) is not None:
            return BegunSaga(own, None, created=False)
        if not isinstance(answer, bytes):
            return BegunSaga(_record(answer), None, created=False)
        begun = _begun(saga, answer, lease)
        token, leased = answer.partition(b":")[0], int(begun.claim is not None)
        unit.stage("begin_saga", *_new(saga), lease, "" if most is None else most, new_id(), token, leased)
        unit.sagas[id] = begun.record
        return begun


def _new(saga: NewSaga) -> tuple[Any, ...]:
    fixed = _encode((saga.format, saga.deadline, saga.parent))
    return saga.transaction_id, saga.name, saga.version, fixed, saga.data, _text(saga.parent)


def _begun(saga: NewSaga, answer: bytes, lease: float) -> BegunSaga:
    token, at, leased = answer.split(b":")
    now, free = float(at), leased == b"1"
    record = SagaRecord(saga, SagaState.RUNNING, 0, now, now, now + lease if free else now, free)
    return BegunSaga(record, SagaClaim(saga.transaction_id, int(token)) if free else None, created=True)


def _record(row: Sequence[Any]) -> SagaRecord:
    (
        fixed,
        name,
        version,
        data,
        state,
        created,
        updated,
        due,
        leased,
        cancelling,
        outcome,
        problem,
        entries,
        id,
    ) = row
    format, deadline, parent = _decode(fixed)
    saga = NewSaga(id.decode(), name.decode(), int(version), format, data, deadline, parent)
    return SagaRecord(
        saga=saga,
        state=SagaState.RUNNING if state is None else SagaState(state.decode()),
        entries=int(entries or 0),
        created_at=float(created),
        updated_at=float(updated or created),
        due_at=_time(leased or due),
        leased=bool(leased),
        cancelling=cancelling is not None,
        outcome=outcome,
        problem=problem,
    )


def _claimed(answer: Sequence[Any]) -> ClaimedSaga:
    token, row, entries, taken_over = answer
    record = _record(row)
    claim = SagaClaim(record.saga.transaction_id, int(token))
    return ClaimedSaga(claim, record, entries, taken_over == 1)


def _token(claim: SagaClaim) -> tuple[str, int]:
    return claim.transaction_id, claim.fencing_token


def _kinds(kinds: Sequence[SagaKind]) -> list[Any]:
    return [
        part for kind in kinds for part in (kind.name, kind.version, "" if kind.most is None else kind.most)
    ]


def _text(text: str | None) -> str:
    return "0" if text is None else f"1{text}"


def _optional(data: bytes | None) -> bytes:
    return b"0" if data is None else b"1" + data


def _time(text: bytes | None) -> float | None:
    return None if text is None else float(text)


def _end_of(transaction_id: str) -> str:
    return f"sge:{transaction_id}"
