from __future__ import annotations

import asyncio
import contextlib
from collections.abc import MutableMapping
from typing import Any

import pytest

from catga_core import CatgaError
from catga_core.errors import LeaseLostError
from catga_core.interfaces.locks import LockLease, LockProvider
from catga_core.reliability import Locks
from catga_testing import ManualClock
from catga_testing.waiting import eventually
from tests.core.reliability.support import moved
from tests.stores import Place


async def test_a_lock_is_held_by_one_at_a_time(place: Place):
    inside = most = 0

    async def work(locks: Locks) -> None:
        nonlocal inside, most
        async with locks.hold("stock-42"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.002)
            inside -= 1

    async with place.container().running() as one, place.container().running() as two:
        await asyncio.gather(*(work(app.get(Locks)) for app in [one, two] * 5))

    assert (most, inside) == (1, 0)


async def test_locks_of_other_names_do_not_wait_for_each_other(place: Place):
    async with place.container().running() as app:
        locks = app.get(Locks)
        async with locks.hold("a"), locks.hold("b", timeout=0) as lock:
            assert lock.name == "b"


async def test_each_holder_has_a_higher_fencing_token(place: Place):
    tokens: list[int] = []
    async with place.container().running() as app:
        for _ in range(3):
            async with app.get(Locks).hold("stock-42") as lock:
                tokens.append(lock.fencing_token)

    assert tokens == sorted(set(tokens))


async def test_a_lock_that_is_not_free_in_time_is_an_error_that_names_it(place: Place):
    async with place.container().running() as app:
        locks = app.get(Locks)
        async with locks.hold("stock-42"):
            with pytest.raises(CatgaError, match="The lock 'stock-42' is held by another owner") as raised:
                async with locks.hold("stock-42", timeout=0.01):
                    pytest.fail("nobody else may have it")

    assert (raised.value.code, raised.value.retryable) == ("LOCKED", True)
    assert raised.value.details == {"lock": "stock-42"}


async def test_who_waits_gets_the_lock_when_it_is_given_back(place: Place):
    async with place.container().running() as app:
        locks = app.get(Locks)
        held = asyncio.Event()

        async def waits() -> None:
            async with locks.hold("stock-42", timeout=5):
                held.set()

        async with locks.hold("stock-42"):
            waiting = asyncio.create_task(waits())
            await asyncio.sleep(0.01)
            assert not held.is_set()
        await asyncio.wait_for(waiting, 5)

    assert held.is_set()


async def test_trying_gives_nothing_at_once_where_another_has_it(place: Place):
    async with place.container().running() as app:
        locks = app.get(Locks)
        async with locks.try_hold("stock-42") as first, locks.try_hold("stock-42") as second:
            assert first is not None
            assert second is None
        async with locks.try_hold("stock-42") as again:
            assert again is not None


async def test_a_block_that_raises_gives_the_lock_back(place: Place):
    async with place.container().running() as app:
        locks = app.get(Locks)
        with pytest.raises(ZeroDivisionError):
            async with locks.hold("stock-42"):
                raise ZeroDivisionError
        async with locks.hold("stock-42", timeout=0):
            pass


async def test_a_holder_that_is_cancelled_gives_the_lock_back(place: Place):
    async with place.container().running() as app:
        locks = app.get(Locks)
        held = asyncio.Event()

        async def holds() -> None:
            async with locks.hold("stock-42"):
                held.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(holds())
        await held.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with locks.hold("stock-42", timeout=0):
            pass


class SlowToAnswer:
    """Gives a lock, and is slow to say so."""

    def __init__(self, inner: LockProvider) -> None:
        self.inner = inner
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()

    async def acquire(self, name: str, /, *, lease: float) -> LockLease | None:
        held = await self.inner.acquire(name, lease=lease)
        self.asked.set()
        await self.answer.wait()
        return held

    async def renew(self, held: LockLease, /, *, lease: float) -> LockLease:
        return await self.inner.renew(held, lease=lease)

    async def release(self, held: LockLease, /) -> bool:
        return await self.inner.release(held)

    async def wait(self, name: str, /, *, timeout: float) -> None:
        await self.inner.wait(name, timeout=timeout)


async def test_a_waiter_that_is_cancelled_gives_back_what_it_was_given_meanwhile(place: Place):
    async with place.container().running() as app:
        slow = SlowToAnswer(app.get(LockProvider))
        locks = Locks(slow, app.clock)

        async def holds() -> None:
            async with locks.hold("stock-42"):
                pytest.fail("it was cancelled before")

        task = asyncio.create_task(holds())
        await slow.asked.wait()
        task.cancel()
        await asyncio.sleep(0)
        slow.answer.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with app.get(Locks).hold("stock-42", timeout=0):
            pass


# What happens to a lease is shown where a test can move the time.


async def test_a_lock_is_renewed_while_it_is_held(memory: Place):
    clock = ManualClock()
    async with moved(memory, clock) as app, app.get(Locks).hold("stock-42", lease=30) as lock:
        for _ in range(10):
            await clock.sleeping()
            clock.advance(10)
            await asyncio.sleep(0.001)
        assert not lock.lost
        async with app.get(Locks).try_hold("stock-42") as other:
            assert other is None


async def test_a_holder_whose_lock_is_lost_is_cancelled_and_told_why(memory: Place):
    clock = ManualClock()
    async with moved(memory, clock) as app:

        async def holds() -> None:
            async with app.get(Locks).hold("stock-42", lease=30):
                await clock.sleeping()
                clock.advance(31)
                await asyncio.Event().wait()

        with pytest.raises(LeaseLostError, match="the lock 'stock-42' is no longer yours"):
            await holds()


