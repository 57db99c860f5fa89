"""Sagas in units of work: a step's effect and its journal entry are one write."""

from __future__ import annotations

import asyncio

import pytest

from catga_core.errors import ConflictError, LeaseLostError
from catga_core.interfaces import (
    DeadLetterStore,
    SagaClaim,
    SagaPause,
    SagaState,
    SagaStore,
    SagaWait,
    Stores,
)
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import PATIENCE
from catga_testing.contracts.stores.base import both
from catga_testing.contracts.stores.place import StoreTime, outside
from catga_testing.contracts.stores.records import letter
from catga_testing.contracts.stores.sagas.base import (
    AMPLE,
    DONE,
    TOPIC,
    SagaContractBase,
    begun,
    ids,
    paused,
    saga,
    signal,
    taken,
)
from catga_testing.contracts.stores.sagas.journals import WRITES


class SagaJoiningContract(SagaContractBase):
    """A unit of work writes all of it, or nothing."""

    @needs(DeadLetterStore)
    @pytest.mark.parametrize("write", WRITES)
    async def test_unit_of_work_of_a_former_owner_commits_nothing(
        self, pair: tuple[Stores, Stores], time: StoreTime, write: str
    ) -> None:
        """Its other writes neither."""
        one, other = both(pair, SagaStore)
        letters = pair[0][DeadLetterStore]
        former = await begun(one, "o-1", lease=time.lease)
        await one.append(former, [b"1"], after=0)
        await time.passes(1.1)
        await taken(other)
        before = await other.read("o-1")

        with pytest.raises(LeaseLostError):
            async with pair[0].storage.unit_of_work():
                await letters.add(letter("l-1"))
                await WRITES[write](one, former)

        assert await letters.get("l-1") is None
        assert await other.read("o-1") == before

    @needs(DeadLetterStore)
    async def test_unit_of_work_with_a_gap_commits_nothing(self, stores: Stores, sagas: SagaStore) -> None:
        """Entries that an append expects are missing."""
        letters = stores[DeadLetterStore]
        claim = await begun(sagas, "o-1")

        with pytest.raises(ConflictError):
            async with stores.storage.unit_of_work():
                await letters.add(letter("l-1"))
                await sagas.append(claim, [b"1"], after=0)
                await sagas.append(claim, [b"3"], after=2)

        assert await letters.get("l-1") is None
        found = await sagas.read("o-1")
        assert found is not None
        assert list(found.entries) == []

    @needs(DeadLetterStore)
    async def test_takeover_before_the_commit_and_the_commit_exclude_each_other(
        self, pair: tuple[Stores, Stores], time: StoreTime
    ) -> None:
        """The entry and the effect are there, or the other process runs the step again."""
        one, other = both(pair, SagaStore)
        letters = pair[0][DeadLetterStore]
        claim = await begun(one, "o-1", lease=time.lease)
        await time.passes(1.1)
        acting: asyncio.Task[list[str]] | None = None
        committed = True
        try:
            async with pair[0].storage.unit_of_work():
                await letters.add(letter("l-1"))
                await one.append(claim, [b"1"], after=0)

                async def take() -> list[str]:
                    return ids(await taken(other))

                acting = asyncio.create_task(outside(take))
                # It may be made to wait for the unit of work: then it comes after it.
                await asyncio.wait({acting}, timeout=0.05)
        except LeaseLostError:
            committed = False
        assert acting is not None
        async with asyncio.timeout(PATIENCE):
            assert await acting == ["o-1"]

        found = await other.read("o-1")
        assert found is not None
        assert list(found.entries) == ([b"1"] if committed else [])
        assert (await letters.get("l-1") is not None) is committed

    async def test_whole_saga_in_one_unit_of_work(self, pair: tuple[Stores, Stores]) -> None:
        """It begins, goes on and ends, and begins no second time in the block."""
        one, other = both(pair, SagaStore)
        async with pair[0].storage.unit_of_work():
            answer = await one.begin(saga("o-1"), lease=AMPLE)
            again = await one.begin(saga("o-1"), lease=AMPLE)
            assert answer.claim is not None
            await one.append(answer.claim, [b"1"], after=0)
            await one.append(answer.claim, [b"2"], after=1, state=SagaState.COMPENSATING)
            await one.rewrite(answer.claim, [b"0"], version=2, data=b"new", state=SagaState.RUNNING)
            await one.append(answer.claim, [b"3"], after=1)
            await one.release(answer.claim, [b"4"], after=2, pause=DONE)
            assert await outside(lambda: other.get("o-1")) is None

        assert (answer.created, again.created, again.claim) == (True, False, None)
        assert again.record.saga == answer.record.saga
        found = await other.read("o-1")
        assert found is not None
        assert list(found.entries) == [b"0", b"3", b"4"]
        assert (found.record.state, found.record.outcome) == (SagaState.COMPLETED, b"done")
        assert (found.record.saga.version, found.record.entries) == (2, 3)

    async def test_begin_in_a_unit_of_work_gives_a_claim_for_later(
        self, pair: tuple[Stores, Stores], time: StoreTime
    ) -> None:
        """The commit makes the saga, as it was returned; a known one is returned as it is."""
        one, other = both(pair, SagaStore)
        await begun(other, "known")
        async with pair[0].storage.unit_of_work():
            answer = await one.begin(saga("o-1"), lease=AMPLE, most=2)
            full = await one.begin(saga("o-2"), lease=AMPLE, most=2)
            known = await one.begin(saga("known", data=b"other"), lease=AMPLE)

        assert (known.created, known.claim) == (False, None)
        assert known.record == await other.get("known")
        found = await other.get("o-1")
        assert answer.claim is not None
        assert found is not None
        assert (found.saga, found.leased, found.entries) == (answer.record.saga, True, 0)
        assert found.due_at is not None
        assert answer.record.due_at == pytest.approx(found.due_at, abs=time.about(AMPLE))
        await one.append(answer.claim, [b"1"], after=0)
        assert full.claim is None
        assert ids(await taken(other)) == ["o-2"]

    async def test_rolled_back_begin_leaves_nothing(self, pair: tuple[Stores, Stores]) -> None:
        """Neither a saga nor a place among those that run; its claim is worth nothing."""
        one, other = both(pair, SagaStore)
        claims: list[SagaClaim] = []
        with pytest.raises(ZeroDivisionError):
            async with pair[0].storage.unit_of_work():
                answer = await one.begin(saga("o-1"), lease=AMPLE, most=1)
                assert answer.claim is not None
                claims.append(answer.claim)
                raise ZeroDivisionError

        assert await other.get("o-1") is None
        with pytest.raises(LeaseLostError):
            await one.append(claims[0], [b"1"], after=0)
        again = await other.begin(saga("o-1"), lease=AMPLE, most=1)
        assert again.created
        assert again.claim is not None
        with pytest.raises(LeaseLostError):
            await one.append(claims[0], [b"1"], after=0)

    async def test_rolled_back_signal_wakes_no_saga(self, pair: tuple[Stores, Stores]) -> None:
        """And can be added afterwards."""
        one, other = both(pair, SagaStore)
        await paused(one, "o-1", topics=[TOPIC])
        with pytest.raises(ZeroDivisionError):
            async with pair[0].storage.unit_of_work():
                assert await one.signal(signal("m-1"))
                raise ZeroDivisionError

        assert await taken(other) == []
        assert list(await other.signals(TOPIC)) == []
        async with pair[0].storage.unit_of_work():
            assert await one.signal(signal("m-1"))
        assert ids(await taken(other)) == ["o-1"]

    async def test_signal_of_the_same_unit_of_work_makes_saga_due(
        self, stores: Stores, sagas: SagaStore
    ) -> None:
        """Whether it was added before or after the saga began to wait."""
        claims = [await begun(sagas, name) for name in ("a", "b")]
        async with stores.storage.unit_of_work():
            for claim, topic in zip(claims, ("x", "y"), strict=True):
                if topic == "x":
                    await sagas.signal(signal("m-1", topic))
                pause = SagaPause(SagaState.WAITING, waits=(SagaWait(topic),))
                await sagas.release(claim, [], after=0, pause=pause)
                if topic == "y":
                    await sagas.signal(signal("m-1", topic))
                    await sagas.signal(signal("m-1", topic))

        assert sorted(ids(await taken(sagas))) == ["a", "b"]
        assert len(await sagas.signals("y", limit=10)) == 1

    async def test_known_signal_in_a_unit_of_work_is_added_once(
        self, stores: Stores, sagas: SagaStore
    ) -> None:
        """Whatever the call returned before the commit."""
        await sagas.signal(signal("m-1"))
        async with stores.storage.unit_of_work():
            for message in ("m-1", "m-2", "m-2"):
                await sagas.signal(signal(message))

        found = await sagas.signals(TOPIC, limit=10)
        assert [each.message_id for each in found] == ["m-1", "m-2"]

    async def test_cancellation_in_a_unit_of_work_shows_the_saga(
        self, pair: tuple[Stores, Stores], time: StoreTime
    ) -> None:
        """As it will be; one that is not there stays so."""
        one, other = both(pair, SagaStore)
        await paused(one, "o-1", time.clock.time() + AMPLE)
        async with pair[0].storage.unit_of_work():
            found = await one.cancel("o-1")
            missing = await one.cancel("o-2")
            outer = await outside(lambda: other.get("o-1"))

        assert missing is None
        assert found is not None
        assert found.cancelling
        assert outer is not None
        assert not outer.cancelling
        actual = await other.get("o-1")
        assert actual is not None
        assert found.due_at == pytest.approx(actual.due_at, abs=time.about(0))
        assert ids(await taken(other)) == ["o-1"]

    @needs(savepoints=True)
    async def test_nested_block_that_fails_is_undone_alone(self, stores: Stores, sagas: SagaStore) -> None:
        """The outer block's saga goes on from where it was."""
        claim = await begun(sagas, "o-1")
        async with stores.storage.unit_of_work():
            await sagas.append(claim, [b"1"], after=0)
            with pytest.raises(ZeroDivisionError):
                async with stores.storage.unit_of_work():
                    await sagas.append(claim, [b"lost"], after=1)
                    await sagas.begin(saga("inner"), lease=AMPLE)
                    await sagas.signal(signal("m-1"))
                    raise ZeroDivisionError
            again = await sagas.begin(saga("inner"), lease=AMPLE)
            await sagas.append(claim, [b"2"], after=1)

        found = await sagas.read("o-1")
        assert found is not None
        assert list(found.entries) == [b"1", b"2"]
        assert again.created
        assert await sagas.get("inner") is not None
        assert list(await sagas.signals(TOPIC)) == []
