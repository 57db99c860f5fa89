"""An operator who purges dead letters that hold keys, so that the messages behind them are handled."""

from __future__ import annotations

import asyncio
import time

from catga_core import CatgaApp, CatgaError
from catga_core.interfaces import DeadLetterFilter
from tests.faults.messaging.application import LEASE, compose_booking, parks
from tests.faults.messaging.ways import Way

_EVERY = 0.5  # seconds between two looks
_OLD = 2 * LEASE  # a letter that is younger may hold its key only in a moment


class Operator:
    """Purges the dead letters of the services that park messages, again and again.

    Args:
        way: Reaches their storages.
    """

    def __init__(self, way: Way) -> None:
        self.purged: set[tuple[str, str]] = set()
        self._way = way

    async def work(self) -> None:
        """Purge until cancelled."""
        async with asyncio.TaskGroup() as group:
            for inbox in self._way.inboxes:
                if parks(inbox):
                    group.create_task(self._watch(inbox))

    async def _watch(self, inbox: str) -> None:
        while True:
            try:
                async with compose_booking(self._way, inbox).running(roles={"admin"}) as app:
                    while True:
                        await self._purge(app)
                        await asyncio.sleep(_EVERY)
            except CatgaError:
                # A server was killed: it is purged later.
                await asyncio.sleep(_EVERY)

    async def _purge(self, app: CatgaApp) -> None:
        old = DeadLetterFilter(failed_before=time.time() - _OLD)
        for letter in (await app.dead_letter_queue.find(old, limit=50)).letters:
            # Noted before, because it may be purged although the answer is lost.
            self.purged.add((letter.queue, letter.context.message_id))
            await app.dead_letter_queue.purge(
                DeadLetterFilter(queue=letter.queue, message_id=letter.context.message_id)
            )
