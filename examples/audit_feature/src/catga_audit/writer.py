"""The worker that stores entries in batches."""

from __future__ import annotations

from catga_core import Clock, Health, HealthStatus
from catga_core.runtime import Worker

from .trail import AuditTrail


class AuditWriter:
    """A hosted service that stores the entries of a trail, and drains it when the container stops.

    The container stops it after the last message in flight, and its store after it, so a stop loses no entry.

    Args:
        trail: Collects the entries.
        clock: The container's clock.
        flush_seconds: Seconds between two calls of the store.
    """

    def __init__(self, trail: AuditTrail, clock: Clock, flush_seconds: float) -> None:
        self._trail = trail
        self._worker = Worker(
            "audit_writer", trail.write_batch, every=flush_seconds, clock=clock, first=False
        )

    async def start(self) -> None:
        """Begin to collect entries."""
        self._worker.start()
        self._trail.open(self._worker.wake)

    async def stop(self) -> None:
        """Store what has been collected.

        Raises:
            Exception: The error of the store, with a note of how many entries were lost.
        """
        self._trail.close()
        await self._worker.stop()
        await self._trail.drain()

    def health(self) -> Health:
        """Return whether the last batch could be stored."""
        details = {"waiting": self._trail.waiting}
        error = self._worker.last_error
        if error is not None:
            return Health(HealthStatus.DEGRADED, f"Audit entries could not be stored: {error}", details)
        return Health(HealthStatus.HEALTHY, "", details)
