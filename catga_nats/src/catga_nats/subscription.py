"""One subscription that outlives the connections it is made on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from catga_core.log import MESSAGE_REFUSED, logger

if TYPE_CHECKING:
    from catga_nats.client import CatgaClient

_BURST_OVER_AFTER = 5.0  # seconds without a drop after which the next one is news again


class Subscription:
    """Listens on a subject.

    Parameters:
        subject: where to listen.
        queue: the queue group, empty for none.
        on_message: awaited for each message, one after the other.
        on_dropped: called for each message that found the waiting queue full, with the subject of its answer.
        max_messages: how many messages may wait for `on_message`; 0 for any number.
        max_bytes: the same in bytes.
    """

    __slots__ = (
        "_drained",
        "_last_drop",
        "_limits",
        "_on_dropped",
        "_on_message",
        "inner",
        "queue",
        "subject",
    )

    def __init__(
        self,
        subject: str,
        queue: str,
        on_message: Callable[[Any], Coroutine[Any, Any, None]],
        on_dropped: Callable[[str], None],
        *,
        max_messages: int = 0,
        max_bytes: int = 0,
    ) -> None:
        self.subject = subject
        self.queue = queue
        self.inner: Any = None
        self._on_message = on_message
        self._on_dropped = on_dropped
        self._limits = (max_messages, max_bytes)
        self._last_drop = float("-inf")
        self._drained = False

    async def attach(self, client: CatgaClient) -> None:
        """Listen on this connection from now on."""
        if self._drained:
            return
        messages, size = self._limits
        self.inner = await client.subscribe(
            self.subject,
            queue=self.queue,
            cb=self._on_message,
            pending_msgs_limit=messages,
            pending_bytes_limit=size,
        )

    def dropped(self, reply: str) -> None:
        """Note a message that nats-py had no room for; one log line tells of a whole burst."""
        now = asyncio.get_running_loop().time()
        if now - self._last_drop > _BURST_OVER_AFTER:
            logger().warning(
                MESSAGE_REFUSED, subject=self.subject, reason="too many messages wait to be handled"
            )
        self._last_drop = now
        self._on_dropped(reply)

    async def drain(self) -> None:
        """Take no more messages; return when all that had arrived were passed on."""
        self._drained = True
        if self.inner is not None:
            # Closed, or being closed: then nothing more arrives either.
            with suppress(Exception):
                await self.inner.drain()
