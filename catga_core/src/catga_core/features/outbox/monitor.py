"""Watches the outbox, and raises an alarm when what is in it is not sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextvars import Context

from catga_core.clock import Clock
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.outbox import OutboxStats, OutboxStore
from catga_core.log import OUTBOX_MOVES_AGAIN, OUTBOX_STALLED, OUTBOX_UNREACHABLE, logger
from catga_core.runtime.retry import scattered

_LOOKS = 4  # how often it looks within the time after which it raises the alarm
_LONGEST = 15.0  # seconds between two looks at most


class OutboxMonitor:
    """A hosted service of every process that fills an outbox, also of those that do not relay.

    `health()` tells how many messages wait, for how long, and how many have failed before. When the oldest has waited
    longer than the alarm time, nobody sends it: health is degraded and a line is logged, once until it moves again.

    Parameters:
        outbox: gives the store as it is now.
        clock: the container's.
        alarm: seconds after which a message waits too long.
    """

    def __init__(self, outbox: Callable[[], OutboxStore], clock: Clock, alarm: float) -> None:
        self._outbox = outbox
        self._clock = clock
        self._alarm = alarm
        self._stats: OutboxStats | None = None
        self._stalled = False
        self._unreachable: str | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._watch(), context=Context())

    async def stop(self) -> None:
        """Stop watching."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])

    async def look(self) -> OutboxStats:
        """Ask the store once, now, and raise or lift the alarm; return what it says.

        Raises:
            CatgaError: when the store cannot be asked.
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
                hint="is a process with enable_outbox_relay running, and does its transport work?",
            )
        elif self._stalled and not stalled:
            logger().info(OUTBOX_MOVES_AGAIN, pending=stats.pending, retrying=stats.retrying)
        self._stalled = stalled
        self._unreachable = None
        return stats

    def health(self) -> Health:
        """Return how the outbox was at the last look, with the age of its oldest message as of now."""
        if self._unreachable is not None:
            return Health(HealthStatus.UNHEALTHY, f"the outbox could not be read: {self._unreachable}")
        stats = self._stats
        if stats is None:
            return Health(HealthStatus.HEALTHY, "not looked at yet")
        age = self._age(stats)
        details = {
            "pending": stats.pending,
            "retrying": stats.retrying,
            "oldest_age_seconds": age,
        }
        if self._stalled:
            text = f"messages wait in the outbox for longer than {self._alarm:g} s: nobody relays them"
            return Health(HealthStatus.DEGRADED, text, details)
        return Health(HealthStatus.HEALTHY, "", details)

    def _age(self, stats: OutboxStats) -> float | None:
        oldest = stats.oldest_created_at
        return None if oldest is None else max(self._clock.time() - oldest, 0.0)

    async def _watch(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - the storage may be back at the next look
                self._unreachable = f"{type(error).__name__}: {error}"
                logger().warning(OUTBOX_UNREACHABLE, error=self._unreachable)
            await self._clock.sleep(scattered(min(self._alarm / _LOOKS, _LONGEST)))
