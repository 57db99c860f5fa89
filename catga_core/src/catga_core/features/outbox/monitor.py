"""`OutboxMonitor`: watches the outbox, and raises an alarm when its messages are not sent."""

from __future__ import annotations

from collections.abc import Callable

from catga_core.clock import Clock
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.outbox import OutboxStats, OutboxStore
from catga_core.log import OUTBOX_RECOVERED, OUTBOX_STALLED, OUTBOX_UNREACHABLE, logger
from catga_core.runtime.retry import RetryPolicy
from catga_core.runtime.worker import Worker

_LOOKS = 4  # checks within the alarm time
_MAX_INTERVAL_SECONDS = 15.0


class OutboxMonitor:
    """A hosted service of every process that fills an outbox, whether it relays or not.

    `health()` reports how many messages wait, for how long, and how many have failed before. When the oldest message has
    waited longer than the alarm time, health is degraded and one line is logged; another one when the outbox recovers.

    Args:
        outbox: Returns the current store.
        clock: The container's clock.
        alarm: Seconds after which a message has waited too long.
    """

    def __init__(self, outbox: Callable[[], OutboxStore], clock: Clock, alarm: float) -> None:
        self._outbox = outbox
        self._clock = clock
        self._alarm = alarm
        self._stats: OutboxStats | None = None
        self._stalled = False
        interval = min(alarm / _LOOKS, _MAX_INTERVAL_SECONDS)
        self._worker = Worker(
            "outbox monitor",
            self._turn,
            every=interval,
            # After the relay's first pass, which sends what waited while no process ran.
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

    async def look(self) -> OutboxStats:
        """Query the store now, and raise or lift the alarm.

        Returns:
            The state of the outbox.

        Raises:
            CatgaError: The store cannot be reached.
        """
        stats = self._stats = await self._outbox().stats()
        age = self._age(stats)
        stalled = age is not None and age > self._alarm
        if stalled and not self._stalled:
            logger().error(
                OUTBOX_STALLED,
                pending=stats.pending,
                retrying=stats.retrying,
                oldest_age_seconds=None if age is None else round(age, 1),
                hint="Check that a process with enable_outbox_relay is running and that its transport is connected.",
            )
        elif self._stalled and not stalled:
            logger().info(OUTBOX_RECOVERED, pending=stats.pending, retrying=stats.retrying)
        self._stalled = stalled
        return stats

    def health(self) -> Health:
        """Return the state of the outbox at the last check, with the age of its oldest message as of now."""
        if self._worker.last_error is not None:
            return Health(HealthStatus.UNHEALTHY, f"the outbox cannot be read: {self._worker.last_error}")
        stats = self._stats
        if stats is None:
            return Health(HealthStatus.HEALTHY, "not checked yet")
        details = {
            "pending": stats.pending,
            "retrying": stats.retrying,
            "oldest_age_seconds": self._age(stats),
        }
        if self._stalled:
            text = (
                f"messages have waited in the outbox for longer than {self._alarm:g} s; no relay sends them"
            )
            return Health(HealthStatus.DEGRADED, text, details)
        return Health(HealthStatus.HEALTHY, "", details)

    def _age(self, stats: OutboxStats) -> float | None:
        oldest = stats.oldest_created_at
        return None if oldest is None else max(self._clock.time() - oldest, 0.0)

    async def _turn(self) -> None:
        await self.look()


def _unreachable(error: Exception, delay: float) -> None:
    logger().warning(
        OUTBOX_UNREACHABLE, error=f"{type(error).__name__}: {error}", retry_in_seconds=round(delay, 3)
    )
