"""What is remembered, whose result it is, and for how long."""

from __future__ import annotations

import asyncio

import pytest

from catga_core import LeaseLostError
from catga_core.interfaces import Completed, IdempotencyStore, InProgress, Stores
from catga_testing.contracts.kept import needs
from catga_testing.contracts.stores.idempotency.base import TTL, IdempotencyContractBase, claimed, completed
from catga_testing.contracts.stores.place import Place, StoreTime
from catga_testing.contracts.stores.records import ODD_DATA


class CompletingContract(IdempotencyContractBase):
    """A result is recorded once, by whoever has the key."""

    @pytest.mark.parametrize("result", ODD_DATA, ids=lambda data: f"{len(data)} bytes {data[:3].hex()}")
    async def test_everybody_gets_the_result_afterwards(
        self, idempotencies: tuple[IdempotencyStore, IdempotencyStore], time: StoreTime, result: bytes
    ) -> None:
        """Whatever bytes it is, none included."""
        one, other = idempotencies
        await one.complete(await claimed(one, "charge-1", time.ample), result, ttl=TTL)

        outcomes = [await each.claim("charge-1", lease=1.0) for each in (one, other)]

        assert outcomes == [Completed("charge-1", result)] * 2

    async def test_a_result_outlives_the_lease_it_was_made_under(
        self, idempotency: IdempotencyStore, time: StoreTime
    ) -> None:
        """It has its own time."""
        await idempotency.complete(await claimed(idempotency, "charge-1", time.lease), b"charged", ttl=TTL)

        await time.passes(2.0)

        assert (await completed(idempotency, "charge-1")).result == b"charged"

    async def test_a_result_is_remembered_for_its_time_and_no_longer(
        self, idempotency: IdempotencyStore, time: StoreTime
    ) -> None:
        """Then the key is free."""
        claim = await claimed(idempotency, "charge-1", time.ample)
        await idempotency.complete(claim, b"charged", ttl=time.lease)

        await time.passes(0.5)
        assert (await completed(idempotency, "charge-1")).result == b"charged"
        await time.passes(0.6)

        assert (await claimed(idempotency, "charge-1", time.ample)).fencing_token > claim.fencing_token

    async def test_a_completion_after_the_lease_was_taken_over_is_refused(
        self, idempotencies: tuple[IdempotencyStore, IdempotencyStore], time: StoreTime
    ) -> None:
        """Nothing was recorded, and the new owner completes."""
        one, other = idempotencies
        former = await claimed(one, "charge-1", time.lease)
        await time.passes(1.1)
        taken = await claimed(other, "charge-1", time.ample)

        with pytest.raises(LeaseLostError, match="claim") as lost:
            await one.complete(former, b"late", ttl=TTL)
        assert "charge-1" not in f"{lost.value} {lost.value.details}"

        assert await one.claim("charge-1", lease=1.0) == InProgress("charge-1", taken.expires_at)
        await other.complete(taken, b"charged", ttl=TTL)
        assert (await completed(one, "charge-1")).result == b"charged"

    @pytest.mark.parametrize("end", ["completed", "released", "run out"])
    async def test_a_completion_is_refused_however_the_next_claim_has_ended(
        self, idempotencies: tuple[IdempotencyStore, IdempotencyStore], time: StoreTime, end: str
    ) -> None:
        """Another has claimed it since, and that is what counts."""
        one, other = idempotencies
        former = await claimed(one, "charge-1", time.lease)
        await time.passes(1.1)
        taken = await claimed(other, "charge-1", time.lease)
        if end == "completed":
            await other.complete(taken, b"charged", ttl=TTL)
        elif end == "released":
            await other.release(taken)
        else:
            await time.passes(1.1)

        with pytest.raises(LeaseLostError):
            await one.complete(former, b"late", ttl=TTL)

        if end == "completed":
            assert (await completed(one, "charge-1")).result == b"charged"
        else:
            await claimed(one, "charge-1", time.ample)

    async def test_a_completion_after_a_lease_that_nobody_took_over_is_accepted(
        self, idempotency: IdempotencyStore, time: StoreTime
    ) -> None:
        """The work was done, and nobody else has begun it."""
        claim = await claimed(idempotency, "charge-1", time.lease)
        await time.passes(1.5)

        await idempotency.complete(claim, b"charged", ttl=TTL)

        assert (await completed(idempotency, "charge-1")).result == b"charged"

    async def test_a_claim_is_completed_as_it_was_given_or_as_it_was_renewed(
        self, idempotency: IdempotencyStore, time: StoreTime
    ) -> None:
        """Who renews in the background need not tell who works."""
        for key, latest in (("charge-1", False), ("charge-2", True)):
            claim = await claimed(idempotency, key, time.lease)
            renewed = await idempotency.renew(claim, lease=time.ample)

            await idempotency.complete(renewed if latest else claim, b"charged", ttl=TTL)

            assert (await completed(idempotency, key)).result == b"charged"

    async def test_releasing_after_the_completion_leaves_the_result(
        self, idempotency: IdempotencyStore, time: StoreTime
    ) -> None:
        """Whoever cleans up in any case does no harm."""
        claim = await claimed(idempotency, "charge-1", time.ample)
        await idempotency.complete(claim, b"charged", ttl=TTL)

        await idempotency.release(claim)

        assert (await completed(idempotency, "charge-1")).result == b"charged"

    async def test_of_a_former_owner_and_its_successor_one_completes(
        self, idempotencies: tuple[IdempotencyStore, IdempotencyStore], time: StoreTime
    ) -> None:
        """Also at the same moment."""
        one, other = idempotencies
        for number in range(5):
            key = f"charge-{number}"
            former = await claimed(one, key, time.lease)
            await time.passes(1.1)
            taken = await claimed(other, key, time.ample)

            late, right = await asyncio.gather(
                one.complete(former, b"late", ttl=TTL),
                other.complete(taken, b"charged", ttl=TTL),
                return_exceptions=True,
            )

            assert (type(late), right) == (LeaseLostError, None)
            assert (await completed(one, key)).result == b"charged"

    async def test_pruning_removes_expired_results_and_nothing_else(
        self, idempotency: IdempotencyStore, time: StoreTime
    ) -> None:
        """At most as many as asked for; where the storage does it itself, none."""
        for number in range(5):
            claim = await claimed(idempotency, f"old-{number}", time.ample)
            await idempotency.complete(claim, b"old", ttl=time.lease)
        running = await claimed(idempotency, "running", time.ample)
        await idempotency.complete(await claimed(idempotency, "new", time.ample), b"new", ttl=TTL)
        assert await idempotency.prune() == 0
        await time.passes(1.1)

        removed = [await idempotency.prune(limit=2), await idempotency.prune(), await idempotency.prune()]

        assert removed in ([2, 3, 0], [0, 0, 0])
        assert (await completed(idempotency, "new")).result == b"new"
        assert await idempotency.claim("running", lease=1.0) == InProgress("running", running.expires_at)
        await idempotency.complete(running, b"done", ttl=TTL)

    @needs(durable=True)
    async def test_claims_and_results_are_there_after_a_restart(
        self, place: Place, stores: Stores, time: StoreTime
    ) -> None:
        """With their numbers."""
        store = stores[IdempotencyStore]
        await store.complete(await claimed(store, "charge-1", time.ample), b"charged", ttl=TTL)
        running = await claimed(store, "charge-2", time.ample)
        released = await claimed(store, "charge-3", time.ample)
        await store.release(released)

        store = (await place.reopen(stores))[IdempotencyStore]

        assert (await completed(store, "charge-1")).result == b"charged"
        assert await store.claim("charge-2", lease=1.0) == InProgress("charge-2", running.expires_at)
        assert (await claimed(store, "charge-3", time.ample)).fencing_token > released.fencing_token
        await store.complete(running, b"done", ttl=TTL)
