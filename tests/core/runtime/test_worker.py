"""`Worker`: one turn after the other, woken or polling, supervised, stopped cleanly."""

from __future__ import annotations

import asyncio
import contextvars

import pytest
from structlog.testing import capture_logs

from catga_core.clock import SystemClock
from catga_core.runtime import RetryPolicy, Worker, WorkerState, being_cancelled
from catga_core.runtime import worker as worker_module
from catga_testing import ManualClock
from catga_testing.waiting import eventually

STEADY = RetryPolicy(max_attempts=None, delay_seconds=1, max_delay_seconds=4, jitter=0)


class Turns:
    """Counts turns, holds them, and fails those it is told to."""

    def __init__(self) -> None:
        self.count = 0
        self.ended = 0
        self.cancelled = 0
        self.errors: list[BaseException] = []
        self.more = 0
        self.hold = False
        self.open = asyncio.Event()
        self.inside = asyncio.Event()

    async def reached(self, count: int) -> None:
        await eventually(lambda: self.count == count)

    async def __call__(self) -> bool:
        self.count += 1
        if self.errors:
            raise self.errors.pop(0)
        if self.hold:
            self.inside.set()
            try:
                await self.open.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        self.ended += 1
        self.more -= 1
        return self.more >= 0


async def test_turns_follow_at_the_interval_of_the_clock() -> None:
    clock, turns = ManualClock(), Turns()
    worker = Worker("test", turns, every=10, clock=clock)
    worker.start()
    for number in range(1, 5):
        await clock.sleeping()
        assert turns.count == number
        assert 8 <= clock.sleepers[0] <= 12
        clock.advance(12)
        await turns.reached(number + 1)
    await worker.stop()


async def test_first_turn_may_follow_the_first_wait() -> None:
    clock, turns = ManualClock(), Turns()
    worker = Worker("test", turns, every=10, clock=clock, first=False)
    worker.start()
    await clock.sleeping()
    assert turns.count == 0
    clock.advance(12)
    await eventually(lambda: turns.count == 1)
    await worker.stop()


async def test_wake_runs_the_next_turn_now() -> None:
    clock, turns = ManualClock(), Turns()
    worker = Worker("test", turns, every=3600, clock=clock)
    worker.start()
    await clock.sleeping()

    worker.wake()

    await eventually(lambda: turns.count == 2)
    await worker.stop()
    assert clock.sleepers == []


async def test_wake_during_a_turn_is_not_lost() -> None:
    turns = Turns()
    turns.hold = True
    worker = Worker("test", turns, every=None, clock=SystemClock())
    worker.start()
    await turns.inside.wait()

    worker.wake()
    turns.hold = False
    turns.open.set()

    await eventually(lambda: turns.count == 2)
    await worker.stop()


async def test_worker_without_interval_waits_for_wake_alone() -> None:
    turns = Turns()
    worker = Worker("test", turns, every=None, clock=SystemClock())
    worker.start()
    for number in range(1, 4):
        await turns.reached(number)
        worker.wake()
    await eventually(lambda: turns.count == 4)
    await worker.stop()
    assert turns.count == 4


async def test_turn_with_more_to_do_is_run_again_at_once() -> None:
    clock, turns = ManualClock(), Turns()
    turns.more = 5
    worker = Worker("test", turns, every=3600, clock=clock)
    worker.start()
    await clock.sleeping()
    assert turns.count == 6
    await worker.stop()


async def test_turn_that_awaits_nothing_can_be_stopped() -> None:
    turns = Turns()
    turns.more = 10**9
    worker = Worker("test", turns, every=None, clock=SystemClock())
    worker.start()
    await eventually(lambda: turns.count > 10)
    await worker.stop()
    assert worker.state is WorkerState.STOPPED


async def test_idle_waits_for_news_and_is_cancelled_by_wake() -> None:
    turns, asked, cancelled = Turns(), list[float](), 0
    news = asyncio.Event()

    async def idle(seconds: float) -> None:
        nonlocal cancelled
        asked.append(seconds)
        try:
            await news.wait()
        except asyncio.CancelledError:
            cancelled += 1
            raise

    worker = Worker("test", turns, every=10, clock=ManualClock(), idle=idle)
    worker.start()
    await eventually(lambda: len(asked) == 1)
    assert 8 <= asked[0] <= 12
    worker.wake()
    await eventually(lambda: len(asked) == 2)
    assert (turns.count, cancelled) == (2, 1)
    news.set()
    await eventually(lambda: turns.count >= 3)
    await worker.stop()


