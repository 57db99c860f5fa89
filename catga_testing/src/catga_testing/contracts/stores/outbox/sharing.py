"""Several relays that share the work."""

from __future__ import annotations

import asyncio
import random

from catga_core.interfaces import LeasedMessage, OutboxStore
from catga_testing.contracts.limits import PATIENCE
from catga_testing.contracts.stores.outbox.base import OutboxContractBase, Two, filled, lease
from catga_testing.contracts.stores.place import turns

GIVEN = [f"{'abcd'[number % 4]}-{number}" for number in range(60)]
"""What is to be sent, of four keys."""


class _Relay:
    """Sends what it leases, tries some again, and gives some back.

    Args:
        outbox: Where it leases.
        sent: The ids of what was sent, by all relays in their order.
        chance: Decides.
    """

    def __init__(self, outbox: OutboxStore, sent: list[str], chance: random.Random) -> None:
        self._outbox = outbox
        self._sent = sent
        self._chance = chance

    async def run(self) -> None:
        """Work until everything was sent."""
        while len(self._sent) < len(GIVEN):
            leased = await lease(self._outbox, self._chance.randrange(1, 6))
            # What follows one of its key that was not sent is not sent either: it is given back.
            stuck: set[str | None] = set()
            for each in leased:
                if each.message.key in stuck:
                    await self._outbox.release([each])
                elif not await self._send(each):
                    stuck.add(each.message.key)
            if not leased:
                await self._outbox.wait(timeout=0.01)

    async def _send(self, each: LeasedMessage) -> bool:
        fate = self._chance.random()
        if fate < 0.15 and each.attempts < 3:
            await self._outbox.retry(each, delay=0.0, error="refused")
            return False
        if fate < 0.3:
            await self._outbox.release([each])
            return False
        self._sent.append(each.message.context.message_id)
        await turns(self._chance.randrange(3))
        await self._outbox.complete([each])
        return True


class SharingContract(OutboxContractBase):
    """None is sent twice, and of one key none before its turn."""

    async def test_several_relays_send_each_message_once_and_each_key_in_order(self, outboxes: Two) -> None:
        """Sending some, trying others again, giving others back, while more are added."""
        chance = random.Random(11)  # noqa: S311 - the same relays on every run
        sent: list[str] = []

        async def add() -> None:
            for number in range(0, len(GIVEN), 5):
                await filled(outboxes[number % 2], *GIVEN[number : number + 5])
                await turns(2)

        relays = [_Relay(outboxes[number % 2], sent, chance) for number in range(4)]
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(add(), *(relay.run() for relay in relays))

        assert sorted(sent) == sorted(GIVEN)
        for key in "abcd":
            assert [each for each in sent if each[0] == key] == [each for each in GIVEN if each[0] == key]
        assert (await outboxes[0].stats()).pending == 0
