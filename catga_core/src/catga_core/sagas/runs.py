"""`SagaRuns`: the sagas that this process runs, and the one timer that renews all their leases."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

from catga_core.clock import Clock
from catga_core.errors import PersistenceError
from catga_core.interfaces.saga_records import ClaimedSaga, SagaRenewal
from catga_core.interfaces.saga_store import SagaStore
from catga_core.log import SAGA_RECOVERY_FAILED, logger, traceback_of
from catga_core.runtime.retry import RetryPolicy
from catga_core.runtime.tasks import background_task
from catga_core.runtime.waiter import Waiter
from catga_core.runtime.worker import Worker
from catga_core.sagas.rehearsal import Rehearsal
from catga_core.sagas.run import SagaRun
from catga_core.sagas.saga import Saga


class SagaRuns:
    """The running sagas of a process.

    Args:
        store: Returns the current store.
        begin: Makes the run of a claimed saga.
        clock: The container's clock.
        lease: Seconds of a lease.
    """

    def __init__(
        self,
        store: Callable[[], SagaStore],
        begin: Callable[[ClaimedSaga, Saga[Any, Any] | None], SagaRun],
        clock: Clock,
        lease: float,
    ) -> None:
        self.ended: Waiter = Waiter()
        self._store = store
        self._begin = begin
        self._clock = clock
        self._lease = lease
        self._runs: dict[str, SagaRun] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # When each lease was taken or last renewed, by the monotonic clock, from before the call.
        self._held_from: dict[str, float] = {}
        self._stopping = False
        self.working: bool = False
        self._renewing = Worker(
            "saga leases",
            self._renew,
            every=lease / 3,
            clock=clock,
            first=False,
            retry=RetryPolicy(max_attempts=None, delay_seconds=lease / 10, max_delay_seconds=lease / 10),
        )

    @property
    def count(self) -> int:
        """The number of running sagas."""
        return len(self._runs)

    def __contains__(self, transaction_id: str) -> bool:
        return transaction_id in self._runs

    def start(self) -> None:
        """Start to renew leases."""
        self._stopping = False
        self.working = True
        self._renewing.start()

    def run(self, claimed: ClaimedSaga, began: float, saga: Saga[Any, Any] | None = None) -> SagaRun:
        """Run a claimed saga in the background, and return its run.

        Args:
            claimed: The saga.
            began: `clock.monotonic()` from before the call that claimed it.
            saga: Its object; `None` for one of the container's.
        """
        run = self._begin(claimed, saga)
        if (former := self._runs.get(run.id)) is not None:
            # This process was suspended for so long that it took over its own saga.
            former.lose()
        self._runs[run.id] = run
        self._held_from[run.id] = began
        if self._stopping:
            run.hand_back()
        self._tasks[run.id] = background_task(self._run(run), name=f"catga saga {run.id}", context=Context())
        return run

    async def rehearse(self, claimed: ClaimedSaga) -> Rehearsal:
        """Run the code of a claimed saga along a journal, and nothing behind it.

        Args:
            claimed: The saga, with the journal.
        """
        return await self._begin(claimed, None).rehearse()

    def notify(self, topic: str) -> None:
        """Wake the sagas of this process that wait for a signal."""
        for run in self._runs.values():
            run.notify(topic)

    def interrupt(self, transaction_id: str) -> None:
        """Cancel a saga that runs here."""
        run = self._runs.get(transaction_id)
        if run is not None:
            run.interrupt()

    async def wait(self, transaction_id: str, timeout: float | None) -> None:
        """Wait for the end of a run, at most for a number of real seconds."""
        task = self._tasks.get(transaction_id)
        if task is None:
            return
        # Not the task itself: that may be cancelled, which does not cancel who waits.
        await asyncio.wait([task], timeout=timeout)

    async def stop(self, within: float) -> None:
        """Release every saga at its next operation; cancel steps that take too long.

        Args:
            within: Real seconds for the steps that run.
        """
        self._stopping = True
        self.working = False
        for run in list(self._runs.values()):
            run.hand_back()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=within)
        for run in list(self._runs.values()):
            run.abandon()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=within)
        await self._renewing.stop()

    # --- parts ---

    async def _run(self, run: SagaRun) -> None:
        try:
            await run.run()
        except Exception as error:  # noqa: BLE001 - its lease runs out, and a process goes on
            self._report(run, error)
        finally:
            if self._runs.get(run.id) is run:
                del self._runs[run.id], self._tasks[run.id], self._held_from[run.id]
            self.ended.wake()

    def _report(self, run: SagaRun, error: Exception) -> None:
        logger().error(
            SAGA_RECOVERY_FAILED,
            transaction_id=run.id,
            error=f"{type(error).__name__}: {error}",
            stack=traceback_of(error),
        )

    async def _renew(self) -> None:
        runs = dict(self._runs)
        if not runs:
            return
        began = self._clock.monotonic()
        try:
            answer = await self._in_time(
                self._store().renew([run.claimed.claim for run in runs.values()], lease=self._lease)
            )
        except Exception:
            # A store that is unavailable or does not answer does not extend the lease.
            self._lose_expired()
            raise
        for transaction_id, run in runs.items():
            if self._runs.get(transaction_id) is not run:
                continue
            if transaction_id in answer.lost:
                run.lose()
                continue
            self._held_from[transaction_id] = began
            if transaction_id in answer.cancelling:
                run.interrupt()

    async def _in_time(self, renewing: Awaitable[SagaRenewal]) -> SagaRenewal:
        """Await a renewal until a next one is due, or a lease runs out: the steps of that saga must not go on.

        Raises:
            PersistenceError: The store has not answered by then.
        """
        left = min(self._held_from.values()) + self._lease - self._clock.monotonic()
        limit = max(0.0, min(self._lease / 3, left))
        running = asyncio.ensure_future(renewing)
        timer = asyncio.ensure_future(self._clock.sleep(limit))
        try:
            await asyncio.wait([running, timer], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                return running.result()
        finally:
            running.cancel()
            timer.cancel()
        text = f"The store has not answered the renewal of leases within {limit:.3g} s."
        raise PersistenceError(text, retryable=True)

    def _lose_expired(self) -> None:
        now = self._clock.monotonic()
        for transaction_id, run in list(self._runs.items()):
            if now - self._held_from[transaction_id] >= self._lease:
                run.lose()
