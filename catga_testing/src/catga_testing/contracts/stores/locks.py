"""Locks: one holder at a time, for as long as its lease."""

from __future__ import annotations

import asyncio
import time as real

import pytest

from catga_core import LeaseLostError
from catga_core.interfaces import LockLease, LockProvider, Stores
from catga_core.reliability import Locks
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import PATIENCE, SOON
from catga_testing.contracts.stores.base import StoresContractBase, both
from catga_testing.contracts.stores.place import Place, StoreTime, turns
from catga_testing.contracts.stores.records import ODD_NAMES

Two = tuple[LockProvider, LockProvider]


async def held(locks: LockProvider, name: str, lease: float) -> LockLease:
    """Acquire a lock that is to be had."""
    found = await locks.acquire(name, lease=lease)
    assert found is not None
    return found


class LocksContractBase(StoresContractBase):
    """The locks of one test."""

    @pytest.fixture
    def locks(self, stores: Stores) -> LockProvider:
        """Return the locks."""
        return stores[LockProvider]

    @pytest.fixture
    def lock_pair(self, pair: tuple[Stores, Stores]) -> Two:
        """Return the locks of one process or of two."""
        return both(pair, LockProvider)


class HoldingContract(LocksContractBase):
    """A lock is one's as long as its lease runs, and its number rises with every acquisition."""

    async def test_a_free_lock_is_the_callers_for_the_length_of_its_lease(
        self, locks: LockProvider, time: StoreTime
    ) -> None:
        """Counted from now, by the clock."""
        lock = await held(locks, "stock", time.ample)

        assert lock.name == "stock"
        assert lock.token
        assert lock.fencing_token >= 1
        assert lock.expires_at == pytest.approx(
            time.clock.time() + time.ample, abs=time.about(time.ample), rel=0
        )

    async def test_a_lock_that_is_held_is_nobody_elses(self, lock_pair: Two, time: StoreTime) -> None:
        """Nor its holder's a second time; they are told at once."""
        await held(lock_pair[0], "stock", time.ample)

        async with asyncio.timeout(SOON):
            assert [await each.acquire("stock", lease=time.ample) for each in lock_pair] == [None, None]

    async def test_of_many_at_once_exactly_one_gets_a_lock(self, lock_pair: Two, time: StoreTime) -> None:
        """A lock that is free, and one whose lease has run out."""
        for lease in (time.lease, time.ample):
            outcomes = await asyncio.gather(
                *(lock_pair[number % 2].acquire("stock", lease=lease) for number in range(20))
            )

            assert sum(each is not None for each in outcomes) == 1
            await time.passes(1.1)

    async def test_a_released_lock_is_the_next_ones(self, lock_pair: Two, time: StoreTime) -> None:
        """At once; and it is released once."""
        one, other = lock_pair
        first = await held(one, "stock", time.ample)

        assert await one.release(first) is True
        second = await held(other, "stock", time.ample)
        assert await one.release(first) is False

        assert second.fencing_token > first.fencing_token
        assert second.token != first.token
        assert await one.acquire("stock", lease=time.ample) is None

    async def test_a_lock_whose_lease_has_run_out_is_taken_over(
        self, lock_pair: Two, time: StoreTime
    ) -> None:
        """And its former holder can do nothing with it any more."""
        one, other = lock_pair
        former = await held(one, "stock", time.lease)
        await time.passes(0.5)
        assert await other.acquire("stock", lease=time.ample) is None
        await time.passes(0.6)

        taken = await held(other, "stock", time.ample)

        assert taken.fencing_token > former.fencing_token
        with pytest.raises(LeaseLostError, match="stock"):
            await one.renew(former, lease=time.ample)
        assert await one.release(former) is False
        assert await one.acquire("stock", lease=time.ample) is None
        assert await other.release(taken) is True

    async def test_a_renewed_lock_is_counted_from_now(self, lock_pair: Two, time: StoreTime) -> None:
        """It is the same acquisition."""
        one, other = lock_pair
        lock = await held(one, "stock", time.lease)
        await time.passes(0.6)

        renewed = await one.renew(lock, lease=time.lease)
        await time.passes(0.6)

        assert renewed.expires_at > lock.expires_at
        assert (renewed.name, renewed.fencing_token) == ("stock", lock.fencing_token)
        assert await other.acquire("stock", lease=time.ample) is None
        assert await one.release(renewed) is True
        await held(other, "stock", time.ample)

    async def test_lock_whose_answer_came_after_its_lease_has_one_holder(
        self, lock_pair: Two, time: StoreTime
    ) -> None:
        """A holder counts its lease from before the call, and the store does not end it any earlier."""
        one, other = lock_pair

        class Slow:
            """Answers an acquisition when its lease is over."""

            async def acquire(self, name: str, /, *, lease: float) -> LockLease | None:
                found = await one.acquire(name, lease=lease)
                assert await other.acquire(name, lease=lease) is None
                await time.passes(1.2)
                return found

            renew, release, wait = one.renew, one.release, one.wait

        locks = Locks(Slow(), time.clock)
        with pytest.raises(LeaseLostError):
            async with locks.hold("stock", lease=time.lease):
                pytest.fail("the lock was held although its lease was over")
        await held(other, "stock", time.ample)

    @pytest.mark.parametrize("end", ["run out", "released"])
    async def test_a_lock_whose_lease_is_over_is_not_renewed(
        self, locks: LockProvider, time: StoreTime, end: str
    ) -> None:
        """Also where nobody has taken it over."""
        lock = await held(locks, "stock", time.lease)
        if end == "released":
            await locks.release(lock)
        else:
            await time.passes(1.1)

        with pytest.raises(LeaseLostError, match="stock"):
            await locks.renew(lock, lease=time.ample)

        await held(locks, "stock", time.ample)

    async def test_locks_with_similar_names_are_kept_apart(
        self, locks: LockProvider, time: StoreTime
    ) -> None:
        """Each is held, and released, for itself."""
        found = [await held(locks, name, time.ample) for name in ODD_NAMES]

        assert [each.name for each in found] == list(ODD_NAMES)
        assert await locks.release(found[0]) is True
        for name in ODD_NAMES[1:]:
            assert await locks.acquire(name, lease=time.ample) is None

    async def test_a_cancelled_acquisition_leaves_the_lock_to_be_had(
        self, locks: LockProvider, time: StoreTime
    ) -> None:
        """At the latest when its lease has run out."""
        for number in range(10):
            acquiring = asyncio.create_task(locks.acquire(f"stock-{number}", lease=time.lease))
            await turns(number)
            acquiring.cancel()
            await asyncio.wait({acquiring})
        await time.passes(1.1)

        for number in range(10):
            await held(locks, f"stock-{number}", time.ample)

    @needs(durable=True)
    async def test_numbers_rise_and_leases_run_after_a_restart(
        self, place: Place, stores: Stores, time: StoreTime
    ) -> None:
        """What a number was given to may outlive the process."""
        locks = stores[LockProvider]
        released = await held(locks, "free", time.ample)
        await locks.release(released)
        kept = await held(locks, "held", time.lease)

        locks = (await place.reopen(stores))[LockProvider]

        assert (await held(locks, "free", time.ample)).fencing_token > released.fencing_token
        assert await locks.acquire("held", lease=time.ample) is None
        await time.passes(1.1)
        assert (await held(locks, "held", time.ample)).fencing_token > kept.fencing_token


