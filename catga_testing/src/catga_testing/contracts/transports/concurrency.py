"""How many at the same time, and who waits for whom."""

from __future__ import annotations

import asyncio

from catga_core import ErrorCode, Success
from catga_testing.contracts.limits import SOON
from catga_testing.contracts.transports.base import TransportContractBase
from catga_testing.contracts.transports.handlers import Gate, echo
from catga_testing.contracts.transports.messages import Echo, Happened, Other
from catga_testing.contracts.transports.peers import Peers


class ConcurrencyContract(TransportContractBase):
    """Messages are handled at the same time up to a limit, and none waits for another."""

    async def test_requests_of_one_type_are_handled_at_the_same_time(self, peers: Peers) -> None:
        """All are inside their handler before the first leaves it."""
        gate = Gate()
        await peers.add("slow", requests={Echo: gate})
        asking = await peers.add()
        tasks = [asyncio.create_task(asking.ask(Echo(str(number)))) for number in range(10)]

        await gate.until(entered=10)
        gate.open()

        assert await asyncio.gather(*tasks) == [Success(str(number)) for number in range(10)]

    async def test_a_slow_handler_does_not_hold_up_a_fast_one(self, peers: Peers) -> None:
        """Beside it in the same process."""
        gate = Gate()
        await peers.add("both", requests={Echo: gate, Other: echo})
        asking = await peers.add()
        slow = asyncio.create_task(asking.ask(Echo("slow")))
        await gate.until(entered=1)

        async with asyncio.timeout(SOON):
            fast = [await asking.ask(Other(str(number))) for number in range(20)]

        assert fast == [Success(str(number)) for number in range(20)]
        assert not slow.done()
        gate.open()
        assert await slow == Success("slow")

    async def test_a_request_over_the_limit_is_refused_at_once(self, peers: Peers) -> None:
        """With CONCURRENCY_LIMITED, which can be tried again; those inside are not touched."""
        gate = Gate()
        await peers.add("narrow", requests={Echo: gate}, max_concurrent=2)
        asking = await peers.add()
        inside = [asyncio.create_task(asking.ask(Echo(str(number)))) for number in range(2)]
        await gate.until(entered=2)

        async with asyncio.timeout(SOON):
            refused = await asking.ask(Echo("third"))

        assert refused.error.code == ErrorCode.CONCURRENCY_LIMITED
        assert refused.error.retryable
        gate.open()
        assert await asyncio.gather(*inside) == [Success("0"), Success("1")]
        assert gate.entered == 2

    async def test_there_is_room_again_after_the_limit(self, peers: Peers) -> None:
        """A place is free as soon as its answer is out."""
        gate = Gate()
        await peers.add("narrow", requests={Echo: gate}, max_concurrent=1)
        asking = await peers.add()
        first = asyncio.create_task(asking.ask(Echo("first")))
        await gate.until(entered=1)
        gate.open()
        await first

        assert await asking.ask(Echo("second")) == Success("second")

    async def test_events_over_the_limit_wait_and_none_is_lost(self, peers: Peers) -> None:
        """A publisher cannot be refused, so what cannot run yet has to wait."""
        gate = Gate()
        await peers.add("narrow", events={Happened: gate}, max_concurrent=3)
        telling = await peers.add()
        for number in range(20):
            await telling.tell(Happened(number))
        await gate.until(entered=3)

        gate.open()
        await gate.until(left=20)

        assert gate.most == 3
        assert gate.entered == 20

    async def test_a_full_service_is_full_for_one_type_of_message_only(self, peers: Peers) -> None:
        """The limit is each subscription's own."""
        gate = Gate()
        await peers.add("narrow", requests={Echo: gate, Other: echo}, max_concurrent=1)
        asking = await peers.add()
        inside = asyncio.create_task(asking.ask(Echo("inside")))
        await gate.until(entered=1)

        other = await asking.ask(Other("other"))

        assert other == Success("other")
        gate.open()
        await inside
