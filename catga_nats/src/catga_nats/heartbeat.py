"""`Heartbeat`: sends signs of life while a stream is open, and notices when the other side sends none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_MOST_SILENT = 3  # intervals in a row


class Heartbeat:
    """Counts intervals without a frame, not seconds: an event loop that was blocked for long finds its peer alive.

    Args:
        interval: Seconds between two signs of life.
        tell: Sends one.
        lost: Called when the other side was silent for three intervals.
    """

    __slots__ = ("_interval", "_lost", "_silent", "_tell", "_timer")

    def __init__(self, interval: float, tell: Callable[[], None], lost: Callable[[float], None]) -> None:
        self._interval = interval
        self._tell = tell
        self._lost = lost
        self._silent = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin."""
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._beat)

    def heard(self) -> None:
        """Note a frame of the other side."""
        self._silent = 0

    def stop(self) -> None:
        """Send no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        self._silent += 1
        if self._silent > _MOST_SILENT:
            self._timer = None
            self._lost(_MOST_SILENT * self._interval)
            return
        self.start()
        self._tell()
