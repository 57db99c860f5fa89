"""`Intake`: messages run concurrently up to a limit, isolated from one another, and are finished or cancelled by the drain."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from decimal import getcontext
from typing import Any

import pytest
from structlog.testing import capture_logs

from catga_core.runtime import Intake
from catga_core.runtime import intake as intake_module

Handle = Callable[[int], Awaitable[object]]
variable: ContextVar[str] = ContextVar("variable", default="empty")


class Receiver:
    """Handles numbers by a function, and records what the intake reports."""

    def __init__(self, handle: Handle, limit: int = 100, *, waits: bool = True) -> None:
        self.failed: list[tuple[int, type[BaseException]]] = []
        self.refused: list[int] = []
        self._handle = handle
        self._waits = waits
        self.intake: Intake[int] = Intake(limit, self._begin, self._failed, self._overflowed)

    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.intake.put(number)

    def _begin(self, number: int) -> Any:
        return self._handle(number)

    def _failed(self, number: int, error: BaseException) -> None:
        self.failed.append((number, type(error)))

    def _overflowed(self, waiting: deque[int]) -> None:
        while waiting and not self._waits:
            self.refused.append(waiting.popleft())


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_intake_is_full_at_its_limit() -> None:
    release = asyncio.Event()
    receiver = Receiver(lambda _number: release.wait(), limit=2)
    intake = receiver.intake
    seen: list[tuple[int, bool]] = []
    for number in range(2):
        receiver.put(number)
        await turns()
        seen.append((intake.running, intake.full))
    release.set()

    assert await intake.drain(5) == []
    assert seen == [(1, False), (2, True)]
    assert (intake.running, intake.full) == (0, False)


async def test_handlers_of_one_burst_have_empty_contexts() -> None:
    seen: list[str] = []

    async def handle(number: int) -> None:
        seen.append(variable.get())
        variable.set(f"left by {number}")

    variable.set("the caller's")
    receiver = Receiver(handle)
    receiver.put(*range(5))
    await receiver.intake.drain(5)

    assert seen == ["empty"] * 5


async def test_precision_set_by_one_handler_is_not_the_next_one_s() -> None:
    seen: list[int] = []

    async def handle(number: int) -> None:
        seen.append(getcontext().prec)
        getcontext().prec = 3

    receiver = Receiver(handle)
    receiver.put(*range(5))
    await receiver.intake.drain(5)

    assert len(seen) == 5
    assert len(set(seen)) == 1


async def test_waiting_handlers_keep_their_context() -> None:
    seen: list[tuple[int, str]] = []

    async def handle(number: int) -> None:
        variable.set(str(number))
        for _ in range(number % 3):
            await asyncio.sleep(0)
        with pytest.raises(KeyError):
            await asyncio.wait_for(failing(), timeout=10)
        seen.append((number, variable.get()))

    async def failing() -> None:
        await asyncio.sleep(0)
        raise KeyError

    receiver = Receiver(handle)
    receiver.put(*range(6))
    await receiver.intake.drain(5)

    assert sorted(seen) == [(number, str(number)) for number in range(6)]


@pytest.mark.parametrize("waiting", [0, 1, 4])
async def test_waiting_handler_does_not_hold_up_the_others(waiting: int) -> None:
    release = asyncio.Event()
    handled: list[int] = []

    async def handle(number: int) -> None:
        if number == waiting:
            await release.wait()
        handled.append(number)

    receiver = Receiver(handle)
    receiver.put(*range(5))
    await turns()

    assert handled == [number for number in range(5) if number != waiting]
    release.set()
    await receiver.intake.drain(5)
    assert handled[-1] == waiting


async def test_waiting_handlers_have_a_task_each() -> None:
    tasks: list[asyncio.Task[Any] | None] = []
    release = asyncio.Event()

    async def handle(number: int) -> None:
        if number % 2:
            await release.wait()
            tasks.append(asyncio.current_task())

    receiver = Receiver(handle)
    receiver.put(*range(10))
    await turns()
    release.set()
    await receiver.intake.drain(5)

    assert len(set(tasks)) == 5


@pytest.mark.parametrize("first_waits", [False, True])
async def test_cancellation_of_one_handler_is_not_the_next_one_s(first_waits: bool) -> None:
    handled: list[int] = []

    async def handle(number: int) -> None:
        if number in {0, 2}:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            if first_waits:
                await asyncio.sleep(0)
            return
        await asyncio.sleep(0)
        handled.append(number)

    receiver = Receiver(handle)
    receiver.put(*range(4))
    await receiver.intake.drain(5)

    assert handled == [1, 3]
    expected = [(number, asyncio.CancelledError) for number in (0, 2)] if first_waits else []
    assert receiver.failed == expected


async def test_timeout_of_a_later_handler_cancels_it_alone() -> None:
    timed_out: list[int] = []

    async def handle(number: int) -> None:
        if number == 1:
            try:
                async with asyncio.timeout(0.001):
                    await asyncio.Event().wait()
            except TimeoutError:
                timed_out.append(number)

    receiver = Receiver(handle)
    receiver.put(0, 1, 2)

    assert await receiver.intake.drain(5) == []
    assert (timed_out, receiver.failed) == ([1], [])


async def test_failing_handlers_are_reported_and_stop_no_other() -> None:
    handled: list[int] = []

    class Odd(BaseException):
        pass

    async def handle(number: int) -> None:
        if number >= 4:
            await asyncio.sleep(0)
        errors: dict[int, type[BaseException]] = {
            0: KeyError,
            2: Odd,
            4: ValueError,
            5: asyncio.CancelledError,
        }
        if number in errors:
            raise errors[number]
        handled.append(number)

    receiver = Receiver(handle)
    receiver.put(*range(7))
    await receiver.intake.drain(5)

    assert handled == [1, 3, 6]
    assert receiver.failed == [(0, KeyError), (2, Odd), (4, ValueError), (5, asyncio.CancelledError)]


async def test_burst_that_does_not_wait_is_handled_beyond_the_limit() -> None:
    handled: list[int] = []

    async def handle(number: int) -> None:
        handled.append(number)

    receiver = Receiver(handle, limit=2, waits=False)
    receiver.put(*range(20))
    await turns()

    assert (handled, receiver.refused) == (list(range(20)), [])


async def test_burst_that_waits_is_refused_beyond_the_limit() -> None:
    release = asyncio.Event()
    receiver = Receiver(lambda _number: release.wait(), limit=2, waits=False)
    receiver.put(*range(5))
    await turns()

    assert receiver.refused == [2, 3, 4]
    assert receiver.intake.running == 2
    release.set()
    await receiver.intake.drain(1)


async def test_messages_over_the_limit_wait_and_keep_their_order() -> None:
    started: list[int] = []
    most = running = 0

    async def handle(number: int) -> None:
        nonlocal most, running
        started.append(number)
        running += 1
        most = max(most, running)
        for _ in range(number % 4):
            await asyncio.sleep(0)
        running -= 1

    receiver = Receiver(handle, limit=3)
    receiver.put(*range(50))
    await turns(3)
    receiver.put(*range(50, 60))

    assert await receiver.intake.drain(5) == []
    assert started == list(range(60))
    assert most <= 3


async def test_drain_cancels_work_after_the_timeout_and_returns_the_rest() -> None:
    receiver = Receiver(lambda _number: asyncio.Event().wait(), limit=2)
    receiver.put(*range(5))

    assert await receiver.intake.drain(0.001) == [2, 3, 4]
    assert sorted(receiver.failed) == [(0, asyncio.CancelledError), (1, asyncio.CancelledError)]
    assert receiver.intake.running == 0


async def test_drain_without_time_starts_what_has_arrived() -> None:
    handled: list[int] = []

    async def handle(number: int) -> None:
        handled.append(number)

    receiver = Receiver(handle)
    receiver.put(*range(5))

    assert await receiver.intake.drain(0) == []
    assert handled == list(range(5))


async def test_drain_leaves_work_behind_that_ignores_its_cancellation() -> None:
    release = asyncio.Event()

    async def stubborn(_number: int) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    receiver = Receiver(stubborn)
    receiver.put(1)
    with capture_logs() as log:
        started = asyncio.get_running_loop().time()
        assert await receiver.intake.drain(0) == []
        took = asyncio.get_running_loop().time() - started
    assert [(line["event"], line["left"]) for line in log] == [("catga.stop_failed", 1)]
    assert took < intake_module._CANCELLED_WITHIN + 1
    release.set()
    await receiver.intake.drain(5)
    assert receiver.intake.running == 0
