"""`SagaWorker`: takes over due sagas, and releases those of this process when it stops."""

from __future__ import annotations

from collections.abc import Callable

from catga_core.clock import Clock
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.saga_store import SagaStore
from catga_core.log import SAGA_RECOVERY_FAILED, logger
from catga_core.runtime.retry import RetryPolicy
from catga_core.runtime.worker import Worker
from catga_core.sagas.executor import SagaExecutor
from catga_core.sagas.options import SagaOptions


class SagaWorker:
    """Hosted service that runs the sagas of this process and resumes abandoned ones.

    Args:
        executor: Knows the registered sagas.
        store: Returns the current store.
        clock: The container's clock.
        options: The concurrency and the poll interval.
        shutdown_timeout: Returns the longest duration of a stop, in seconds.
    """

    def __init__(
        self,
        executor: SagaExecutor,
        store: Callable[[], SagaStore],
        clock: Clock,
        options: SagaOptions,
        shutdown_timeout: Callable[[], float],
    ) -> None:
        self._executor = executor
        self._runs = executor.runs
        self._store = store
        self._clock = clock
        self._options = options
        self._shutdown_timeout = shutdown_timeout
        self._worker = Worker(
            "sagas",
            self._take,
            every=options.poll_seconds,
            clock=clock,
            retry=RetryPolicy(max_attempts=None, delay_seconds=0.2, max_delay_seconds=options.lease_seconds),
            idle=self._wait,
            on_error=_failed,
        )

    async def start(self) -> None:
        """Start to take over sagas."""
        self._runs.start()
        if self._executor.kinds:
            self._worker.start()

    async def stop(self) -> None:
        """Take over no further saga; release the running ones after their current steps."""
        await self._worker.stop(cancel=True)
        await self._runs.stop(self._shutdown_timeout() / 2)

    def health(self) -> Health:
        """Return whether sagas can be taken over, and the number of running ones."""
        counters = self._executor.counters
        ended = {state.value: count for state, count in counters.ended.items()}
        details = {
            "running": self._runs.count,
            "resumed": counters.resumed,
            "retried": counters.retried,
            **ended,
        }
        if self._worker.failures:
            text = f"sagas cannot be resumed: {self._worker.last_error}"
            return Health(HealthStatus.UNHEALTHY, text, details)
        return Health(HealthStatus.HEALTHY, "", details)

    async def _take(self) -> bool:
        free = self._options.concurrency - self._runs.count
        if free <= 0:
            return False
        began = self._clock.monotonic()
        # Only a share of them, so that other processes get theirs.
        limit = min(free, max(1, self._options.concurrency // 10))
        taken = await self._store().take(self._executor.kinds, limit=limit, lease=self._options.lease_seconds)
        for claimed in taken:
            self._runs.run(claimed, began)
        self._executor.counters.resumed += len(taken)
        return len(taken) == limit

    async def _wait(self, seconds: float) -> None:
        if self._runs.count >= self._options.concurrency:
            await self._runs.ended.wait(timeout=seconds)
            return
        await self._store().wait(self._executor.kinds, timeout=seconds)


def _failed(error: Exception, delay: float) -> None:
    logger().error(
        SAGA_RECOVERY_FAILED, error=f"{type(error).__name__}: {error}", retry_in_seconds=round(delay, 3)
    )
