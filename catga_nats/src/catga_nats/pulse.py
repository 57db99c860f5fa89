"""Checks whether the server answers: one ping at a time; a ping without an answer ends the connection."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from catga_core.log import CONNECTION_ERROR, logger

if TYPE_CHECKING:
    from catga_nats.client import CatgaClient

_STALE_AFTER = 1.0  # seconds after which an unanswered ping is reported


class Pulse:
    """Measures the round trip, and disconnects from a server that hangs.

    Args:
        interval: Seconds until an unanswered ping ends the connection.
    """

    def __init__(self, interval: float) -> None:
        self.round_trip: float | None = None
        self.left: int = 0
        self._interval = interval
        self._ping: asyncio.Task[float] | None = None
        self._sent_at: float | None = None

    @property
    def stale_for(self) -> float | None:
        """Seconds since the ping that is still unanswered; `None` while the server answers."""
        if self._sent_at is None:
            return None
        age = time.monotonic() - self._sent_at
        return age if age > _STALE_AFTER else None

    def forget(self) -> None:
        """Expect no answer to the last ping: its connection is closed."""
        if self._ping is not None:
            self._ping.cancel()
        self._ping = self._sent_at = None

    async def beat(self, client: CatgaClient) -> None:
        """Send one ping and wait for its answer, at most for the interval.

        Args:
            client: The connected client.
        """
        ping = self._ping = asyncio.create_task(client.rtt(timeout=1 << 20))
        self._sent_at = time.monotonic()
        await asyncio.wait({ping}, timeout=self._interval)
        if ping.done():
            if not ping.cancelled() and ping.exception() is None:
                self.round_trip = ping.result()
        elif self._ping is ping:
            self.left += 1
            text = f"The server did not answer a ping within {self._interval:g} s. Disconnecting from it."
            logger().warning(CONNECTION_ERROR, error=text)
            client.abort()
        if self._ping is ping:
            self.forget()
