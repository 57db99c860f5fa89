"""Checks whether the server answers: one ping at a time; a ping without an answer ends the connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from catga_core.log import CONNECTION_ERROR, logger
from catga_core.runtime import background_task

if TYPE_CHECKING:
    from catga_nats.client import CatgaClient

_STALE_AFTER = 1.0  # seconds after which an unanswered ping is reported


class Pulse:
    """Measures the round trip, and disconnects from a server that hangs.

    Args:
        interval: Seconds until an unanswered ping ends the connection.
        on_stale: Called when a ping has been unanswered for a second.
    """

    def __init__(self, interval: float, on_stale: Callable[[], object]) -> None:
        self.round_trip: float | None = None
        self.left: int = 0
        self._interval = interval
        self._on_stale = on_stale
        self._stale = False
        self._ping: asyncio.Task[float] | None = None
        self._sent_at: float | None = None

    @property
    def stale_for(self) -> float | None:
        """Seconds since the ping that is still unanswered; `None` while the server answers."""
        if self._sent_at is None or not self._stale:
            return None
        return time.monotonic() - self._sent_at

    def forget(self) -> None:
        """Expect no answer to the last ping: its connection is closed."""
        if self._ping is not None:
            self._ping.cancel()
        self._ping = self._sent_at = None
        self._stale = False

    async def beat(self, client: CatgaClient) -> None:
        """Send one ping and wait for its answer, at most for the interval.

        Args:
            client: The connected client.
        """
        ping = self._ping = background_task(client.rtt(timeout=1 << 20))
        self._sent_at = time.monotonic()
        self._stale = False
        first = min(self._interval, _STALE_AFTER)
        await asyncio.wait({ping}, timeout=first)
        if not ping.done() and first < self._interval and self._ping is ping:
            self._stale = True
            self._on_stale()
            await asyncio.wait({ping}, timeout=self._interval - first)
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