async def test_failed_turn_is_logged_and_retried_with_the_policy() -> None:
    clock, turns = ManualClock(), Turns()
    turns.errors = [OSError("away"), OSError("away"), OSError("away"), OSError("still away")]
    worker = Worker("test", turns, every=100, clock=clock, retry=STEADY)
    with capture_logs() as log:
        worker.start()
        for delay in (1, 2, 4, 4):
            await clock.sleeping()
            assert clock.sleepers == [delay]
            assert worker.state is WorkerState.RETRYING
            clock.advance(delay)
            await asyncio.sleep(0)
        await eventually(lambda: turns.ended == 1)
    lines = [line for line in log if line["event"] == "catga.worker_failed"]
    assert [(line["worker"], line["failures"], line["retry_in_seconds"]) for line in lines] == [
        ("test", 1, 1),
        ("test", 2, 2),
        ("test", 3, 4),
        ("test", 4, 4),
    ]
    assert lines[-1]["error"] == "OSError: still away"
    assert (worker.state, worker.failures, worker.last_error) == (WorkerState.RUNNING, 0, None)
    await worker.stop()


async def test_failed_turn_tells_its_last_error() -> None:
    clock, turns = ManualClock(), Turns()
    turns.errors = [OSError("away")]
    worker = Worker("test", turns, every=100, clock=clock, retry=STEADY)
    worker.start()
    await clock.sleeping()
    assert (worker.failures, worker.last_error) == (1, "OSError: away")
    await worker.stop()


async def test_own_error_callback_replaces_the_log_line() -> None:
    clock, turns, told = ManualClock(), Turns(), list[tuple[str, float]]()
    turns.errors = [OSError("away")]
    worker = Worker(
        "test",
        turns,
        every=100,
        clock=clock,
        retry=STEADY,
        on_error=lambda error, delay: told.append((str(error), delay)),
    )
    with capture_logs() as log:
        worker.start()
        await clock.sleeping()
    await worker.stop()
    assert told == [("away", 1)]
    assert log == []


async def test_error_of_idle_is_retried_like_a_turn() -> None:
    clock, turns = ManualClock(), Turns()

    async def idle(seconds: float) -> None:
        raise OSError("away")

    worker = Worker("test", turns, every=10, clock=clock, idle=idle, retry=STEADY, on_error=lambda *_: None)
    worker.start()
    await clock.sleeping()
    assert (turns.count, worker.state) == (1, WorkerState.RETRYING)
    clock.advance(1)
    await eventually(lambda: turns.count == 2)
    await worker.stop()


async def test_exhausted_policy_ends_the_worker_as_failed() -> None:
    clock, turns = ManualClock(), Turns()
    turns.errors = [OSError("away"), OSError("away")]
    worker = Worker("test", turns, every=1, clock=clock, retry=RetryPolicy(max_attempts=2, delay_seconds=0))
    worker.start()
    await eventually(lambda: worker.state is WorkerState.FAILED)
    await worker.stop()
    assert (worker.state, worker.last_error, turns.count) == (WorkerState.FAILED, "OSError: away", 2)


async def test_cancellation_from_inside_a_turn_is_a_failure() -> None:
    clock, turns = ManualClock(), Turns()
    turns.errors = [asyncio.CancelledError()]
    worker = Worker("test", turns, every=100, clock=clock, retry=STEADY)
    worker.start()
    await clock.sleeping()
    assert worker.state is WorkerState.RETRYING
    clock.advance(1)
    await eventually(lambda: turns.ended == 1)
    await worker.stop()


async def test_error_of_a_callback_ends_the_worker_as_failed() -> None:
    turns = Turns()
    turns.errors = [OSError("away")]

    def broken(_error: Exception, _delay: float) -> None:
        raise KeyError("callback")

    worker = Worker("test", turns, every=1, clock=ManualClock(), on_error=broken)
    with capture_logs() as log:
        worker.start()
        await eventually(lambda: worker.state is WorkerState.FAILED)
    await worker.stop()
    assert [line["event"] for line in log] == ["catga.worker_failed"]


async def test_stop_finishes_the_turn() -> None:
    turns = Turns()
    turns.hold = True
    worker = Worker("test", turns, every=None, clock=SystemClock())
    worker.start()
    await turns.inside.wait()
    stopping = asyncio.create_task(worker.stop())
    await asyncio.sleep(0)
    assert worker.stopping
    assert not stopping.done()

    turns.open.set()
    await stopping

    assert (turns.count, turns.ended, turns.cancelled) == (1, 1, 0)
    assert worker.state is WorkerState.STOPPED


async def test_stop_with_cancel_cancels_the_turn() -> None:
    turns = Turns()
    turns.hold = True
    worker = Worker("test", turns, every=None, clock=SystemClock())
    worker.start()
    await turns.inside.wait()

    await worker.stop(cancel=True)

    assert (turns.ended, turns.cancelled) == (0, 1)
    assert worker.state is WorkerState.STOPPED


async def test_cancelled_stop_cancels_the_turn() -> None:
    turns = Turns()
    turns.hold = True
    worker = Worker("test", turns, every=None, clock=SystemClock())
    worker.start()
    await turns.inside.wait()
    stopping = asyncio.create_task(worker.stop())
    await asyncio.sleep(0)

    stopping.cancel()
    await asyncio.wait([stopping])

    assert stopping.cancelled()
    assert turns.cancelled == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_turn_that_ignores_its_cancellation_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "CANCELLED_WITHIN", 0.001)
    inside, release = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        inside.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    worker = Worker("test", stubborn, every=None, clock=SystemClock())
    worker.start()
    await inside.wait()
    with capture_logs() as log:
        await worker.stop(cancel=True)
    assert [(line["event"], line["worker"]) for line in log] == [("catga.stop_failed", "test")]
    release.set()
    await worker.stop()


