"""Who gets a key, and for how long."""

from __future__ import annotations

import asyncio

import pytest

from catga_core import LeaseLostError
from catga_core.interfaces import Claimed, IdempotencyStore, InProgress
from catga_testing.contracts.stores.idempotency.base import TTL, IdempotencyContractBase, claimed
from catga_testing.contracts.stores.place import StoreTime
from catga_testing.contracts.stores.records import ODD_NAMES


class ClaimingContract(IdempotencyContractBase):
    """One has it while its lease runs; its number rises with every claim."""

    async def test_a_free_key_is_the_callers_for_the_length_of_its_lease(
        self, idempotency: IdempotencyStore, time: StoreTime
    ) -> None:
        """Counted from now, by the clock."""
        claim = await claimed(idempotency, "charge-1", time.ample)

        assert claim.key == "charge-1"
        assert claim.fencing_token >= 1
        assert claim.expires_at == pytest.approx(
            time.clock.time() + time.ample, abs=time.about(time.ample), rel=0
        )

    async def test_a_key_that_is_claimed_is_in_progress_for_all_others(
        self, idempotencies: tuple[IdempotencyStore, IdempotencyStore], time: StoreTime
    ) -> None:
        """They are told until when."""
        claim = await claimed(idempotencies[0], "charge-1", time.ample)

        outcomes = [await each.claim("charge-1", lease=1.0) for each in idempotencies]

        assert outcomes == [InProgress("charge-1", claim.expires_at)] * 2

    async def test_of_many_at_once_exactly_one_gets_a_key(
        self, idempotencies: tuple[IdempotencyStore, IdempotencyStore], time: StoreTime
    ) -> None:
        """A key that was never claimed."""
        outcomes = await asyncio.gather(
            *(idempotencies[number % 2].claim("charge-1", lease=time.ample) for number in range(20))
        )

        assert sorted(type(each).__name__ for each in outcomes) == ["Claimed"] + ["InProgress"] * 19

    async def test_of_many_at_once_exactly_one_takes_a_key_over(
        self, idempotencies: tuple[IdempotencyStore, IdempotencyStore], time: StoreTime
    ) -> None:
        """A key whose lease has run out."""
        former = await claimed(idempotencies[0], "charge-1", time.lease)
        await time.passes(1.1)

        outcomes = await asyncio.gather(
            *(idempotencies[number % 2].claim("charge-1", lease=time.ample) for number in range(20))
        )

        [winner] = [each for each in outcomes if isinstance(each, Claimed)]
        assert winner.fencing_token > former.fencing_token

    async def test_a_claim_runs_until_its_end(self, idempotency: IdempotencyStore, time: StoreTime) -> None:
        """Not a moment less, and hardly one more."""
        await claimed(idempotency, "charge-1", time.lease)

        await time.passes(0.5)
        running = await idempotency.claim("charge-1", lease=time.lease)
        await time.passes(0.6)
        over = await idempotency.claim("charge-1", lease=time.lease)

        assert isinstance(running, InProgress)
        assert isinstance(over, Claimed)

    async def test_numbers_rise_with_every_claim_of_a_key(
        self, idempotencies: tuple[IdempotencyStore, IdempotencyStore], time: StoreTime
    ) -> None:
        """After a release, after a lease that ran out, after a result that expired and was removed."""
        one, other = idempotencies
        first = await claimed(one, "charge-1", time.ample)
        await one.release(first)
        second = await claimed(other, "charge-1", time.lease)
        await time.passes(1.1)
        third = await claimed(one, "charge-1", time.ample)
        await one.complete(third, b"charged", ttl=time.lease)
        await time.passes(1.1)
        await one.prune()
        fourth = await claimed(other, "charge-1", time.ample)

        numbers = [each.fencing_token for each in (first, second, third, fourth)]
        assert numbers == sorted(set(numbers))

    async def test_a_renewed_claim_is_counted_from_now(
        self, idempotency: IdempotencyStore, time: StoreTime
    ) -> None:
        """The others wait for its new end."""
        claim = await claimed(idempotency, "charge-1", time.lease)
        await time.passes(0.6)

        renewed = await idempotency.renew(claim, lease=time.lease)
        await time.passes(0.6)

        assert renewed.key == "charge-1"
        assert renewed.expires_at > claim.expires_at
        assert await idempotency.claim("charge-1", lease=1.0) == InProgress("charge-1", renewed.expires_at)
        await time.passes(0.6)
        await claimed(idempotency, "charge-1", time.lease)

    async def test_a_claim_that_was_taken_over_is_not_renewed(
        self, idempotencies: tuple[IdempotencyStore, IdempotencyStore], time: StoreTime
    ) -> None:
        """The new owner is left alone."""
        one, other = idempotencies
        former = await claimed(one, "charge-1", time.lease)
        await time.passes(1.1)
        taken = await claimed(other, "charge-1", time.ample)

        with pytest.raises(LeaseLostError) as lost:
            await one.renew(former, lease=time.ample)
        # Fields of the command may be part of a key, and errors are logged and returned.
        assert "charge-1" not in f"{lost.value} {lost.value.details}"

        assert await one.claim("charge-1", lease=1.0) == InProgress("charge-1", taken.expires_at)

    @pytest.mark.parametrize("end", ["released", "completed"])
    async def test_a_claim_that_has_ended_is_not_renewed(
        self, idempotency: IdempotencyStore, time: StoreTime, end: str
    ) -> None:
        """It is no longer the caller's."""
        claim = await claimed(idempotency, "charge-1", time.ample)
        if end == "released":
            await idempotency.release(claim)
        else:
            await idempotency.complete(claim, b"charged", ttl=TTL)

        with pytest.raises(LeaseLostError) as lost:
            await idempotency.renew(claim, lease=time.ample)
        # Fields of the command may be part of a key, and errors are logged and returned.
        assert "charge-1" not in f"{lost.value} {lost.value.details}"

    async def test_a_released_key_is_the_next_ones(
        self, idempotencies: tuple[IdempotencyStore, IdempotencyStore], time: StoreTime
    ) -> None:
        """At once and without a result."""
        one, other = idempotencies
        await one.release(await claimed(one, "charge-1", time.ample))

        await claimed(other, "charge-1", time.ample)

    async def test_releasing_a_claim_that_was_lost_leaves_the_new_owner_alone(
        self, idempotencies: tuple[IdempotencyStore, IdempotencyStore], time: StoreTime
    ) -> None:
        """It still has the key."""
        one, other = idempotencies
        former = await claimed(one, "charge-1", time.lease)
        await time.passes(1.1)
        taken = await claimed(other, "charge-1", time.ample)

        await one.release(former)

        assert await one.claim("charge-1", lease=1.0) == InProgress("charge-1", taken.expires_at)
        await other.complete(taken, b"charged", ttl=TTL)

    async def test_a_cancelled_claim_leaves_the_key_to_be_had(
        self, idempotency: IdempotencyStore, time: StoreTime
    ) -> None:
        """At the latest when its lease has run out."""
        for number in range(10):
            claiming = asyncio.create_task(idempotency.claim(f"charge-{number}", lease=time.lease))
            for _ in range(number):
                await asyncio.sleep(0)
            claiming.cancel()
            await asyncio.wait({claiming})
        await time.passes(1.1)

        for number in range(10):
            await claimed(idempotency, f"charge-{number}", time.ample)

    async def test_keys_with_similar_names_are_kept_apart(
        self, idempotency: IdempotencyStore, time: StoreTime
    ) -> None:
        """Each with its own result."""
        for name in ODD_NAMES:
            claim = await claimed(idempotency, name, time.ample)
            await idempotency.complete(claim, name.encode(), ttl=TTL)

        for name in ODD_NAMES:
            outcome = await idempotency.claim(name, lease=1.0)
            assert getattr(outcome, "result", None) == name.encode()
