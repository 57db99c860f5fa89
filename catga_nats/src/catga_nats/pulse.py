"""Whether the server still answers: one ping at a time, and a cut where none comes back."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from catga_core.log import CONNECTION_ERROR, logger

if TYPE_CHECKING:
    from catga_nats.client import CatgaClient

_STALE_AFTER = 1.0  # seconds after which an unanswered ping is worth telling


class Pulse:
    """Measures the round trip, and leaves a server that hangs.

    Parameters:
        interval: seconds between two pings, and until an unanswered one ends the connection.
    """

    def __init__(self, interval: float) -> None:
        self.round_trip: float | None = None
        self.left: int = 0
        self._interval = interval
        self._ping: asyncio.Task[float] | None = None
        self._sent_at: float | None = None

    @property
    def stale_for(self) -> float | None:
        """Seconds since the ping that is still unanswered, `None` while all is well."""
        if self._sent_at is None:
            return None
        age = time.monotonic() - self._sent_at
        return age if age > _STALE_AFTER else None

    def forget(self) -> None:
        """Expect no answer to the last ping: its connection is gone."""
        if self._ping is not None:
            self._ping.cancel()
        self._ping = self._sent_at = None

    async def beat(self, client: CatgaClient) -> None:
        """Send one ping and wait for its answer, an interval at the most."""
        ping = self._ping = asyncio.create_task(client.rtt(timeout=1 << 20))
        self._sent_at = time.monotonic()
        await asyncio.wait({ping}, timeout=self._interval)
        if ping.done():
            if not ping.cancelled() and ping.exception() is None:
                self.round_trip = ping.result()
        elif self._ping is ping:
            self.left += 1
            text = f"no answer to a ping within {self._interval:g} s: leaving this server"
            logger().warning(CONNECTION_ERROR, error=text)
            client.abort()
        if self._ping is ping:
            self.forget()
