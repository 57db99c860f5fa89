"""Waiting for somebody else's result."""

from __future__ import annotations

import asyncio
import time as real

import pytest

from catga_core.interfaces import Completed, IdempotencyStore, Stores
from catga_testing.contracts.limits import PATIENCE, SOON
from catga_testing.contracts.stores.idempotency.base import TTL, IdempotencyContractBase, claimed
from catga_testing.contracts.stores.place import StoreTime, turns

Two = tuple[IdempotencyStore, IdempotencyStore]


class WaitingContract(IdempotencyContractBase):
    """Whoever waits gets the result, or is told that there will be none."""

    async def test_all_who_wait_get_the_result(self, idempotencies: Two, time: StoreTime) -> None:
        """In every process."""
        one, other = idempotencies
        claim = await claimed(one, "charge-1", time.ample)
        waiting = [asyncio.create_task(each.wait("charge-1", timeout=PATIENCE)) for each in (one, other) * 3]
        await turns(10)
        assert not any(each.done() for each in waiting)

        await one.complete(claim, b"", ttl=TTL)

        async with asyncio.timeout(SOON):
            assert await asyncio.gather(*waiting) == [Completed("charge-1", b"")] * 6

    async def test_a_result_that_is_there_is_given_at_once(self, idempotencies: Two, time: StoreTime) -> None:
        """Also to those who cannot wait."""
        one, other = idempotencies
        await one.complete(await claimed(one, "charge-1", time.ample), b"charged", ttl=TTL)

        async with asyncio.timeout(SOON):
            for timeout in (0.0, PATIENCE):
                assert await other.wait("charge-1", timeout=timeout) == Completed("charge-1", b"charged")

    async def test_a_released_key_wakes_with_nothing(self, idempotencies: Two, time: StoreTime) -> None:
        """So that one of those who wait may try itself."""
        one, other = idempotencies
        claim = await claimed(one, "charge-1", time.ample)
        waiting = [asyncio.create_task(each.wait("charge-1", timeout=PATIENCE)) for each in (one, other)]
        await turns(10)

        await one.release(claim)

        async with asyncio.timeout(SOON):
            assert await asyncio.gather(*waiting) == [None, None]

    async def test_a_claim_that_runs_out_wakes_with_nothing(
        self, idempotencies: Two, time: StoreTime
    ) -> None:
        """Its owner may be dead."""
        one, other = idempotencies
        await claimed(one, "charge-1", time.lease)
        waiting = [asyncio.create_task(each.wait("charge-1", timeout=PATIENCE)) for each in (one, other)]
        await turns(10)

        await time.passes(1.1)

        async with asyncio.timeout(SOON):
            assert await asyncio.gather(*waiting) == [None, None]

    @pytest.mark.parametrize("timeout", [0.0, 0.05])
    async def test_waiting_for_a_result_ends_when_its_time_is_over(
        self, idempotency: IdempotencyStore, time: StoreTime, timeout: float
    ) -> None:
        """Real time, whatever the clock says."""
        await claimed(idempotency, "charge-1", time.ample)
        begun = real.monotonic()

        assert await idempotency.wait("charge-1", timeout=timeout) is None

        assert timeout * 0.9 <= real.monotonic() - begun < SOON

    async def test_nobody_waits_for_a_key_that_nobody_has(self, idempotency: IdempotencyStore) -> None:
        """There is nothing to come."""
        async with asyncio.timeout(SOON):
            assert await idempotency.wait("charge-1", timeout=0.05) is None

    async def test_a_cancelled_wait_for_a_result_harms_nobody(
        self, idempotency: IdempotencyStore, time: StoreTime
    ) -> None:
        """The others get the result, and the owner completes."""
        claim = await claimed(idempotency, "charge-1", time.ample)
        waiting = [asyncio.create_task(idempotency.wait("charge-1", timeout=PATIENCE)) for _ in range(3)]
        await turns(10)

        waiting[1].cancel()
        await turns(2)
        await idempotency.complete(claim, b"charged", ttl=TTL)

        async with asyncio.timeout(SOON):
            one, cancelled, other = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(cancelled, asyncio.CancelledError)
        assert one == other == Completed("charge-1", b"charged")

    async def test_a_result_that_is_rolled_back_wakes_nobody(
        self, stores: Stores, idempotency: IdempotencyStore, time: StoreTime
    ) -> None:
        """Only what is committed is a result, and the claim is still its owner's."""
        claim = await claimed(idempotency, "charge-1", time.ample)
        waiting = asyncio.create_task(idempotency.wait("charge-1", timeout=PATIENCE))
        await turns(10)
        with pytest.raises(ZeroDivisionError):
            async with stores.storage.unit_of_work():
                await idempotency.complete(claim, b"rolled back", ttl=TTL)
                raise ZeroDivisionError
        await turns(10)
        early = waiting.done()

        await idempotency.complete(claim, b"charged", ttl=TTL)

        assert not early
        async with asyncio.timeout(SOON):
            assert await waiting == Completed("charge-1", b"charged")
