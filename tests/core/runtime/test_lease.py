"""`Lease`: renewed at a third, counted from before the call that acquired it, and lost by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from catga_core.errors import LeaseLostError
from catga_core.runtime import Lease
from catga_core.runtime.unit_of_work import active_unit_of_work
from catga_testing import ManualClock
from catga_testing.waiting import eventually

SECONDS = 30.0


class Held(msgspec.Struct, frozen=True):
    """What a store granted."""

    fencing_token: int
    renewals: int = 0


async def renewed(held: Held) -> Held:
    return Held(held.fencing_token, held.renewals + 1)


async def refused(held: Held) -> Held:
    raise LeaseLostError("the lock 'stock'", "another has acquired it since")


async def broken(held: Held) -> Held:
    raise OSError("the store is away")


async def hanging(held: Held) -> Held:
    await asyncio.Event().wait()
    raise AssertionError


def lease(
    clock: ManualClock,
    renew: Callable[[Held], Awaitable[Held]] = renewed,
    *,
    began: float | None = None,
    cancel: bool = True,
    strict: bool = True,
) -> Lease[Held]:
    return Lease(
        Held(7),
        renew,
        seconds=SECONDS,
        began=clock.monotonic() if began is None else began,
        clock=clock,
        subject="the lock 'stock'",
        cancel=cancel,
        strict=strict,
    )


async def test_lease_is_renewed_at_a_third_of_its_time() -> None:
    clock = ManualClock()
    async with lease(clock) as held:
        for number in range(1, 20):
            await clock.sleeping()
            await clock.run_for(SECONDS / 3)
            assert held.held.renewals == number
        held.check()
        assert held.lost is None


async def test_time_before_the_answer_counts() -> None:
    clock = ManualClock()
    began = clock.monotonic()
    clock.advance(25)  # the store's answer was slow
    async with lease(clock, hanging, began=began, cancel=False) as held:
        clock.advance(4.9)
        held.check()
        clock.advance(0.1)
        with pytest.raises(LeaseLostError):
            held.check()


async def test_answer_later_than_the_lease_is_refused_on_entering() -> None:
    clock = ManualClock()
    began = clock.monotonic()
    clock.advance(SECONDS)
    with pytest.raises(LeaseLostError, match="the lock 'stock'"):
        async with lease(clock, began=began):
            pytest.fail("the block must not run")


async def test_slow_answer_moves_the_first_renewal_forward() -> None:
    clock = ManualClock()
    began = clock.monotonic()
    clock.advance(SECONDS / 2)
    async with lease(clock, began=began) as held:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert held.held.renewals == 1


async def test_renewed_lease_counts_from_before_the_renewal() -> None:
    clock, answer, calls = ManualClock(), asyncio.Event(), 0

    async def slow_then_hanging(held: Held) -> Held:
        nonlocal calls
        calls += 1
        await (answer.wait() if calls == 1 else asyncio.Event().wait())
        return await renewed(held)

    async with lease(clock, slow_then_hanging, cancel=False) as held:
        await clock.sleeping()
        await clock.run_for(10)
        clock.advance(15)
        answer.set()
        await eventually(lambda: held.held.renewals == 1)
        # Renewed by a call that began at 10 s: held until 40 s.
        clock.advance(14.9)
        held.check()
        clock.advance(0.1)
        assert held.lost is not None


async def test_block_with_two_holders_never_checks_twice() -> None:
    # A second holder gets the lock once the store's lease, which began within the call, is over.
    clock = ManualClock()
    began = clock.monotonic()
    granted_at = clock.monotonic() + 1
    clock.advance(20)
    async with lease(clock, hanging, began=began, cancel=False) as first:
        clock.advance(granted_at + SECONDS - clock.monotonic())
        async with lease(clock) as second:
            second.check()
            assert first.lost is not None


async def test_lost_lease_cancels_the_block_and_raises() -> None:
    clock = ManualClock()
    cancelled = False
    with pytest.raises(LeaseLostError, match="another has acquired it since"):
        async with lease(clock, refused):
            await clock.sleeping()
            clock.advance(10)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled = True
                raise
    assert cancelled
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_lost_lease_with_flag_lets_the_block_end() -> None:
    clock = ManualClock()
    async with lease(clock, refused, cancel=False) as held:
        await clock.sleeping()
        await clock.run_for(10)
        assert held.lost is not None


async def test_error_of_the_block_passes_when_the_lease_is_lost() -> None:
    clock = ManualClock()
    with pytest.raises(KeyError):
        async with lease(clock, refused):
            await clock.sleeping()
            clock.advance(10)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise KeyError from None


async def test_cancellation_from_elsewhere_stays_one() -> None:
    clock = ManualClock()

    async def block() -> None:
        async with lease(clock, refused):
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await clock.sleeping()
    clock.advance(10)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_failed_renewal_is_tried_again() -> None:
    clock, calls = ManualClock(), 0

    async def flaky(held: Held) -> Held:
        nonlocal calls
        calls += 1
        return await (broken(held) if calls == 1 else renewed(held))

    async with lease(clock, flaky) as held:
        await clock.sleeping()
        await clock.run_for(SECONDS / 3 + SECONDS / 10)
        assert held.held.renewals == 1
        held.check()


async def test_store_that_stays_away_ends_a_strict_lease() -> None:
    clock = ManualClock()
    with pytest.raises(LeaseLostError):
        async with lease(clock, broken):
            await clock.sleeping()
            await clock.run_for(SECONDS)
            await asyncio.Event().wait()


async def test_store_that_stays_away_does_not_end_a_lenient_lease() -> None:
    clock = ManualClock()
    async with lease(clock, broken, strict=False) as held:
        await clock.sleeping()
        await clock.run_for(SECONDS * 3)
        held.check()


async def test_expired_lease_is_lost_although_the_renewal_task_did_not_run() -> None:
    # A block that never awaits keeps the renewal from running; leaving it still tells.
    clock = ManualClock()
    with pytest.raises(LeaseLostError):
        async with lease(clock):
            clock.advance(SECONDS)


async def test_loss_found_by_check_does_not_cancel_after_the_block() -> None:
    clock = ManualClock()
    with pytest.raises(LeaseLostError):
        async with lease(clock) as held:
            clock.advance(SECONDS)
            held.check()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_loss_found_by_check_cancels_a_block_that_goes_on() -> None:
    clock = ManualClock()
    with pytest.raises(LeaseLostError):
        async with lease(clock) as held:
            clock.advance(SECONDS)
            assert held.lost is not None
            await asyncio.Event().wait()


async def test_ended_lease_loses_nothing() -> None:
    clock = ManualClock()
    async with lease(clock) as held:
        held.end()
        clock.advance(SECONDS * 2)
        await asyncio.sleep(0)
        assert held.lost is None


async def test_renewal_is_in_no_unit_of_work() -> None:
    clock, seen = ManualClock(), list[object]()

    async def look(held: Held) -> Held:
        seen.append(active_unit_of_work.get())
        return await renewed(held)

    token = active_unit_of_work.set(object())
    try:
        async with lease(clock, look):
            await clock.sleeping()
            await clock.run_for(10)
    finally:
        active_unit_of_work.reset(token)
    assert seen == [None]
