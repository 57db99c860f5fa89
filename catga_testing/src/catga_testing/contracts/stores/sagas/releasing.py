"""How a process leaves a saga, and when a process has to run it again."""

from __future__ import annotations

import pytest

from catga_core.errors import LeaseLostError
from catga_core.interfaces import SagaPause, SagaRecord, SagaState, SagaStore, SagaWait
from catga_testing.contracts.stores.place import StoreTime
from catga_testing.contracts.stores.sagas.base import (
    AMPLE,
    DONE,
    TOPIC,
    SagaContractBase,
    TwoSagaStores,
    begun,
    ids,
    signal,
    taken,
)

FINAL = [state for state in SagaState if state.is_final]
NOT_FINAL = [state for state in SagaState if not state.is_final]


class SagaReleasingContract(SagaContractBase):
    """Entries and the next state are one write."""

    @pytest.mark.parametrize("state", FINAL)
    async def test_final_saga_is_never_due(
        self, saga_stores: TwoSagaStores, time: StoreTime, state: SagaState
    ) -> None:
        """It keeps its outcome; a time, a signal and a cancellation do not matter."""
        one, other = saga_stores
        claim = await begun(one, "o-1")
        await one.signal(signal("m-1"))
        pause = SagaPause(state, due_at=time.clock.time(), waits=(SagaWait(TOPIC),), outcome=b"\x00out")
        await one.release(claim, [b"1"], after=0, pause=pause)
        await one.signal(signal("m-2"))

        found = await other.get("o-1")
        assert found is not None
        assert (found.state, found.entries, found.outcome) == (state, 1, b"\x00out")
        assert (found.due_at, found.leased, found.problem) == (None, False, None)
        assert await other.cancel("o-1") == found
        assert await taken(other) == []

    @pytest.mark.parametrize("state", NOT_FINAL)
    async def test_paused_saga_is_due_at_its_time(
        self, saga_stores: TwoSagaStores, time: StoreTime, state: SagaState
    ) -> None:
        """Exactly then, and not before."""
        one, other = saga_stores
        claim = await begun(one, "o-1")
        due_at = time.clock.time() + time.lease
        await one.release(claim, [b"1"], after=0, pause=SagaPause(state, due_at=due_at))
        found = await other.get("o-1")
        await time.passes(0.5)

        early = await taken(other)
        await time.passes(0.5)
        [due] = await taken(other)

        assert found is not None
        assert (found.state, found.leased) == (state, False)
        assert found.due_at == pytest.approx(due_at, abs=1e-3)
        assert early == []
        assert list(due.entries) == [b"1"]
        assert (due.record.state, due.record.leased) == (state, True)

    async def test_saga_without_a_time_is_not_due(self, sagas: SagaStore, time: StoreTime) -> None:
        """Neither by itself nor by signals of other topics."""
        claim = await begun(sagas, "o-1")
        await sagas.release(claim, [], after=0, pause=SagaPause(SagaState.WAITING, waits=(SagaWait(TOPIC),)))
        await sagas.signal(signal("m-1", "other"))
        await time.passes(2)

        assert await taken(sagas) == []

    async def test_earlier_signal_makes_saga_due(self, sagas: SagaStore, time: StoreTime) -> None:
        """One after the position that the saga has had, of any of its topics."""
        for topic, message in ((TOPIC, "m-1"), ("other", "m-2")):
            await sagas.signal(signal(message, topic))
        [had] = await sagas.signals(TOPIC)
        far = time.clock.time() + AMPLE
        for name, waits in (
            ("had", (SagaWait(TOPIC, had.position),)),
            ("new", (SagaWait(TOPIC, had.position - 1),)),
            ("both", (SagaWait("none"), SagaWait(TOPIC, had.position), SagaWait("other"))),
        ):
            claim = await begun(sagas, name)
            pause = SagaPause(SagaState.WAITING, due_at=far, waits=waits)
            await sagas.release(claim, [], after=0, pause=pause)

        assert ids(await taken(sagas)) == ["new", "both"]

    @pytest.mark.parametrize("state", NOT_FINAL)
    async def test_requested_cancellation_makes_saga_due(
        self, saga_stores: TwoSagaStores, time: StoreTime, state: SagaState
    ) -> None:
        """It was requested while the saga ran."""
        one, other = saga_stores
        claim = await begun(one, "o-1")
        asked = await other.cancel("o-1")
        pause = SagaPause(state, due_at=time.clock.time() + AMPLE)
        await one.release(claim, [], after=0, pause=pause)

        assert asked is not None
        assert (asked.cancelling, asked.leased, asked.state) == (True, True, SagaState.RUNNING)
        [due] = await taken(other)
        assert due.record.cancelling

    async def test_parked_saga_is_not_due(self, saga_stores: TwoSagaStores, time: StoreTime) -> None:
        """A time, a signal or a cancellation, before or after, does not matter; its problem is kept."""
        one, other = saga_stores
        claim = await begun(one, "o-1")
        await other.cancel("o-1")
        await one.signal(signal("m-1"))
        pause = SagaPause(
            SagaState.RUNNING, due_at=time.clock.time(), waits=(SagaWait(TOPIC),), problem=b"changed\x00"
        )
        await one.release(claim, [b"1"], after=0, pause=pause)
        await other.signal(signal("m-2"))
        await other.cancel("o-1")

        assert await taken(other) == []
        found = await other.get("o-1")
        assert found is not None
        assert (found.problem, found.due_at, found.leased) == (b"changed\x00", None, False)
        assert (found.state, found.cancelling) == (SagaState.RUNNING, True)

    async def test_parked_saga_goes_on_after_claim_and_release(
        self, sagas: SagaStore, time: StoreTime
    ) -> None:
        """The problem is forgotten, and the requested cancellation is not."""
        claim = await begun(sagas, "o-1")
        await sagas.release(claim, [], after=0, pause=SagaPause(SagaState.RUNNING, problem=b"changed"))
        await sagas.cancel("o-1")
        claimed = await sagas.claim("o-1", lease=AMPLE)
        assert claimed is not None
        assert claimed.record.problem == b"changed"
        pause = SagaPause(SagaState.RUNNING, due_at=time.clock.time() + AMPLE)
        await sagas.release(claimed.claim, [], after=0, pause=pause)

        [due] = await taken(sagas)
        assert (due.record.problem, due.record.cancelling) == (None, True)

    async def test_repeated_release_changes_nothing(
        self, saga_stores: TwoSagaStores, time: StoreTime
    ) -> None:
        """Its outcome was unknown; a signal and a cancellation since are not lost."""
        one, other = saga_stores
        pause = SagaPause(SagaState.WAITING, due_at=time.clock.time() + AMPLE, waits=(SagaWait(TOPIC),))
        signalled, cancelled = [await begun(one, name) for name in ("signalled", "cancelled")]
        for claim in (signalled, cancelled):
            await one.release(claim, [b"1", b"2"], after=0, pause=pause)
        before = [await one.read(name) for name in ("signalled", "cancelled")]
        for claim in (signalled, cancelled):
            await other.release(claim, [b"1", b"2"], after=0, pause=pause)
        assert [await one.read(name) for name in ("signalled", "cancelled")] == before
        await one.signal(signal("m-1"))
        await one.cancel("cancelled")
        for claim in (signalled, cancelled):
            await one.release(claim, [b"1", b"2"], after=0, pause=pause)

        assert sorted(ids(await taken(other))) == ["cancelled", "signalled"]

    async def test_different_second_release_is_refused(self, sagas: SagaStore) -> None:
        """The claim was given back by the first one."""
        claim = await begun(sagas, "o-1")
        await sagas.release(claim, [b"1"], after=0, pause=SagaPause(SagaState.WAITING))
        before = await sagas.read("o-1")

        for entries, pause in (([b"1"], DONE), ([b"1", b"2"], SagaPause(SagaState.WAITING))):
            with pytest.raises(LeaseLostError):
                await sagas.release(claim, entries, after=0, pause=pause)

        assert await sagas.read("o-1") == before

    async def test_release_changes_its_time(self, sagas: SagaStore, time: StoreTime) -> None:
        """Cancelling and claiming do not."""
        claim = await begun(sagas, "o-1")
        await time.passes(0.1)
        await sagas.release(claim, [], after=0, pause=SagaPause(SagaState.WAITING))
        released = await _get(sagas)
        await time.passes(0.1)
        await sagas.cancel("o-1")
        await taken(sagas)
        claimed = await _get(sagas)

        assert released.updated_at >= released.created_at + 0.09 * time.lease
        assert claimed.updated_at == released.updated_at


async def _get(sagas: SagaStore) -> SagaRecord:
    found = await sagas.get("o-1")
    assert found is not None
    return found
