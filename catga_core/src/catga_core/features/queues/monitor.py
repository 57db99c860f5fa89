"""`QueueMonitor`: watches the queues, and raises an alarm when due messages are not handled."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from catga_core.clock import Clock
from catga_core.interfaces.durable_transport import DurableTransport
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.queue import QueueStats
from catga_core.log import QUEUE_RECOVERED, QUEUE_STALLED, QUEUE_UNREACHABLE, logger
from catga_core.runtime.retry import RetryPolicy
from catga_core.runtime.worker import Worker

_LOOKS = 4  # checks within the alarm time
_MAX_INTERVAL_SECONDS = 15.0


class QueueMonitor:
    """A hosted service: `health()` reports how many messages wait in each queue, and for how long.

    When the oldest due message of a queue has waited longer than the alarm time, health is degraded and one line is logged;
    another one when the queue recovers. A held key degrades health too.

    Args:
        transport: Returns the current durable transport.
        clock: The container's clock.
        alarm: Seconds after which a message has waited too long.
    """

    def __init__(self, transport: Callable[[], DurableTransport], clock: Clock, alarm: float) -> None:
        self._transport = transport
        self._clock = clock
        self._alarm = alarm
        self._stats: Mapping[str, QueueStats] | None = None
        self._stalled: set[str] = set()
        interval = min(alarm / _LOOKS, _MAX_INTERVAL_SECONDS)
        self._worker = Worker(
            "queue monitor",
            self._turn,
            every=interval,
            # After the first pass of the consumers, which handle what waited while no process ran.
            first=False,
            clock=clock,
            retry=RetryPolicy(max_attempts=None, delay_seconds=interval, max_delay_seconds=interval),
            on_error=_unreachable,
        )

    async def start(self) -> None:
        """Begin to watch."""
        self._worker.start()

    async def stop(self) -> None:
        """Stop watching."""
        await self._worker.stop(cancel=True)

    async def look(self) -> Mapping[str, QueueStats]:
        """Query the queues now, and raise or lift the alarm of each.

        Returns:
            The state of each queue.

        Raises:
            CatgaError: The queues cannot be read.
        """
        stats = self._stats = await self._transport().stats()
        stalled = {name for name, each in stats.items() if self._age(each) > self._alarm}
        for name in sorted(stalled - self._stalled):
            each = stats[name]
            logger().error(
                QUEUE_STALLED,
                queue=name,
                ready=each.ready,
                retrying=each.retrying,
                held_keys=each.held_keys,
                oldest_age_seconds=round(self._age(each), 1),
                hint="Check that a process with the role 'work' and the queue's handler is running.",
            )
        for name in sorted(self._stalled - stalled):
            logger().info(QUEUE_RECOVERED, queue=name)
        self._stalled = stalled
        return stats

    def health(self) -> Health:
        """Return the state of the queues at the last check."""
        if self._worker.last_error is not None:
            return Health(HealthStatus.UNHEALTHY, f"the queues cannot be read: {self._worker.last_error}")
        if self._stats is None:
            return Health(HealthStatus.HEALTHY, "not checked yet")
        details = {
            name: {
                "ready": each.ready,
                "scheduled": each.scheduled,
                "leased": each.leased,
                "retrying": each.retrying,
                "held_keys": each.held_keys,
                "oldest_age_seconds": self._age(each) if each.oldest_at is not None else None,
            }
            for name, each in self._stats.items()
        }
        if self._stalled:
            text = f"messages have waited longer than {self._alarm:g} s in {', '.join(sorted(self._stalled))}"
            return Health(HealthStatus.DEGRADED, text, details)
        held = sorted(name for name, each in self._stats.items() if each.held_keys)
        if held:
            text = f"keys are held in {', '.join(held)}: replay or purge their dead letters"
            return Health(HealthStatus.DEGRADED, text, details)
        return Health(HealthStatus.HEALTHY, "", details)

    async def _turn(self) -> None:
        await self.look()

    def _age(self, stats: QueueStats) -> float:
        return 0.0 if stats.oldest_at is None else max(0.0, self._clock.time() - stats.oldest_at)


def _unreachable(error: Exception, delay: float) -> None:
    logger().error(
        QUEUE_UNREACHABLE, error=f"{type(error).__name__}: {error}", retry_in_seconds=round(delay, 3)
    )
