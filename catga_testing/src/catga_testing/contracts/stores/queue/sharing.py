"""Several consumers that share the work of a queue."""

from __future__ import annotations

import asyncio
import random

from catga_core.interfaces import QueueLease, QueueStore
from catga_testing.contracts.limits import PATIENCE
from catga_testing.contracts.stores.place import turns
from catga_testing.contracts.stores.queue.base import QUEUE, QueueContractBase, TwoQueues, filled, lease

GIVEN = [f"{'abcd'[number % 4]}-{number}" for number in range(60)]
"""What is to be handled, of four keys."""


class _Consumer:
    """Handles what it leases, tries some again, gives some back, and lets some be replayed behind a held key.

    Args:
        queue: Where it leases.
        handled: The ids of what was handled, by all consumers in their order.
        chance: Decides.
    """

    def __init__(self, queue: QueueStore, handled: list[str], chance: random.Random) -> None:
        self._queue = queue
        self._handled = handled
        self._chance = chance

    async def run(self) -> None:
        """Work until everything was handled."""
        while len(self._handled) < len(GIVEN):
            leased = await lease(self._queue, self._chance.randrange(1, 6))
            for each in leased:
                await self._handle(each)
            if not leased:
                await self._queue.wait([QUEUE], timeout=0.01)

    async def _handle(self, each: QueueLease) -> None:
        fate = self._chance.random()
        if fate < 0.15 and each.attempt < 3:
            await self._queue.retry(each, delay=0.0, error="refused")
        elif fate < 0.3:
            await self._queue.release([each])
        else:
            self._handled.append(each.message.context.message_id)
            await turns(self._chance.randrange(3))
            if fate < 0.9:
                await self._queue.complete([each])
            else:
                assert each.message.key is not None
                assert await self._queue.discard(each, hold_key=True)
                await turns(self._chance.randrange(3))
                assert await self._queue.release_key(QUEUE, each.message.key)


class QueueSharingContract(QueueContractBase):
    """None is handled twice, and of one key none before its turn."""

    async def test_several_consumers_handle_each_message_once_and_each_key_in_order(
        self, queue_stores: TwoQueues
    ) -> None:
        """Handling some, trying others again, giving others back, holding keys, while more are added."""
        chance = random.Random(11)  # noqa: S311 - the same consumers on every run
        handled: list[str] = []

        async def add() -> None:
            for number in range(0, len(GIVEN), 5):
                await filled(queue_stores[number % 2], *GIVEN[number : number + 5])
                await turns(2)

        consumers = [_Consumer(queue_stores[number % 2], handled, chance) for number in range(4)]
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(add(), *(consumer.run() for consumer in consumers))

        assert sorted(handled) == sorted(GIVEN)
        for key in "abcd":
            assert [each for each in handled if each[0] == key] == [each for each in GIVEN if each[0] == key]
        assert dict(await queue_stores[0].stats()) == {}
