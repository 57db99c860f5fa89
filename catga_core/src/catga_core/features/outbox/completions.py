"""Records sent messages in the outbox, in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from catga_core.interfaces.outbox import LeasedMessage, OutboxStore
from catga_core.runtime.tasks import background_task


class Completions:
    """Marks messages as sent; what is added while a write runs goes into the next write.

    Args:
        record: Records messages of a store as sent, and holds them no longer, also where that fails.
    """

    def __init__(self, record: Callable[[OutboxStore, Sequence[LeasedMessage]], Awaitable[None]]) -> None:
        self._record = record
        self._gathered: dict[OutboxStore, list[LeasedMessage]] = {}
        self._writing: asyncio.Task[None] | None = None
        self._count = 0

    def __len__(self) -> int:
        """Return how many messages are sent and not yet recorded."""
        return self._count

    @property
    def writing(self) -> asyncio.Task[None] | None:
        """The write that runs, and those after it; `None` while everything is recorded."""
        return self._writing

    def add(self, outbox: OutboxStore, leased: LeasedMessage) -> None:
        """Mark a message as sent.

        Args:
            outbox: The store that it is from.
            leased: The message.
        """
        self._count += 1
        self._gathered.setdefault(outbox, []).append(leased)
        if self._writing is None:
            self._writing = background_task(self._write())

    async def flush(self) -> None:
        """Wait until every added message is recorded or its write has failed."""
        while (writing := self._writing) is not None:
            await asyncio.wait([writing])

    async def _write(self) -> None:
        try:
            while self._gathered:
                outbox, batch = self._gathered.popitem()
                try:
                    await self._record(outbox, batch)
                finally:
                    self._count -= len(batch)
        finally:
            self._writing = None
