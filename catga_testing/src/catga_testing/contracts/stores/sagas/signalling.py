"""What sagas wait for, and what cancels them."""

from __future__ import annotations

import asyncio

import pytest

from catga_core.interfaces import SagaPause, SagaSignal, SagaState, SagaStore, SagaWait
from catga_testing.contracts.stores.place import StoreTime
from catga_testing.contracts.stores.records import EVERY_BYTE, ODD_PAIRS
from catga_testing.contracts.stores.sagas.base import (
    AMPLE,
    TOPIC,
    SagaContractBase,
    TwoSagaStores,
    begun,
    ids,
    paused,
    signal,
    taken,
)


class SagaSignalContract(SagaContractBase):
    """A signal is kept once, in order, and wakes every saga that waits for it."""

    async def test_signals_come_in_order_of_positions(self, saga_stores: TwoSagaStores) -> None:
        """A page at a time, after a position, of one topic only."""
        one, other = saga_stores
        data = SagaSignal(TOPIC, "m-0", EVERY_BYTE)
        assert await one.signal(data)
        for number in range(1, 6):
            assert await saga_stores[number % 2].signal(signal(f"m-{number}"))
            assert await one.signal(signal(f"m-{number}", "other"))

        found = list(await other.signals(TOPIC, limit=10))

        assert [each.message_id for each in found] == [f"m-{number}" for number in range(6)]
        assert (found[0].topic, found[0].data) == (TOPIC, EVERY_BYTE)
        places = [each.position for each in found]
        assert places == sorted(set(places))
        assert places[0] >= 1
        assert list(await other.signals(TOPIC)) == found[:1]
        assert list(await other.signals(TOPIC, after=places[1], limit=2)) == found[2:4]
        assert list(await other.signals(TOPIC, after=places[-1], limit=2)) == []
        beside = [each.position for each in await one.signals("other", limit=10)]
        assert not set(places) & set(beside)

    async def test_known_signal_is_not_added_again(self, saga_stores: TwoSagaStores) -> None:
        """Of one topic; another topic may have the same message."""
        answers = await asyncio.gather(
            *(saga_stores[number % 2].signal(signal("m-1")) for number in range(10))
        )
        other = await saga_stores[1].signal(signal("m-1", "other"))

        assert sorted(answers) == [False] * 9 + [True]
        assert other is True
        assert len(await saga_stores[0].signals(TOPIC, limit=10)) == 1

    async def test_signals_with_similar_names_are_kept_apart(self, sagas: SagaStore) -> None:
        """Neither topic nor message id is mixed up with the other."""
        for topic, message in ODD_PAIRS:
            assert await sagas.signal(SagaSignal(topic, message, b""))
        for topic, message in ODD_PAIRS:
            assert await sagas.signal(SagaSignal(topic, message, b"")) is False
            assert message in [each.message_id for each in await sagas.signals(topic, limit=100)]

    async def test_signal_makes_every_waiting_saga_due(
        self, saga_stores: TwoSagaStores, time: StoreTime
    ) -> None:
        """In the order of their begin, those with a later time too; and no other saga."""
        one, other = saga_stores
        far = time.clock.time() + AMPLE
        await paused(one, "b", topics=["x", TOPIC])
        await paused(one, "a", far, topics=[TOPIC])
        await paused(one, "other", far, topics=["x"])
        await begun(one, "running")
        assert await taken(other) == []

        await other.signal(signal("m-1"))

        found = await taken(one)
        assert sorted(ids(found)) == ["a", "b"]
        if time.moves:
            assert ids(found) == ["b", "a"]

    async def test_due_saga_keeps_its_turn(self, sagas: SagaStore) -> None:
        """A signal or a cancellation does not put it behind others."""
        for name in ("a", "b"):
            await paused(sagas, name, 1.0, topics=[TOPIC])
        await paused(sagas, "c", 2.0)
        await sagas.signal(signal("m-1"))
        await sagas.cancel("a")

        assert ids(await taken(sagas)) == ["a", "b", "c"]

    async def test_known_signal_wakes_no_saga(self, sagas: SagaStore) -> None:
        """It was added before the saga waited for later ones."""
        await sagas.signal(signal("m-1"))
        [had] = await sagas.signals(TOPIC)
        claim = await begun(sagas, "o-1")
        await sagas.release(claim, [], after=0, pause=_after(had.position))

        assert await sagas.signal(signal("m-1")) is False
        assert await taken(sagas) == []


class SagaCancelContract(SagaContractBase):
    """A request reaches the saga, whatever it does."""

    async def test_cancellation_of_unleased_saga_makes_it_due(
        self, saga_stores: TwoSagaStores, time: StoreTime
    ) -> None:
        """It sleeps or waits for an event."""
        one, other = saga_stores
        await paused(one, "sleeping", time.clock.time() + AMPLE)
        await paused(one, "waiting", topics=[TOPIC])
        for name in ("sleeping", "waiting"):
            found = await other.cancel(name)
            assert found is not None
            assert found.cancelling
            assert found.state is SagaState.WAITING
            assert found.due_at is not None
            assert found == await one.get(name)
            assert await one.cancel(name) == found

        assert sorted(ids(await taken(one))) == ["sleeping", "waiting"]

    async def test_cancellation_of_running_saga_keeps_its_lease(
        self, saga_stores: TwoSagaStores, time: StoreTime
    ) -> None:
        """The owner learns of it by its next renewal, one who takes it over at once."""
        one, other = saga_stores
        claim = await begun(one, "o-1", lease=time.lease)
        before = await one.get("o-1")
        found = await other.cancel("o-1")

        assert before is not None
        assert found is not None
        assert (found.due_at, found.leased, found.cancelling) == (before.due_at, True, True)
        assert found.updated_at == before.updated_at
        await one.append(claim, [b"1"], after=0)
        assert (await one.renew([claim], lease=time.lease)).cancelling == {"o-1"}
        await time.passes(1.1)
        [due] = await taken(other)
        assert due.record.cancelling

    async def test_cancellation_of_compensating_saga_is_noted(self, sagas: SagaStore) -> None:
        """What it means there is the executor's to know."""
        claim = await begun(sagas, "o-1")
        await sagas.append(claim, [], after=0, state=SagaState.COMPENSATING)

        found = await sagas.cancel("o-1")

        assert found is not None
        assert (found.state, found.cancelling) == (SagaState.COMPENSATING, True)

    @pytest.mark.parametrize("requested", [False, True])
    async def test_ended_saga_shows_whether_it_was_cancelled(self, sagas: SagaStore, requested: bool) -> None:
        """A request after the end changes nothing."""
        claim = await begun(sagas, "o-1")
        if requested:
            await sagas.cancel("o-1")
        await sagas.release(claim, [], after=0, pause=SagaPause(SagaState.CANCELLED))
        found = await sagas.cancel("o-1")

        assert found is not None
        assert found.cancelling is requested
        assert found.due_at is None


def _after(position: int) -> SagaPause:
    return SagaPause(SagaState.WAITING, waits=(SagaWait(TOPIC, position),))
