"""`MessageQueues`: what operators do with queues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from catga_core.interfaces.durable_transport import DurableTransport
from catga_core.interfaces.queue import ALL_QUEUED, QueueEntry, QueueFilter, QueuePage, QueueStats
from catga_core.option_checks import MOST_COUNT, check_count


class MessageQueues:
    """The container's queues, for operators: `app.message_queues`.

    Args:
        transport: The container's durable transport.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(self, transport: DurableTransport) -> None:
        self._transport = transport

    async def find(
        self, filter: QueueFilter = ALL_QUEUED, /, *, after: str | None = None, limit: int = 100
    ) -> QueuePage:
        """List messages that are not done, a page at a time: first those that are due, then scheduled ones by their time.

        Args:
            filter: Which messages.
            after: The `next` of the previous page; `None` for the first page.
            limit: Maximum number of messages, 1 or more.

        Returns:
            The page.
        """
        check_count("limit", limit, most=MOST_COUNT)
        return await self._transport.find(filter, after=after, limit=limit)

    async def get(self, queue: str, message_id: str, /) -> QueueEntry | None:
        """Return a message of a queue, done or not; `None` where there is none."""
        return await self._transport.get(queue, message_id)

    async def cancel(self, queue: str, message_id: str, /) -> bool:
        """Remove a message whose handler does not run; return whether it was removed."""
        return await self._transport.cancel(queue, message_id)

    async def release_key(self, queue: str, key: str, /) -> bool:
        """Deliver the messages of a held key without the one in the dead letters; return whether it was held."""
        return await self._transport.release_key(queue, key)

    async def stats(self) -> Mapping[str, QueueStats]:
        """Return the state of each queue."""
        return await self._transport.stats()
