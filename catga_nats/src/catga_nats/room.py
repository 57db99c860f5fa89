"""Senders that wait until the server has read more: woken in their order, by one watch over the socket for all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from catga_core.runtime import background_task
from catga_nats.opening import BACKLOG

if TYPE_CHECKING:
    from catga_nats.client import CatgaClient

_LEAST = 64  # bytes that a message counts for at least, so that a turn wakes a bounded number


class Room:
    """Lets senders wait for room before the socket, or for another connection."""

    __slots__ = ("_waiting", "_watch")

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._watch: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Number of senders that wait."""
        return len(self._waiting)

    async def wait(self, client: CatgaClient | None, size: int, timeout: float) -> None:
        """Wait until there may be room, or another connection, or the time is over.

        Args:
            client: What the room is wanted of; `None` to wait for another connection.
            size: The bytes of what will be sent.
            timeout: Seconds.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting[future] = size
        if client is not None and (self._watch is None or self._watch.done()):
            self._watch = background_task(self._watch_over(client))
        timer = loop.call_later(timeout, _wake, future)
        try:
            await future
        finally:
            timer.cancel()
            self._waiting.pop(future, None)

    def wake(self) -> None:
        """Wake every sender: the connection has changed."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        for future in self._waiting:
            _wake(future)

    async def _watch_over(self, client: CatgaClient) -> None:
        while self._waiting and client.is_connected:
            await client.written()
            left = BACKLOG
            for future, size in self._waiting.items():
                if left <= 0:
                    break
                if not future.done():
                    left -= max(size, _LEAST)
                    _wake(future)
            # They send in the next turn of the loop.
            await asyncio.sleep(0)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
