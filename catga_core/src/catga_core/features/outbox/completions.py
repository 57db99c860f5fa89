"""Records sent messages in the outbox, in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from catga_core.interfaces.outbox import LeasedMessage, OutboxStore
from catga_core.log import OUTBOX_UNREACHABLE, logger
from catga_core.runtime.tasks import background_task


class Completions:
    """Marks messages as sent; what is added while a write runs goes into the next write.

    Args:
        outbox: The store.
        written: Called with messages that need not be held any longer.
    """

    def __init__(self, outbox: OutboxStore, written: Callable[[Sequence[LeasedMessage]], None]) -> None:
        self._outbox = outbox
        self._written = written
        self._gathered: list[LeasedMessage] = []
        self._writing: asyncio.Task[None] | None = None

    def add(self, leased: LeasedMessage) -> None:
        """Mark a message as sent."""
        self._gathered.append(leased)
        if self._writing is None:
            self._writing = background_task(self._write())

    async def flush(self) -> None:
        """Wait until every added message is recorded or its write has failed."""
        while (writing := self._writing) is not None:
            await asyncio.wait([writing])

    async def _write(self) -> None:
        try:
            while self._gathered:
                batch, self._gathered = self._gathered, []
                try:
                    await self._outbox.complete(batch)
                except Exception as error:  # noqa: BLE001 - their leases end, and they are sent once more
                    logger().warning(OUTBOX_UNREACHABLE, error=f"{type(error).__name__}: {error}")
                finally:
                    self._written(batch)
        finally:
            self._writing = None