async def test_a_holder_can_ask_to_be_told_only(memory: Place):
    clock = ManualClock()
    async with moved(memory, clock) as app, app.get(Locks).hold("s", lease=30, on_loss="flag") as lock:
        lock.check()
        await clock.sleeping()
        clock.advance(31)
        await eventually(lambda: lock.lost)
        with pytest.raises(LeaseLostError):
            lock.check()


async def test_a_lock_that_another_has_taken_is_lost_at_the_next_renewal(
    memory: Place, log: list[MutableMapping[str, Any]]
):
    clock = ManualClock()
    async with moved(memory, clock) as app:
        fast = ManualClock(clock.time() + 31)
        async with moved(memory, fast) as other:
            # The other's clock is ahead, and so it takes over what it believes to be left.
            theirs = other.get(Locks).hold("stock-42", timeout=0)

            async def holds() -> None:
                async with app.get(Locks).hold("stock-42", lease=30), theirs:
                    await clock.sleeping()
                    clock.advance(10)
                    await asyncio.Event().wait()

            with pytest.raises(LeaseLostError, match="another has acquired it"):
                await holds()
    assert [line["thing"] for line in log if line["event"] == "catga.lease_lost"] == ["the lock 'stock-42'"]


async def test_a_cancellation_from_outside_stays_one_also_when_the_lock_is_lost(memory: Place):
    clock = ManualClock()
    async with moved(memory, clock) as app:
        held = asyncio.Event()

        async def holds() -> None:
            async with app.get(Locks).hold("stock-42", lease=30):
                held.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(holds())
        await held.wait()
        await clock.sleeping()
        clock.advance(31)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()


async def test_a_block_that_swallows_its_cancellation_is_told_all_the_same(memory: Place):
    clock = ManualClock()
    async with moved(memory, clock) as app:

        async def holds() -> None:
            async with app.get(Locks).hold("stock-42", lease=30):
                await clock.sleeping()
                clock.advance(31)
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()

        with pytest.raises(LeaseLostError):
            await holds()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


class Hangs(SlowToAnswer):
    async def acquire(self, name: str, /, *, lease: float) -> LockLease | None:
        return await self.inner.acquire(name, lease=lease)

    async def renew(self, held: LockLease, /, *, lease: float) -> LockLease:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_storage_that_hangs_does_not_keep_the_holder_from_learning_that_its_time_is_over(
    place: Place,
):
    async with place.container().running() as app:
        locks = Locks(Hangs(app.get(LockProvider)), app.clock)
        with pytest.raises(LeaseLostError, match="it could not be renewed in time"):
            async with locks.hold("stock-42", lease=0.15):
                await asyncio.wait_for(asyncio.Event().wait(), 5)


class SlowInTheMiddle(Hangs):
    """Grants at once, and answers so many seconds of the clock later."""

    def __init__(self, inner: LockProvider, clock: ManualClock, seconds: float) -> None:
        super().__init__(inner)
        self._clock = clock
        self._seconds = seconds

    async def acquire(self, name: str, /, *, lease: float) -> LockLease | None:
        held = await self.inner.acquire(name, lease=lease)
        self._clock.advance(self._seconds)
        return held


async def test_lease_counts_from_before_the_call_that_acquires_it(memory: Place):
    clock = ManualClock()
    async with moved(memory, clock) as app:
        provider = app.get(LockProvider)
        slow = Locks(SlowInTheMiddle(provider, clock, 20), clock)
        async with slow.hold("stock-42", lease=30, on_loss="flag") as first:
            first.check()
            clock.advance(10)  # the store's lease is over: another process may have the lock
            async with Locks(provider, clock).hold("stock-42", timeout=0) as second:
                second.check()
                with pytest.raises(LeaseLostError):
                    first.check()


async def test_lock_whose_answer_takes_longer_than_its_lease_is_not_held(memory: Place):
    clock = ManualClock()
    async with moved(memory, clock) as app:
        provider = app.get(LockProvider)
        with pytest.raises(LeaseLostError):
            async with Locks(SlowInTheMiddle(provider, clock, 31), clock).hold("stock-42", lease=30):
                pytest.fail("the block must not run")
        async with Locks(provider, clock).hold("stock-42", timeout=0) as lock:
            lock.check()


async def test_a_renewal_that_fails_once_is_tried_again(memory: Place):
    clock = ManualClock()

    class FailsOnce(Hangs):
        failed = 0

        async def renew(self, held: LockLease, /, *, lease: float) -> LockLease:
            if not self.failed:
                self.failed += 1
                raise CatgaError("no connection", code="PERSISTENCE_FAILED")
            return await self.inner.renew(held, lease=lease)

    async with moved(memory, clock) as app:
        locks = Locks(FailsOnce(app.get(LockProvider)), clock)
        async with locks.hold("stock-42", lease=30) as lock:
            for seconds in (10, 3, 10, 10, 10):
                await clock.sleeping()
                clock.advance(seconds)
                await asyncio.sleep(0.001)
            assert not lock.lost


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"name": ""}, "name must be a non-empty str; got ''"),
        ({"name": 7}, "name must be a non-empty str; got 7"),
        ({"name": "a", "lease": 0}, "lease of the lock 'a' must be a finite number > 0; got 0"),
        ({"name": "a", "lease": float("inf")}, "got inf"),
        (
            {"name": "a", "timeout": -1},
            "timeout of the lock 'a' must be a finite number >= 0 or None; got -1",
        ),
        ({"name": "a", "on_loss": "shout"}, "on_loss must be 'cancel' or 'flag'; got 'shout'"),
    ],
)
def test_what_cannot_work_is_refused_at_once(arguments: dict[str, Any], told: str, memory: Place):
    locks = memory.container().get(Locks)
    with pytest.raises(ValueError, match=told):
        locks.hold(arguments.pop("name"), **arguments)
