"""What an operator finds, and what is removed after a time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from catga_core.interfaces import SagaFilter, SagaPause, SagaState, SagaStore
from catga_testing.contracts.stores.place import StoreTime
from catga_testing.contracts.stores.records import ODD_NAMES
from catga_testing.contracts.stores.sagas.base import (
    AMPLE,
    DONE,
    TOPIC,
    SagaContractBase,
    TwoSagaStores,
    begun,
    ended,
    paused,
    signal,
)

PARKED = SagaPause(SagaState.WAITING, problem=b"changed")


class SagaFindingContract(SagaContractBase):
    """Pages in the order of the transaction ids."""

    async def test_sagas_are_found_in_order_of_their_ids(self, sagas: SagaStore) -> None:
        """By code points, whatever was begun first, and each once over all pages."""
        for name in ODD_NAMES:
            await begun(sagas, name)

        names: list[str] = []
        after: str | None = None
        for _ in ODD_NAMES:
            page = await sagas.find(after=after, limit=5)
            names += [each.saga.transaction_id for each in page.records]
            after = page.next
            if after is None:
                break

        assert names == sorted(ODD_NAMES)

    @pytest.mark.parametrize("limit", [1, 2, 3, 6, 7])
    async def test_last_page_has_no_next(self, sagas: SagaStore, limit: int) -> None:
        """Also where it is full, and where sagas that do not match are behind it."""
        for number in range(6):
            await begun(sagas, f"a-{number}", name="Found")
        for number in range(3):
            await begun(sagas, f"b-{number}", name="Other")

        pages: list[int] = []
        after: str | None = None
        while True:
            page = await sagas.find(SagaFilter(name="Found"), after=after, limit=limit)
            pages.append(len(page.records))
            after = page.next
            if after is None:
                break

        assert sum(pages) == 6
        assert len(pages) == -(-6 // limit)

    async def test_filters_match_all_their_fields(self, saga_stores: TwoSagaStores, time: StoreTime) -> None:
        """One that is `None` does not matter."""
        one, other = saga_stores
        await begun(one, "a", parent="p-1")
        await paused(one, "b", parent="p-1", name="Other")
        await ended(one, "c", parent="p-2")
        await time.passes(0.2)
        now = time.clock.time() - 0.1 * time.lease
        await ended(one, "d", PARKED, name="Other")
        await ended(one, "e", PARKED, parent="p-1")

        async def found(**fields: object) -> str:
            page = await other.find(SagaFilter(**fields))  # type: ignore[arg-type]  # names and types are given below
            return "".join(each.saga.transaction_id for each in page.records)

        assert await found() == "abcde"
        assert await found(state=SagaState.RUNNING) == "a"
        assert await found(state=SagaState.WAITING) == "bde"
        assert await found(state=SagaState.COMPENSATED) == ""
        assert await found(name="Other") == "bd"
        assert await found(name="") == ""
        assert await found(parked=True) == "de"
        assert await found(parked=False) == "abc"
        assert await found(parent="p-1") == "abe"
        assert await found(parent="p-3") == ""
        assert await found(updated_before=now) == "abc"
        assert await found(state=SagaState.WAITING, parked=False, parent="p-1", name="Other") == "b"
        assert await found(state=SagaState.WAITING, parked=True, updated_before=now) == ""

    async def test_many_sagas_are_found_among_others(self, sagas: SagaStore) -> None:
        """However many do not match."""
        for number in range(700):
            await begun(sagas, f"o-{number:04}", name="Found" if number % 300 == 299 else "Other")

        page = await sagas.find(SagaFilter(name="Found"), limit=1)
        rest = await sagas.find(SagaFilter(name="Found"), after=page.next, limit=10)

        assert [each.saga.transaction_id for each in page.records] == ["o-0299"]
        assert ([each.saga.transaction_id for each in rest.records], rest.next) == (["o-0599"], None)


class SagaPruningContract(SagaContractBase):
    """Only what has ended is removed."""

    async def test_only_old_ended_sagas_are_removed(
        self, saga_stores: TwoSagaStores, time: StoreTime
    ) -> None:
        """With their journals; a failed compensation stays for an operator."""
        one, other = saga_stores
        for state in SagaState:
            claim = await begun(one, state)
            await one.release(claim, [b"1"], after=0, pause=SagaPause(state))
        await begun(one, "leased")
        await ended(one, "parked", PARKED)
        await time.passes(0.5)
        await ended(one, "young")
        await time.passes(0.5)

        assert await other.prune(older_than=2 * time.lease) == 0
        assert await other.prune(older_than=0.75 * time.lease) == 3

        assert await _names(one) == sorted(
            ["compensating", "compensation_failed", "leased", "parked", "running", "waiting", "young"]
        )
        await begun(one, "completed")
        found = await other.read("completed")
        assert found is not None
        assert list(found.entries) == []

    async def test_claimed_saga_is_not_removed(self, sagas: SagaStore, time: StoreTime) -> None:
        """An operator is about to resume it; once it has ended again, its time begins again."""
        await ended(sagas, "o-1")
        await time.passes(0.5)
        claimed = await sagas.claim("o-1", lease=AMPLE)
        assert claimed is not None

        assert await sagas.prune(older_than=0.1 * time.lease) == 0
        await sagas.release(claimed.claim, [], after=0, pause=DONE)
        assert await sagas.prune(older_than=0.4 * time.lease) == 0
        await time.passes(0.5)
        assert await sagas.prune(older_than=0.4 * time.lease) == 1

    @pytest.mark.parametrize(
        ("parent", "stays"),
        [
            (SagaState.RUNNING, True),
            (SagaState.WAITING, True),
            (SagaState.COMPENSATING, True),
            (SagaState.COMPENSATION_FAILED, True),
            (SagaState.COMPLETED, False),
            (None, False),
        ],
    )
    async def test_saga_stays_while_its_parent_may_compensate_it(
        self, sagas: SagaStore, time: StoreTime, parent: SagaState | None, stays: bool
    ) -> None:
        """Until the parent has ended, or is gone."""
        if parent is not None:
            claim = await begun(sagas, "parent", data=b"")
            await time.passes(0.1)
            await sagas.release(claim, [], after=0, pause=SagaPause(parent))
        await ended(sagas, "child", parent="parent")
        await ended(sagas, "other")
        await time.passes(0.1)

        await sagas.prune(older_than=0.0)

        assert ("child" in await _names(sagas)) is stays
        assert "other" not in await _names(sagas)

    async def test_pruning_stops_at_its_limit(self, sagas: SagaStore, time: StoreTime) -> None:
        """Sagas that stay for their parent do not count."""
        await begun(sagas, "parent")
        for number in range(5):
            await ended(sagas, f"child-{number}", parent="parent")
        for number in range(5):
            await ended(sagas, f"o-{number}")
        await time.passes(0.1)

        removed = [await sagas.prune(older_than=0.0, limit=2) for _ in range(4)]

        assert removed == [2, 2, 1, 0]
        assert len(await _names(sagas)) == 6

    async def test_old_signals_are_removed(self, saga_stores: TwoSagaStores, time: StoreTime) -> None:
        """The same message can be added again then, at a new position."""
        one, other = saga_stores
        for number in range(3):
            await one.signal(signal(f"m-{number}"))
        await time.passes(0.5)
        await one.signal(signal("young"))
        before = list(await one.signals(TOPIC, limit=10))
        await time.passes(0.5)

        assert await other.prune(older_than=0.75 * time.lease, limit=2) == 0
        half = [each.message_id for each in await one.signals(TOPIC, limit=10)]
        await other.prune(older_than=0.75 * time.lease)

        assert half == ["m-2", "young"]
        assert list(await one.signals(TOPIC, limit=10)) == before[3:]
        assert await one.signal(signal("m-0"))
        assert [each.message_id for each in await one.signals(TOPIC, limit=10)] == ["young", "m-0"]
        assert await one.signal(signal("young")) is False


async def _names(sagas: SagaStore) -> Sequence[str]:
    page = await sagas.find(limit=100)
    return [each.saga.transaction_id for each in page.records]
