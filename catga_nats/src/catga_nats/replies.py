"""Sends responses: at once where they fit, later where the server has not read enough of the earlier ones yet."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from catga_core.clock import Clock
from catga_core.log import RESPONSE_DROPPED, logger
from catga_core.messages import MessageType
from catga_nats.connection import NatsConnection
from catga_nats.counters import Counters

_SMALL = 16 * 1024  # bytes; a response of this size goes past larger ones that wait
_BURST_OVER_AFTER = 5.0  # seconds without a drop after which the next one is logged again


class Response(NamedTuple):
    """One encoded response.

    Args:
        reply: Where it is sent.
        data: Its payload.
        headers: Its headers, `None` for none.
        size: Bytes of both.
    """

    reply: bytes
    data: bytes
    headers: Mapping[str, str] | None
    size: int


class Replies:
    """Sends the responses to one type of request, and drops none without a count and a log line.

    Args:
        message_type: The requests.
        connection: Where to send.
        clock: What deadlines are compared with.
        counters: Where to count.
    """

    def __init__(
        self, message_type: MessageType, connection: NatsConnection, clock: Clock, counters: Counters
    ) -> None:
        self._type = message_type
        self._connection = connection
        self._clock = clock
        self._counters = counters
        self._last_drop = float("-inf")

    def send(self, response: Response) -> bool:
        """Send a response if there is room for it.

        Args:
            response: The response; a small one may take twice the room that others have.

        Returns:
            Whether it was sent.
        """
        connection = self._connection
        client = connection.client
        if client is None:
            return False
        small = response.size <= _SMALL
        if small and response.headers is None and client.offer(response.reply, response.data):
            # Nearly all of them, by one call in the place of four.
            return True
        if not connection.has_room(client, response.size, small=small):
            return False
        client.send(response.reply, b"", response.data, response.headers)
        return True

    async def send_later(
        self, response: Response, instead: Response, deadline: float | None, patience: float
    ) -> None:
        """Send a response when there is room for it, or a small failure when its deadline has passed.

        Args:
            response: The response.
            instead: The failure.
            deadline: When its sender stops waiting, in seconds since the epoch.
            patience: Seconds to wait where the sender named no deadline.
        """
        self._counters.replies_delayed += 1
        left = patience if deadline is None else max(0.0, deadline - self._clock.time())
        try:
            sent = await self._connection.room(response.size, left) and self.send(response)
        except asyncio.CancelledError:
            self._give_up(response, instead)
            raise
        if not sent:
            self._give_up(response, instead)

    def drop(self, response: Response) -> None:
        """Count and log a response that cannot be sent."""
        self._counters.replies_lost += 1
        now = asyncio.get_running_loop().time()
        if now - self._last_drop > _BURST_OVER_AFTER:
            reason = (
                "the NATS server does not read what is sent to it; health counts them all in replies_lost"
            )
            logger().error(RESPONSE_DROPPED, message=str(self._type), bytes=response.size, reason=reason)
        self._last_drop = now

    def _give_up(self, response: Response, instead: Response) -> None:
        self.drop(response)
        self.send(instead)
