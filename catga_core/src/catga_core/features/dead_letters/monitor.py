"""`DeadLetterMonitor`: watches the number of dead letters, and raises an alarm when it grows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from catga_core.clock import Clock
from catga_core.features.dead_letters.options import DeadLetterOptions
from catga_core.interfaces.dead_letters import DeadLetterFilter, DeadLetterSource, DeadLetterStore
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.log import (
    DEAD_LETTERS_GROW,
    DEAD_LETTERS_RECOVERED,
    DEAD_LETTERS_UNREACHABLE,
    logger,
)
from catga_core.runtime.retry import RetryPolicy
from catga_core.runtime.worker import Worker

_LOOKS = 20  # checks within the window
_MAX_INTERVAL_SECONDS = 15.0


class DeadLetterMonitor:
    """A hosted service: `health()` reports how many dead letters there are, by source.

    When there are too many, or too many more than at the beginning of the window, health is degraded and one line is
    logged; another one when neither is so any more.

    Args:
        letters: Returns the current store.
        clock: The container's clock.
        options: The limits.
    """

    def __init__(
        self, letters: Callable[[], DeadLetterStore], clock: Clock, options: DeadLetterOptions
    ) -> None:
        self._letters = letters
        self._clock = clock
        self._options = options
        self._counts: Mapping[str, int] | None = None
        self._alarm = ""
        # When so many were counted, over the window.
        self._past: deque[tuple[float, int]] = deque()
        interval = min(options.alarm_window_seconds / _LOOKS, _MAX_INTERVAL_SECONDS)
        self._worker = Worker(
            "dead letter monitor",
            self._turn,
            every=interval,
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

    async def look(self) -> Mapping[str, int]:
        """Count the dead letters now, and raise or lift the alarm.

        Returns:
            How many there are, by source; a source without any is left out.

        Raises:
            CatgaError: The store cannot be reached.
        """
        store = self._letters()
        counts: dict[str, int] = {}
        if await store.count():
            for source in DeadLetterSource:
                if found := await store.count(DeadLetterFilter(source=source)):
                    counts[source.value] = found
        total = sum(counts.values())
        alarm = self._alarm_of(total)
        if alarm and not self._alarm:
            logger().error(
                DEAD_LETTERS_GROW,
                reason=alarm,
                dead_letters=total,
                sources=counts,
                hint="List them with app.dead_letter_queue.find(), fix the cause, and call replay_all().",
            )
        elif self._alarm and not alarm:
            logger().info(DEAD_LETTERS_RECOVERED, dead_letters=total, sources=counts)
        self._alarm, self._counts = alarm, counts
        return counts

    def health(self) -> Health:
        """Return how many dead letters there were at the last check."""
        if self._worker.last_error is not None:
            return Health(
                HealthStatus.UNHEALTHY, f"the dead letters cannot be read: {self._worker.last_error}"
            )
        counts = self._counts
        if counts is None:
            return Health(HealthStatus.HEALTHY, "not checked yet")
        details = {"count": sum(counts.values()), "sources": dict(counts)}
        return Health(HealthStatus.DEGRADED if self._alarm else HealthStatus.HEALTHY, self._alarm, details)

    def _alarm_of(self, total: int) -> str:
        options, now = self._options, self._clock.monotonic()
        window = options.alarm_window_seconds
        self._past.append((now, total))
        while self._past[0][0] < now - window:
            self._past.popleft()
        if options.alarm_count is not None and total >= options.alarm_count:
            return f"there are {total} dead letters, and the alarm is at {options.alarm_count}"
        grown = total - min(count for _, count in self._past)
        if options.alarm_growth is not None and grown >= options.alarm_growth:
            return f"there are {grown} more dead letters than up to {window:g} s ago"
        return ""

    async def _turn(self) -> None:
        await self.look()


def _unreachable(error: Exception, delay: float) -> None:
    logger().warning(
        DEAD_LETTERS_UNREACHABLE,
        error=f"{type(error).__name__}: {error}",
        retry_in_seconds=round(delay, 3),
    )
