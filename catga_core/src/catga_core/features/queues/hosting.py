"""Runs the durable transport over a queue store, where it is the container's."""

from __future__ import annotations

from catga_core.features.queues.stored import StoredQueues
from catga_core.interfaces.durable_transport import DurableTransport
from catga_core.interfaces.health import Health, HealthStatus


class StoredQueuesHost:
    """Starts and stops `StoredQueues`; a durable transport of a plugin is hosted by itself.

    Args:
        transport: The container's durable transport.
    """

    def __init__(self, transport: DurableTransport) -> None:
        self._queues = transport if isinstance(transport, StoredQueues) else None

    async def start(self) -> None:
        """Begin to lease what is asked for."""
        if self._queues is not None:
            await self._queues.start()

    async def stop(self) -> None:
        """Lease nothing more."""
        if self._queues is not None:
            await self._queues.stop()

    def health(self) -> Health:
        """Return whether the store can be reached."""
        return Health(HealthStatus.HEALTHY) if self._queues is None else self._queues.health()
