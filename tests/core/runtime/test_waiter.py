"""`Waiter`: a wait ends by a wake-up, by work or by a timeout, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import inspect
from typing import Any

import pytest

from catga_core.runtime import Waiter, poll_until
from catga_testing import ManualClock
from catga_testing.waiting import eventually


async def started(waiter: Waiter, count: int = 1) -> None:
    await eventually(lambda: waiter.waiting == count)


async def test_wake_ends_every_wait_of_the_key() -> None:
    waiter = Waiter()
    waits = [asyncio.create_task(waiter.wait("a")) for _ in range(3)]
    other = asyncio.create_task(waiter.wait("b"))
    await started(waiter, 4)

    waiter.wake("a")

    assert await asyncio.gather(*waits) == [True] * 3
    assert not other.done()
    waiter.wake_all()
    assert await other
    assert waiter.waiting == 0


async def test_timeout_ends_a_wait_unwoken() -> None:
    waiter = Waiter()

    assert await waiter.wait(timeout=0.001) is False
    assert waiter.waiting == 0


async def test_work_ends_a_wait_on_the_clock() -> None:
    clock, waiter = ManualClock(), Waiter()
    waiting = asyncio.create_task(waiter.wait(work=clock.sleep(10)))
    await clock.sleeping()

    clock.advance(10)

    assert await waiting is False


async def test_wake_cancels_the_work_and_awaits_its_end() -> None:
    ended = False

    async def work() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended = True

    waiter = Waiter()
    waiting = asyncio.create_task(waiter.wait(work=work()))
    await started(waiter)
    await asyncio.sleep(0)

    waiter.wake()

    assert await waiting
    assert ended


async def test_error_of_the_work_is_raised() -> None:
    async def work() -> None:
        raise OSError("away")

    waiter = Waiter()
    with pytest.raises(OSError, match="away"):
        await waiter.wait(work=work())
    assert waiter.waiting == 0


async def test_cancelled_wait_leaves_nothing_behind() -> None:
    clock, waiter = ManualClock(), Waiter()
    waiting = asyncio.create_task(waiter.wait("key", work=clock.sleep(10), timeout=60))
    await clock.sleeping()

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert waiter.waiting == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_wake_before_a_wait_does_not_count() -> None:
    waiter = Waiter()
    waiter.wake()

    assert await waiter.wait(timeout=0.001) is False


async def test_wake_after_expect_ends_the_next_wait_once() -> None:
    waiter = Waiter()
    with waiter.expect() as expected:
        waiter.wake()
        waiter.wake()

        assert await expected.wait(timeout=60) is True
        assert await expected.wait(timeout=0.001) is False
    assert waiter.waiting == 0


async def test_two_wakes_during_a_wait_end_one_wait() -> None:
    waiter = Waiter()
    with waiter.expect() as expected:
        waiting = asyncio.create_task(expected.wait())
        await asyncio.sleep(0)
        waiter.wake()
        waiter.wake()

        assert await waiting
        assert await expected.wait(timeout=0.001) is False


async def test_work_is_not_started_after_a_wake() -> None:
    begun = False

    async def work() -> None:
        nonlocal begun
        begun = True

    waiter = Waiter()
    with waiter.expect() as expected:
        waiter.wake()
        assert await expected.wait(work())
    assert not begun


async def test_a_wait_that_is_cancelled_after_a_wake_leaves_no_work_behind() -> None:
    with Waiter().expect() as expectation:
        expectation.wake()
        work = asyncio.sleep(0)
        task = asyncio.create_task(expectation.wait(work))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED


async def test_closed_waiter_lets_every_wait_end_at_once() -> None:
    waiter = Waiter()
    waiting = asyncio.create_task(waiter.wait())
    await started(waiter)

    waiter.close()

    assert await waiting
    assert await waiter.wait("any")
    assert waiter.closed


async def test_wait_that_is_always_woken_gives_other_tasks_a_turn() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiter = Waiter()
    waiter.close()
    task = asyncio.create_task(other())
    for _ in range(10):
        await waiter.wait()
    task.cancel()

    assert turns >= 9


class Looks:
    """Finds something at the given look."""

    def __init__(self, found_at: int | None) -> None:
        self.found_at = found_at
        self.count = 0
        self.waits: list[float] = []

    async def look(self) -> bool:
        self.count += 1
        return self.count == self.found_at

    async def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)


async def test_poll_until_that_finds_at_once_does_not_wait() -> None:
    looks = Looks(1)

    assert await poll_until(looks.look, wait=looks.wait, every=0.1, timeout=0)
    assert looks.waits == []


async def test_poll_until_waits_the_interval_between_looks() -> None:
    looks = Looks(3)

    assert await poll_until(looks.look, wait=looks.wait, every=0.1, timeout=None)
    assert looks.count == 3
    assert looks.waits == [0.1, 0.1]


async def test_poll_until_waits_no_longer_than_the_timeout() -> None:
    looks = Looks(2)

    assert await poll_until(looks.look, wait=looks.wait, every=10, timeout=5)
    assert 4 < looks.waits[0] <= 5


async def test_poll_until_looks_once_where_there_is_no_time() -> None:
    looks = Looks(None)

    assert not await poll_until(looks.look, wait=looks.wait, every=0.1, timeout=0)
    assert looks.count == 1
    assert looks.waits == []


async def test_poll_until_looks_again_when_woken() -> None:
    waiter, looks = Waiter(), Looks(2)
    polling = asyncio.create_task(
        poll_until(looks.look, wait=lambda seconds: waiter.wait(timeout=seconds), every=3600, timeout=None)
    )
    await eventually(lambda: waiter.waiting == 1)

    waiter.wake()

    async with asyncio.timeout(5):
        assert await polling


async def test_error_of_work_that_ended_before_a_cancellation_is_retrieved() -> None:
    unhandled: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: unhandled.append(context))
    work: asyncio.Future[None] = loop.create_future()
    waiting = asyncio.create_task(Waiter().wait(work=work))
    await asyncio.sleep(0)
    work.set_exception(ValueError("failed"))
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    del work, waiting
    gc.collect()

    assert unhandled == []
