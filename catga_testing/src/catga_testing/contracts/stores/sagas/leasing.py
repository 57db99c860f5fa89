"""Who runs a saga, and for how long."""

from __future__ import annotations

import asyncio

import pytest

from catga_core.errors import LeaseLostError
from catga_core.interfaces import SagaClaim, SagaKind, SagaPause, SagaState, SagaStore, SagaWait
from catga_testing.contracts.stores.place import StoreTime
from catga_testing.contracts.stores.sagas.base import (
    AMPLE,
    DONE,
    KIND,
    NAME,
    TOPIC,
    SagaContractBase,
    TwoSagaStores,
    begun,
    ended,
    ids,
    paused,
    signal,
    taken,
)


class SagaLeasingContract(SagaContractBase):
    """One process runs a saga at a time."""

    async def test_sagas_are_taken_in_order_of_their_times(
        self, saga_stores: TwoSagaStores, time: StoreTime
    ) -> None:
        """As many as asked for, whatever made them due."""
        one, other = saga_stores
        now = time.clock.time()
        for name, ago in (("third", 1.0), ("first", 3.0), ("fourth", 0.5), ("second", 2.0)):
            await paused(one, name, now - ago)
        await paused(one, "later", now + AMPLE)

        assert ids(await taken(other, limit=1)) == ["first"]
        assert ids(await taken(one, limit=2)) == ["second", "third"]
        assert ids(await taken(other)) == ["fourth"]
        assert await taken(one) == []

    async def test_sagas_of_one_time_are_taken_in_order_of_begin(
        self, sagas: SagaStore, time: StoreTime
    ) -> None:
        """Whatever their names."""
        names = [f"o-{number * 7 % 10}" for number in range(10)]
        for name in names:
            await paused(sagas, name, time.clock.time() - 5.0 if time.moves else 1000.0)

        assert ids(await taken(sagas, limit=4)) == names[:4]
        assert ids(await taken(sagas)) == names[4:]

    async def test_only_given_kinds_are_taken(self, sagas: SagaStore) -> None:
        """By name and version, in one order."""
        given = (("a", "One", 1), ("b", "One", 2), ("c", "Two", 1), ("d", "One", 1), ("e", "Two", 2))
        for number, (transaction_id, name, version) in enumerate(given):
            await paused(sagas, transaction_id, float(number), name=name, version=version)

        assert await taken(sagas, SagaKind("One", 3), SagaKind("Three", 1)) == []
        assert ids(await taken(sagas, SagaKind("Two", 1), SagaKind("One", 1))) == ["a", "c", "d"]
        assert ids(await taken(sagas, SagaKind("One", 2), SagaKind("Two", 2))) == ["b", "e"]

    async def test_taken_saga_comes_with_its_journal(
        self, saga_stores: TwoSagaStores, time: StoreTime
    ) -> None:
        """And with a claim that may write."""
        one, other = saga_stores
        claim = await begun(one, "o-1")
        pause = SagaPause(SagaState.COMPENSATING, due_at=time.clock.time(), outcome=b"half")
        await one.release(claim, [b"1", b"2"], after=0, pause=pause)

        [claimed] = await taken(other)

        assert claimed.record == await one.get("o-1")
        assert (claimed.record.state, claimed.record.outcome) == (SagaState.COMPENSATING, b"half")
        assert claimed.record.leased
        assert claimed.record.due_at == pytest.approx(time.clock.time() + AMPLE, abs=time.about(AMPLE))
        assert list(claimed.entries) == [b"1", b"2"]
        assert not claimed.taken_over
        assert claimed.claim.fencing_token > claim.fencing_token
        await other.append(claimed.claim, [b"3"], after=2)

    async def test_expired_lease_is_taken_over(self, saga_stores: TwoSagaStores, time: StoreTime) -> None:
        """At its time and not before, with every entry that was written."""
        one, other = saga_stores
        claim = await begun(one, "o-1", lease=time.lease)
        await time.passes(0.5)
        early = await taken(other)
        await one.append(claim, [b"1"], after=0)
        await time.passes(0.5)

        [claimed] = await taken(other)

        assert early == []
        assert list(claimed.entries) == [b"1"]
        assert claimed.taken_over
        assert claimed.claim.fencing_token > claim.fencing_token
        assert await taken(one) == []

    async def test_concurrent_takes_share_sagas(self, saga_stores: TwoSagaStores) -> None:
        """No saga is given twice, and none is left."""
        for number in range(40):
            await paused(saga_stores[number % 2], f"o-{number}", 1.0)

        found = await asyncio.gather(*(taken(saga_stores[number % 2], limit=5) for number in range(12)))

        names = [name for each in found for name in ids(each)]
        assert sorted(names) == sorted(f"o-{number}" for number in range(40))
        tokens = [each.claim for some in found for each in some]
        for claim in tokens:
            await saga_stores[0].append(claim, [b"1"], after=0)

    async def test_renewed_lease_counts_from_now(self, saga_stores: TwoSagaStores, time: StoreTime) -> None:
        """As often as it is renewed."""
        one, other = saga_stores
        claims = [await begun(one, name, lease=time.lease) for name in ("o-1", "o-2")]
        await time.passes(0.6)
        renewal = await one.renew(claims, lease=time.lease)
        found = await other.get("o-1")
        await time.passes(0.6)

        assert (renewal.lost, renewal.cancelling) == (frozenset(), frozenset())
        assert found is not None
        assert found.due_at is not None
        assert found.due_at > found.created_at + 1.5 * time.lease
        assert found.updated_at == found.created_at
        assert await taken(other) == []
        await time.passes(0.5)
        assert ids(await taken(other)) == ["o-1", "o-2"]

    async def test_renewal_names_lost_and_cancelled_sagas(
        self, saga_stores: TwoSagaStores, time: StoreTime
    ) -> None:
        """The others are renewed, also one that has run out without a successor."""
        one, other = saga_stores
        lost = await begun(one, "lost", lease=time.lease, version=2)
        late = await begun(one, "late", lease=time.lease)
        await time.passes(1.1)
        await taken(other, SagaKind(NAME, 2))
        kept = await begun(one, "kept", lease=time.lease)
        asked = await begun(one, "asked", lease=time.lease)
        released = await begun(one, "released")
        await one.release(released, [], after=0, pause=DONE)
        await other.cancel("asked")
        await other.cancel("lost")
        unknown = SagaClaim("unknown", kept.fencing_token)

        renewal = await one.renew([lost, late, kept, asked, released, unknown], lease=AMPLE)
        await time.passes(1.1)

        assert renewal.lost == {"lost", "released", "unknown"}
        assert renewal.cancelling == {"asked"}
        assert await taken(other) == []

    async def test_claim_takes_any_saga(self, saga_stores: TwoSagaStores, time: StoreTime) -> None:
        """Due or not, final, parked or cancelled; but none that another process runs."""
        one, other = saga_stores
        await paused(one, "sleeping", time.clock.time() + AMPLE)
        await paused(one, "waiting", topics=[TOPIC])
        await paused(one, "due", 1.0)
        await ended(one, "final")
        await ended(one, "parked", SagaPause(SagaState.RUNNING, problem=b"changed"))
        running = await begun(one, "running", lease=time.lease)
        names = ("sleeping", "waiting", "due", "final", "parked")

        claimed = [await other.claim(name, lease=AMPLE) for name in names]
        refused = [await one.claim(name, lease=AMPLE) for name in (*names, "running")]
        await time.passes(1.0)
        taken_over = await other.claim("running", lease=AMPLE)

        for name, each in zip(names, claimed, strict=True):
            assert each is not None
            assert each.record == await one.get(name)
            assert each.record.leased
            assert not each.taken_over
            await other.append(each.claim, [b"1"], after=0)
        assert refused == [None] * 6
        assert taken_over is not None
        assert taken_over.taken_over
        assert taken_over.claim.fencing_token > running.fencing_token
        with pytest.raises(LeaseLostError):
            await one.append(running, [b"1"], after=0)

    async def test_claimed_final_saga_can_go_on(self, sagas: SagaStore, time: StoreTime) -> None:
        """An operator resumes it; the outcome is forgotten by the release, not by the claim."""
        pause = SagaPause(SagaState.COMPENSATION_FAILED, outcome=b"failed")
        await ended(sagas, "o-1", pause)
        claimed = await sagas.claim("o-1", lease=AMPLE)
        assert claimed is not None
        assert claimed.record.outcome == b"failed"
        await sagas.append(claimed.claim, [b"1"], after=0, state=SagaState.COMPENSATING)
        await sagas.release(
            claimed.claim, [], after=1, pause=SagaPause(SagaState.COMPENSATING, due_at=time.clock.time())
        )

        [due] = await taken(sagas)
        assert (due.record.state, due.record.outcome) == (SagaState.COMPENSATING, None)
        await sagas.release(due.claim, [], after=1, pause=SagaPause(SagaState.COMPENSATED))
        assert await taken(sagas) == []

    async def test_claimed_saga_waits_for_nothing(self, saga_stores: TwoSagaStores) -> None:
        """A signal for its former topics does not make it due after its next release."""
        one, other = saga_stores
        await paused(one, "taken", 1.0, topics=[TOPIC])
        await paused(one, "claimed", topics=[TOPIC])
        [first] = await taken(other)
        second = await other.claim("claimed", lease=AMPLE)
        assert second is not None
        due_at = first.record.due_at
        await one.signal(signal("m-1"))
        leased = await one.get("taken")
        for each in (first, second):
            pause = SagaPause(SagaState.WAITING, waits=(_other(),))
            await other.release(each.claim, [], after=0, pause=pause)
        await one.signal(signal("m-2"))

        assert leased is not None
        assert leased.due_at == due_at
        assert await taken(one, KIND) == []
        await one.signal(signal("m-3", "other"))
        assert sorted(ids(await taken(one))) == ["claimed", "taken"]


def _other() -> SagaWait:
    return SagaWait("other")
