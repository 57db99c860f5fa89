"""The queues of one application: which messages are due and not handled yet."""

from __future__ import annotations

import asyncio

from catga_core import CatgaContainer
from catga_core.features.queues.consumers import QueueConsumers
from catga_core.interfaces import DurableTransport, QueueEntry, QueueState
from catga_testing.recording.network import NotSettledError

_DUE = frozenset({QueueState.READY, QueueState.LEASED, QueueState.RETRYING})
_POLL_SECONDS = 0.005
_NAMED = 5


class Queues:
    """The queues that one application under test consumes.

    Args:
        catga: The running container.
        service: The application's name, for errors.
    """

    def __init__(self, catga: CatgaContainer, service: str) -> None:
        self._catga = catga
        self._service = service

    def __bool__(self) -> bool:
        return "queue_consumers" in self._catga.providers

    async def head(self) -> int:
        """Return how many messages are due and not handled yet."""
        return len(await self._due())

    async def reach(self, position: int, ends_at: float) -> None:
        """Return when every message that is due is handled, or in the dead letters.

        Messages that are scheduled for later, or whose key is held, are not waited for.

        Args:
            position: How many there were.
            ends_at: The time of the loop at which to give up.

        Raises:
            NotSettledError: Naming the messages that were not handled in time.
        """
        del position
        while due := await self._due():
            if asyncio.get_running_loop().time() >= ends_at:
                named = ", ".join(
                    f"{each.message.name} in {each.queue} ({each.state})" for each in due[:_NAMED]
                )
                msg = f"not settled: {len(due)} messages wait in queues of {self._service}: {named}"
                raise NotSettledError(msg)
            await asyncio.sleep(_POLL_SECONDS)

    async def _due(self) -> list[QueueEntry]:
        mine = self._catga.get(QueueConsumers).queues
        page = await self._catga.get(DurableTransport).find(limit=1000)
        return [each for each in page.entries if each.state in _DUE and each.queue in mine]
