"""`shielded`, `settled`, `cleanup`, `acquire_or_release`: work that ends although its caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from catga_core.runtime import acquire_or_release, cancel_and_wait, cleanup, settled, shielded


class Work:
    """Work that ends when it is let."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.done = False
        self._error = error

    async def run(self) -> str:
        self.begun.set()
        await self.go_on.wait()
        self.done = True
        if self._error is not None:
            raise self._error
        return "result"

    async def clean(self) -> None:
        await self.run()


async def cancelled_while(work: Work, task: asyncio.Task[Any], *, times: int = 2) -> None:
    """Cancel a task several times while its work runs, then let the work end."""
    await work.begun.wait()
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not task.done()
    work.go_on.set()
    await asyncio.wait([task])


async def test_shielded_returns_the_result() -> None:
    work = Work()
    work.go_on.set()
    assert await shielded(work.run()) == "result"


async def test_shielded_finishes_before_the_cancellation_is_raised() -> None:
    work = Work()
    task = asyncio.create_task(shielded(work.run()))

    await cancelled_while(work, task)

    assert work.done
    assert task.cancelled()


async def test_shielded_raises_the_error_of_the_work() -> None:
    work = Work(OSError("away"))
    work.go_on.set()
    with pytest.raises(OSError, match="away"):
        await shielded(work.run())


async def test_cancellation_has_the_error_of_the_work_as_cause() -> None:
    work = Work(OSError("away"))
    causes: list[BaseException | None] = []

    async def call() -> None:
        try:
            await shielded(work.run())
        except asyncio.CancelledError as error:
            causes.append(error.__cause__)
            raise

    task = asyncio.create_task(call())
    await cancelled_while(work, task)

    assert task.cancelled()
    assert [type(each) for each in causes] == [OSError]


async def test_settled_returns_the_cancellation() -> None:
    work = Work()
    task = asyncio.create_task(settled(work.run()))

    await cancelled_while(work, task)

    result, cancelled = task.result()
    assert result == "result"
    assert isinstance(cancelled, asyncio.CancelledError)


async def test_settled_without_a_cancellation_returns_none() -> None:
    work = Work()
    work.go_on.set()
    assert await settled(work.run()) == ("result", None)


async def test_cancelled_work_cancels_its_caller() -> None:
    work = Work()
    running = asyncio.create_task(work.run())
    task = asyncio.create_task(shielded(running))
    await work.begun.wait()

    running.cancel()
    await asyncio.wait([task])

    assert task.cancelled()


async def test_timeout_around_shielded_work_is_a_timeout() -> None:
    work = Work()
    asyncio.get_running_loop().call_later(0.02, work.go_on.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await shielded(work.run())
    assert work.done


async def test_cleanup_finishes_before_the_cancellation_is_raised() -> None:
    work = Work()
    task = asyncio.create_task(cleanup(work.clean()))

    await cancelled_while(work, task)

    assert work.done
    assert task.cancelled()


async def test_cleanup_that_takes_too_long_goes_on_in_the_background() -> None:
    work = Work()

    await cleanup(work.clean(), within=0.001)

    assert not work.done
    left = asyncio.all_tasks() - {asyncio.current_task()}
    work.go_on.set()
    await asyncio.wait(left)
    assert work.done


async def test_cleanup_raises_its_error() -> None:
    work = Work(OSError("away"))
    work.go_on.set()
    with pytest.raises(OSError, match="away"):
        await cleanup(work.clean())


class Store:
    """Grants a lease when it is let, and records what comes back."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.released: list[str] = []

    def acquire(self) -> Coroutine[Any, Any, str]:
        return acquire_or_release(self.work.run(), self._release)

    async def _release(self, granted: str) -> None:
        self.released.append(granted)


async def test_acquired_is_returned_and_kept() -> None:
    store = Store(Work())
    store.work.go_on.set()

    assert await store.acquire() == "result"
    assert store.released == []


async def test_cancelled_acquire_releases_what_was_granted() -> None:
    store = Store(Work())
    task = asyncio.create_task(store.acquire())

    await cancelled_while(store.work, task)

    assert task.cancelled()
    assert store.released == ["result"]


async def test_cancelled_acquire_that_fails_releases_nothing() -> None:
    store = Store(Work(OSError("away")))
    task = asyncio.create_task(store.acquire())

    await cancelled_while(store.work, task)

    assert task.cancelled()
    assert store.released == []


async def test_cancel_and_wait_cancels_again_until_the_task_ends() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while swallowed < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)

    assert await cancel_and_wait(task, again_after=0.001)
    assert swallowed == 2
    assert task.done()


async def test_cancel_and_wait_gives_up_after_the_limit() -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)

    assert await cancel_and_wait(task, within=0.005, again_after=0.001) is False
    release.set()
    await task
