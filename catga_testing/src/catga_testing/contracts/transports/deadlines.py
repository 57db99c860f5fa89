"""What a deadline ends, and what it does not."""

from __future__ import annotations

import asyncio
import time

import pytest

from catga_core import ErrorCode, Success
from catga_testing.clock import ManualClock
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import SOON
from catga_testing.contracts.transports.base import TransportContractBase
from catga_testing.contracts.transports.handlers import Gate, Inbox, echo
from catga_testing.contracts.transports.messages import Echo, Other
from catga_testing.contracts.transports.peers import Peers


class DeadlinesContract(TransportContractBase):
    """A sender waits as long as it said; the receiver's work is its own."""

    async def test_a_request_without_an_answer_ends_at_its_deadline(self, peers: Peers) -> None:
        """With TIMEOUT, not before the deadline and not long after."""
        gate = Gate()
        await peers.add("slow", requests={Echo: gate})
        asking = await peers.add()
        loop = asyncio.get_running_loop()
        began = loop.time()

        result = await asking.ask(Echo("x"), timeout=0.25)

        took = loop.time() - began
        assert result.error.code == ErrorCode.TIMEOUT
        assert result.error.retryable
        assert 0.2 <= took < 0.25 + SOON

    async def test_a_timeout_does_not_cancel_the_handler_and_its_late_answer_disturbs_nobody(
        self, peers: Peers
    ) -> None:
        """The handler ends as if nothing had been; those who ask afterwards get their own answers."""
        gate = Gate()
        await peers.add("slow", requests={Echo: gate, Other: echo})
        asking = await peers.add()
        late = await asking.ask(Echo("late"), timeout=0.1)
        await gate.until(entered=1)

        gate.open()
        await gate.until(left=1)
        others = [await asking.ask(Other(str(number))) for number in range(20)]

        assert late.error.code == ErrorCode.TIMEOUT
        assert others == [Success(str(number)) for number in range(20)]

    async def test_a_request_whose_deadline_has_passed_is_not_sent(self, peers: Peers) -> None:
        """It fails with TIMEOUT at once."""
        inbox = Inbox()
        await peers.add("slow", requests={Echo: inbox})
        asking = await peers.add()

        async with asyncio.timeout(SOON):
            result = await asking.ask(Echo("too late"), timeout=-1.0)

        assert result.error.code == ErrorCode.TIMEOUT
        await asking.ask(Echo("fence"))
        assert [message.text for message in inbox.messages] == ["fence"]

    @needs(remote=True)
    async def test_a_request_that_arrives_after_its_deadline_is_not_started(self, peers: Peers) -> None:
        """The receiver looks at its own clock, and says so instead of keeping silent."""
        inbox = Inbox()
        ahead = ManualClock(time.time() + 3600)
        await peers.add("slow", requests={Echo: inbox, Other: echo}, clock=ahead)
        asking = await peers.add()

        async with asyncio.timeout(SOON):
            result = await asking.ask(Echo("expired on the way"), timeout=60.0)

        assert result.error.code == ErrorCode.TIMEOUT
        assert inbox.messages == []

    async def test_a_cancelled_sender_leaves_the_handler_and_the_others_alone(self, peers: Peers) -> None:
        """Cancellation passes through to the sender and goes no further."""
        gate = Gate()
        await peers.add("slow", requests={Echo: gate})
        asking = await peers.add()
        cancelled = asyncio.create_task(asking.ask(Echo("cancelled")))
        other = asyncio.create_task(asking.ask(Echo("other")))
        await gate.until(entered=2)

        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        gate.open()

        assert await other == Success("other")
        await gate.until(left=2)
