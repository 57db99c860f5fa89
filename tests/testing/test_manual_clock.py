"""`ManualClock` moves when the test says so, and wakes its sleepers in order."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from catga_core import Clock
from catga_testing import ManualClock, NotInTimeError


def test_it_is_a_clock() -> None:
    assert isinstance(ManualClock(), Clock)


def test_it_starts_where_it_is_told_and_stands_still() -> None:
    start = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)

    clock = ManualClock(start)

    assert clock.now() == clock.now() == start
    assert clock.time() == start.timestamp()
    assert clock.monotonic() == 0


def test_it_starts_at_seconds_since_the_epoch() -> None:
    assert ManualClock(86_400).now() == datetime(1970, 1, 2, tzinfo=UTC)


def test_a_start_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        ManualClock(datetime(2031, 5, 6))  # noqa: DTZ001


def test_advancing_moves_all_three_scales() -> None:
    clock = ManualClock()
    before = clock.now(), clock.time(), clock.monotonic()

    clock.advance(1.5)

    assert clock.now() == before[0] + timedelta(seconds=1.5)
    assert clock.time() == before[1] + 1.5
    assert clock.monotonic() == before[2] + 1.5


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_time_goes_forward_by_finite_steps_only(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds must be a finite number >= 0"):
        ManualClock().advance(seconds)


async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    clock = ManualClock()
    woken: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    tasks = [
        asyncio.create_task(sleep(*each)) for each in (("c", 3), ("a", 1), ("b1", 2), ("b2", 2), ("d", 9))
    ]
    await clock.sleeping(5)

    clock.advance(5)
    await asyncio.gather(*tasks[:4])

    assert woken == ["a", "b1", "b2", "c"]
    assert clock.sleepers == [4]
    clock.advance(4)
    await tasks[4]


async def test_a_sleeper_does_not_wake_before_its_time() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(2))
    await clock.sleeping()

    clock.advance(1.999)
    await asyncio.sleep(0)

    assert not task.done()
    assert clock.sleepers == [pytest.approx(0.001)]
    clock.advance(0.001)
    await task


async def test_run_for_wakes_a_task_that_sleeps_again_at_each_of_its_times() -> None:
    clock = ManualClock(0)
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await clock.sleep(0.1)
            ticks.append(round(clock.time(), 6))

    task = asyncio.create_task(tick())
    await clock.sleeping()

    await clock.run_for(0.35)
    assert ticks == [0.1, 0.2, 0.3]
    assert clock.time() == pytest.approx(0.35)
    await clock.run_for(0.05)
    assert ticks == [0.1, 0.2, 0.3, 0.4]
    task.cancel()


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1))
    await clock.sleeping()

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert clock.sleepers == []
    clock.advance(2)
    await clock.run_for(2)
    assert clock.monotonic() == 4


@pytest.mark.parametrize("seconds", [0, -3])
async def test_sleeping_for_no_time_takes_no_time_of_the_clock(seconds: float) -> None:
    await asyncio.wait_for(ManualClock().sleep(seconds), 1)


async def test_waiting_for_sleepers_tells_how_many_there_are() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1))

    with pytest.raises(NotInTimeError, match=r"1 of 2 tasks sleep on the clock after 0\.01 s"):
        await clock.sleeping(2, within=0.01)

    clock.advance(1)
    await task