class LockWaitingContract(LocksContractBase):
    """Waiting for a lock, and taking turns."""

    async def test_a_released_lock_wakes_who_waits(self, lock_pair: Two, time: StoreTime) -> None:
        """In every process."""
        lock = await held(lock_pair[0], "stock", time.ample)
        waiting = [asyncio.create_task(each.wait("stock", timeout=PATIENCE)) for each in lock_pair]
        await turns(10)

        await lock_pair[0].release(lock)

        async with asyncio.timeout(SOON):
            await asyncio.gather(*waiting)

    async def test_a_lock_that_runs_out_wakes_who_waits(self, lock_pair: Two, time: StoreTime) -> None:
        """Its holder may be dead."""
        await held(lock_pair[0], "stock", time.lease)
        waiting = [asyncio.create_task(each.wait("stock", timeout=PATIENCE)) for each in lock_pair]
        await turns(10)

        await time.passes(1.1)

        async with asyncio.timeout(SOON):
            await asyncio.gather(*waiting)

    async def test_nobody_waits_for_a_lock_that_is_free(self, locks: LockProvider) -> None:
        """It may be had at once."""
        async with asyncio.timeout(SOON):
            await locks.wait("stock", timeout=PATIENCE)

    async def test_who_waits_for_a_free_lock_lets_others_work(self, locks: LockProvider) -> None:
        """Even if it does not take it."""
        others = asyncio.create_task(turns(2))

        for _ in range(100):
            await locks.wait("stock", timeout=PATIENCE)

        assert others.done()

    async def test_waiting_for_a_lock_ends_when_its_time_is_over(
        self, locks: LockProvider, time: StoreTime
    ) -> None:
        """Real time, whatever the clock says."""
        await held(locks, "stock", time.ample)
        begun = real.monotonic()

        await locks.wait("stock", timeout=0.05)

        assert real.monotonic() - begun < SOON

    async def test_a_cancelled_wait_for_a_lock_harms_nobody(
        self, locks: LockProvider, time: StoreTime
    ) -> None:
        """The others are woken as before."""
        lock = await held(locks, "stock", time.ample)
        waiting = [asyncio.create_task(locks.wait("stock", timeout=PATIENCE)) for _ in range(3)]
        await turns(10)

        waiting[1].cancel()
        await turns(2)
        await locks.release(lock)

        async with asyncio.timeout(SOON):
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in outcomes] == [type(None), asyncio.CancelledError, type(None)]

    async def test_many_take_turns_and_never_meet(self, lock_pair: Two, time: StoreTime) -> None:
        """Everyone comes to have it, and the numbers tell in which order."""
        inside = 0
        order: list[int] = []

        async def work(number: int) -> None:
            nonlocal inside
            locks = lock_pair[number % 2]
            while (lock := await locks.acquire("stock", lease=time.ample)) is None:
                await locks.wait("stock", timeout=0.1)
            inside += 1
            assert inside == 1
            order.append(lock.fencing_token)
            await turns(number % 3)
            inside -= 1
            await locks.release(lock)

        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(work(number) for number in range(12)))

        assert len(order) == 12
        assert order == sorted(set(order))