async def test_stop_ends_a_pause_between_failures() -> None:
    clock, turns = ManualClock(), Turns()
    turns.errors = [OSError("away")]
    worker = Worker("test", turns, every=100, clock=clock, on_error=lambda *_: None)
    worker.start()
    await clock.sleeping()
    await worker.stop()
    assert clock.sleepers == []
    assert turns.count == 1


async def test_stop_from_inside_a_turn_ends_after_it() -> None:
    count = 0

    async def turn() -> bool:
        nonlocal count
        count += 1
        await worker.stop()
        return True

    worker = Worker("test", turn, every=None, clock=SystemClock())
    worker.start()
    await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()})
    await worker.stop()
    assert count == 1


async def test_stop_without_start_and_twice_does_nothing() -> None:
    worker = Worker("test", Turns(), every=None, clock=SystemClock())
    states = [worker.state]
    await worker.stop()
    states.append(worker.state)
    worker.start()
    states.append(worker.state)
    await asyncio.gather(worker.stop(), worker.stop())
    await worker.stop()
    states.append(worker.state)
    assert states == ["created", "created", "running", "stopped"]


async def test_wakeup_right_after_the_start_is_not_lost() -> None:
    turns = Turns()
    worker = Worker("test", turns, every=None, clock=SystemClock(), first=False)
    worker.start()
    worker.wake()
    await turns.reached(1)
    await worker.stop()


async def test_stopped_worker_starts_again() -> None:
    turns = Turns()
    worker = Worker("test", turns, every=None, clock=SystemClock())
    for number in (1, 2):
        worker.start()
        await turns.reached(number)
        await worker.stop()
    assert turns.count == 2


async def test_running_worker_refuses_a_second_start() -> None:
    worker = Worker("relay", Turns(), every=None, clock=SystemClock())
    worker.start()
    with pytest.raises(RuntimeError, match="'relay' is already running"):
        worker.start()
    await worker.stop()


async def test_turn_has_an_empty_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []

    async def turn() -> None:
        seen.append(variable.get())

    variable.set("the starter's")
    worker = Worker("test", turn, every=None, clock=SystemClock())
    worker.start()
    await eventually(lambda: seen)
    await worker.stop()
    assert seen == ["none"]


async def test_end_callback_runs_after_the_last_turn() -> None:
    turns, ends = Turns(), list[tuple[int, bool]]()

    async def on_end() -> None:
        ends.append((turns.ended, being_cancelled()))

    for cancel in (False, True):
        turns.hold = cancel
        worker = Worker("test", turns, every=None, clock=SystemClock(), on_end=on_end)
        worker.start()
        await eventually(lambda: turns.count == len(ends) + 1)
        await worker.stop(cancel=cancel)
    assert ends == [(1, False), (1, True)]


async def test_failed_end_callback_is_logged() -> None:
    async def on_end() -> None:
        raise OSError("away")

    worker = Worker("test", Turns(), every=None, clock=SystemClock(), on_end=on_end)
    worker.start()
    with capture_logs() as log:
        await worker.stop()
    assert [line["event"] for line in log] == ["catga.worker_failed"]
    assert worker.state is WorkerState.FAILED


async def test_wake_and_stop_end_a_wait_within_a_turn() -> None:
    outcomes: list[bool] = []

    async def turn() -> bool:
        outcomes.append(await worker.wait(timeout=60))
        return True

    worker = Worker("test", turn, every=None, clock=SystemClock())
    worker.start()
    await asyncio.sleep(0)
    worker.wake()
    await eventually(lambda: len(outcomes) == 1)
    await worker.stop()
    assert outcomes == [True, True]


async def test_wake_before_a_wait_within_a_turn_is_not_lost() -> None:
    outcomes: list[bool] = []

    async def turn() -> None:
        worker.wake()
        outcomes.append(await worker.wait(timeout=60))
        outcomes.append(await worker.wait(timeout=0))

    worker = Worker("test", turn, every=None, clock=SystemClock())
    worker.start()
    await eventually(lambda: len(outcomes) == 2)
    await worker.stop()
    assert outcomes == [True, False]


async def test_progress_within_a_turn_resets_the_count_of_failures() -> None:
    counts: list[int] = []

    async def turn() -> None:
        if len(counts) == 2:
            worker.progressed()
        raise OSError("away")

    worker = Worker(
        "test",
        turn,
        every=None,
        clock=SystemClock(),
        retry=RetryPolicy(max_attempts=None, delay_seconds=0.001, max_delay_seconds=0.001),
        on_error=lambda _error, _delay: counts.append(worker.failures),
    )
    worker.start()
    await eventually(lambda: len(counts) >= 4)
    await worker.stop()
    assert counts[:4] == [1, 2, 1, 2]
