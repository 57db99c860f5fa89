"""`Worker`: a supervised loop that runs one turn after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from enum import StrEnum
from typing import Any

from catga_core.clock import Clock
from catga_core.log import STOP_FAILED, WORKER_FAILED, logger, traceback_of
from catga_core.option_checks import check_seconds
from catga_core.runtime.cancellation import being_cancelled, cancel_and_wait, cancelled_itself
from catga_core.runtime.deliveries import delivers_for
from catga_core.runtime.retry import RetryPolicy, jittered
from catga_core.runtime.tasks import background_task
from catga_core.runtime.waiter import Expectation, Waiter

CANCELLED_WITHIN = 10.0
"""Seconds that a cancelled turn has to end before `stop` leaves it behind."""


class WorkerState(StrEnum):
    """What a worker is doing."""

    CREATED = "created"
    RUNNING = "running"
    RETRYING = "retrying"
    """The last turn failed; the next one follows after a delay."""
    FAILED = "failed"
    """The retry policy allows no further attempt."""
    STOPPED = "stopped"


class Worker:
    """Runs `turn()` again and again in a task with an empty context, until it is stopped.

    After a turn the worker waits for `every` seconds, spread by 20 %, or until `wake()`. A turn that returns `True` has
    more to do and is run again at once. A turn that raises is logged and run again after the policy's delay; any turn that
    succeeds resets the count of failures. A wake-up during a turn is not lost: the next turn follows at once.

    `state`, `failures` (failed turns in a row) and `last_error` (of the last turn, `None` if it succeeded) are for health;
    `stopping` is set by `stop`: the turn that runs is the last one.

    Args:
        name: Name of the task and in the log.
        turn: Does one piece of work.
        every: Seconds between two turns; `None` waits for `wake()` alone.
        clock: Measures `every` and the delays: the container's clock, or `SystemClock()` for real time.
        first: Whether the first turn is run at once; otherwise it follows the first wait.
        retry: Delays after failed turns. With `max_attempts`, so many failures in a row end the worker as `FAILED`.
        idle: How to wait for so many seconds, where a store can report that there is work; by default the clock's sleep.
        on_error: Called with the error of a turn and the seconds until the next one, instead of the log line.
        on_end: Called once in the worker's task after the last turn, also when it is cancelled; see `being_cancelled`.
    """

    def __init__(
        self,
        name: str,
        turn: Callable[[], Awaitable[bool | None]],
        *,
        every: float | None,
        clock: Clock,
        first: bool = True,
        retry: RetryPolicy | None = None,
        idle: Callable[[float], Coroutine[Any, Any, object]] | None = None,
        on_error: Callable[[Exception, float], object] | None = None,
        on_end: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        check_seconds("every", every, least=0, optional=True, of=f"the worker {name!r}")
        self.name: str = name
        self.failures: int = 0
        self.stopping: bool = False
        self.last_error: str | None = None
        self.state: WorkerState = WorkerState.CREATED
        self._turn = turn
        self._every = every
        self._clock = clock
        self._first = first
        self._retry = RetryPolicy(max_attempts=None) if retry is None else retry
        self._idle = clock.sleep if idle is None else idle
        self._on_error = on_error
        self._on_end = on_end
        self._waiter = Waiter()
        self._wakeups = self._waiter.expect()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin in the background; a stopped worker may be started again.

        Raises:
            RuntimeError: The worker is running.
        """
        if self._task is not None and not self._task.done():
            msg = f"The worker {self.name!r} is already running. Stop it before you start it again."
            raise RuntimeError(msg)
        self._waiter = Waiter()
        # Opened here and not in the task, which has not begun when a caller wakes the worker right away.
        self._wakeups = self._waiter.expect()
        self.failures, self.last_error = 0, None
        self.stopping = False
        self.state = WorkerState.RUNNING
        self._task = background_task(self._run(), name=f"catga {self.name}", context=Context())

    def wake(self) -> None:
        """Run the next turn now instead of later."""
        self._waiter.wake()

    async def wait(self, work: Awaitable[object] | None = None, *, timeout: float | None = None) -> bool:
        """Wait within a turn, as `Expectation.wait` does: `wake()` and `stop()` end it, also when called before.

        Args:
            work: As in `Expectation.wait`.
            timeout: As in `Expectation.wait`.

        Returns:
            Whether the worker was woken or stopped.
        """
        return await self._wakeups.wait(work, timeout=timeout)

    def progressed(self) -> None:
        """Reset the count of failures within a turn that goes on: it has done some work."""
        self.failures, self.last_error = 0, None

    async def stop(self, *, cancel: bool = False) -> None:
        """Finish the turn that runs, and end; called from a turn, end after it.

        If this call is cancelled, the turn is cancelled too.

        Args:
            cancel: Whether to cancel the turn instead of waiting for it.
        """
        self.stopping = True
        self._waiter.close()
        task = self._task
        if task is None or delivers_for(task):
            return
        try:
            if not cancel:
                await asyncio.wait([task])
        finally:
            if not await cancel_and_wait(task, within=CANCELLED_WITHIN):
                reason = "A worker's turn continues after its cancellation. Let CancelledError pass."
                logger().error(STOP_FAILED, worker=self.name, reason=reason)
        if self.state is not WorkerState.FAILED:
            self.state = WorkerState.STOPPED

    async def _run(self) -> None:
        try:
            try:
                with self._wakeups as wakeups:
                    await self._loop(wakeups)
            finally:
                if self._on_end is not None:
                    await self._on_end()
        except Exception as error:  # noqa: BLE001 - a callback's error must not be lost with the task
            self.last_error, self.state = _describe(error), WorkerState.FAILED
            logger().error(WORKER_FAILED, worker=self.name, error=self.last_error, stack=traceback_of(error))

    async def _loop(self, wakeups: Expectation) -> None:
        waits = not self._first
        while not self.stopping:
            try:
                if waits:
                    waits = False
                    await self._wait(wakeups)
                else:
                    waits = not await self._turn()
                    self.failures, self.last_error, self.state = 0, None, WorkerState.RUNNING
                    # A turn may have awaited nothing; other tasks get a turn in any case.
                    await asyncio.sleep(0)
            except asyncio.CancelledError as error:
                if being_cancelled():
                    raise
                failed = cancelled_itself(self.name).with_traceback(error.__traceback__)
                await self._failed(failed, wakeups)
            except Exception as error:  # noqa: BLE001 - supervised: whatever it is, the next turn may succeed
                await self._failed(error, wakeups)
            if self.state is WorkerState.FAILED:
                return

    async def _wait(self, wakeups: Expectation) -> None:
        if self._every is None:
            await wakeups.wait()
        else:
            await wakeups.wait(self._idle(jittered(self._every)))

    async def _failed(self, error: Exception, wakeups: Expectation) -> None:
        self.failures += 1
        self.last_error = _describe(error)
        delay = self._retry.delay(self.failures)
        again = self._retry.allows(self.failures)
        self.state = WorkerState.RETRYING if again else WorkerState.FAILED
        if self._on_error is not None:
            self._on_error(error, delay)
        else:
            logger().error(
                WORKER_FAILED,
                worker=self.name,
                error=self.last_error,
                failures=self.failures,
                retry_in_seconds=round(delay, 3) if again else None,
                stack=traceback_of(error),
            )
        if again and not self.stopping:
            await wakeups.wait(self._clock.sleep(delay))


def _describe(error: BaseException) -> str:
    """Return an error's type and text in one line."""
    return f"{type(error).__name__}: {error}"
