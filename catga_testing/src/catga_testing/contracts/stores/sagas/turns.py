"""How many sagas of a name run at the same time, and in which order the others get their turn."""

from __future__ import annotations

import asyncio

from catga_core.interfaces import SagaKind, SagaPause, SagaState, SagaStore
from catga_testing.contracts.stores.place import StoreTime
from catga_testing.contracts.stores.sagas.base import (
    AMPLE,
    DONE,
    NAME,
    SagaContractBase,
    TwoSagaStores,
    begun,
    ids,
    paused,
    saga,
    taken,
)


class SagaTurnsContract(SagaContractBase):
    """No more than `most` are claimed, and none overtakes another."""

    async def test_saga_over_the_limit_begins_without_a_claim(
        self, saga_stores: TwoSagaStores, time: StoreTime
    ) -> None:
        """It is due at once, and other names are not limited by it."""
        one, other = saga_stores
        first = [
            await store.begin(saga(name), lease=AMPLE, most=2) for store, name in ((one, "a"), (other, "b"))
        ]
        third = await one.begin(saga("c"), lease=AMPLE, most=2)
        beside = await other.begin(saga("d", name="Other"), lease=AMPLE, most=1)

        assert all(each.claim is not None for each in (*first, beside))
        assert (third.claim, third.created, third.record.leased) == (None, True, False)
        assert third.record.state is SagaState.RUNNING
        assert third.record.due_at is not None
        assert third.record.due_at <= time.clock.time() + time.about(0)
        assert await other.get("c") == third.record
        assert ids(await taken(other)) == ["c"]

    async def test_waiting_sagas_get_their_turn_in_order(self, saga_stores: TwoSagaStores) -> None:
        """One that begins while others wait comes behind them, also when there is room."""
        one, other = saga_stores
        first = await begun(one, "a")
        for name in ("d", "c", "b"):
            assert (await one.begin(saga(name), lease=AMPLE, most=1)).claim is None
        assert await taken(other, _most(1)) == []
        await one.release(first, [], after=0, pause=DONE)
        late = await other.begin(saga("e"), lease=AMPLE, most=1)

        order: list[str] = []
        while found := await taken(other, _most(1)):
            [each] = found
            order += ids(found)
            await other.release(each.claim, [], after=0, pause=DONE)

        assert late.claim is None
        assert order == ["d", "c", "b", "e"]

    async def test_limit_counts_all_versions_and_processes(self, saga_stores: TwoSagaStores) -> None:
        """Of the one name, also when several are taken at once."""
        one, other = saga_stores
        await begun(one, "a", version=2)
        for number in range(5):
            await paused(other, f"b-{number}", 1.0)
        await paused(one, "c", 2.0, name="Other")

        found = await taken(other, SagaKind(NAME, 1, 3), SagaKind("Other", 1))

        assert ids(found) == ["b-0", "b-1", "c"]
        assert await taken(one, _most(3)) == []
        assert ids(await taken(one, _most(4))) == ["b-2"]
        assert ids(await taken(one, SagaKind(NAME, 1))) == ["b-3", "b-4"]

    async def test_expired_lease_leaves_its_place(self, saga_stores: TwoSagaStores, time: StoreTime) -> None:
        """It does not count any more, and is taken over before those behind it; a claim is not limited."""
        one, other = saga_stores
        await begun(one, "a", lease=time.lease)
        await time.passes(0.5)
        assert (await one.begin(saga("b"), lease=AMPLE, most=1)).claim is None
        await time.passes(0.6)

        assert ids(await taken(other, _most(1))) == ["b"]
        assert await taken(other, _most(1)) == []
        claimed = await other.claim("a", lease=AMPLE)
        assert claimed is not None

    async def test_begins_after_an_expired_lease_wait_behind_it(
        self, sagas: SagaStore, time: StoreTime
    ) -> None:
        """The dead process's saga is due, so it comes first."""
        await begun(sagas, "a", lease=time.lease)
        await time.passes(1.1)
        late = await sagas.begin(saga("b"), lease=AMPLE, most=1)

        assert late.claim is None
        assert ids(await taken(sagas, _most(1))) == ["a"]

    async def test_limit_holds_for_concurrent_begins(self, saga_stores: TwoSagaStores) -> None:
        """The others wait in the order in which they were added."""
        answers = await asyncio.gather(
            *(saga_stores[number % 2].begin(saga(f"o-{number}"), lease=AMPLE, most=3) for number in range(20))
        )

        claimed = [each for each in answers if each.claim is not None]
        assert len(claimed) == 3
        assert all(each.created for each in answers)
        assert await taken(saga_stores[0], _most(3)) == []
        for each in claimed:
            assert each.claim is not None
            pause = SagaPause(SagaState.WAITING)
            await saga_stores[1].release(each.claim, [], after=0, pause=pause)
        found = [
            await asyncio.gather(*(taken(saga_stores[number % 2], _most(3), limit=2) for number in range(5)))
        ]
        assert sum(len(each) for some in found for each in some) == 3

    async def test_room_is_had_again_after_any_release(self, sagas: SagaStore) -> None:
        """A saga that waits for a time or an event does not run."""
        claim = await begun(sagas, "a")
        await sagas.release(claim, [], after=0, pause=SagaPause(SagaState.WAITING, due_at=4e9))

        answer = await sagas.begin(saga("b"), lease=AMPLE, most=1)

        assert answer.claim is not None


def _most(count: int) -> SagaKind:
    return SagaKind(NAME, 1, count)
