"""Whether a request that failed may have been handled."""

from __future__ import annotations

import asyncio
import time

from catga_core import CatgaResult, ErrorCode
from catga_testing.clock import ManualClock
from catga_testing.contracts.kept import needs
from catga_testing.contracts.transports.base import TransportContractBase
from catga_testing.contracts.transports.handlers import Gate, echo
from catga_testing.contracts.transports.messages import Echo, Nobody
from catga_testing.contracts.transports.peers import Peers

NEVER_STARTED = {"not_sent", "not_started"}


def _outcome(result: CatgaResult[str], code: ErrorCode) -> object:
    error = result.error
    assert error.code == code
    return error.details.get("outcome")


class OutcomesContract(TransportContractBase):
    """An error that the transport itself makes says in `details["outcome"]` whether a handler may have run.

    `not_sent` and `not_started`: surely not, so that it can be sent again to anybody. `unknown`: it may have.
    """

    async def test_what_nobody_handles_was_not_started(self, peers: Peers) -> None:
        """HANDLER_NOT_FOUND."""
        asking = await peers.add()

        result = await asking.ask(Nobody())

        assert _outcome(result, ErrorCode.HANDLER_NOT_FOUND) in NEVER_STARTED

    async def test_what_is_over_the_limit_was_not_started(self, peers: Peers) -> None:
        """CONCURRENCY_LIMITED."""
        gate = Gate()
        await peers.add("narrow", requests={Echo: gate}, max_concurrent=1)
        asking = await peers.add()
        inside = asyncio.create_task(asking.ask(Echo("inside")))
        await gate.until(entered=1)

        result = await asking.ask(Echo("second"))

        assert _outcome(result, ErrorCode.CONCURRENCY_LIMITED) in NEVER_STARTED
        gate.open()
        await inside

    async def test_what_was_too_late_when_it_was_sent_was_not_sent(self, peers: Peers) -> None:
        """TIMEOUT."""
        await peers.add("echoes", requests={Echo: echo})
        asking = await peers.add()

        result = await asking.ask(Echo("x"), timeout=-1.0)

        assert _outcome(result, ErrorCode.TIMEOUT) in NEVER_STARTED

    @needs(remote=True)
    async def test_what_was_too_late_when_it_arrived_was_not_started(self, peers: Peers) -> None:
        """TIMEOUT."""
        ahead = ManualClock(time.time() + 3600)
        await peers.add("echoes", requests={Echo: echo}, clock=ahead)
        asking = await peers.add()

        result = await asking.ask(Echo("x"), timeout=60.0)

        assert _outcome(result, ErrorCode.TIMEOUT) in NEVER_STARTED

    async def test_of_what_was_not_answered_in_time_the_outcome_is_unknown(self, peers: Peers) -> None:
        """TIMEOUT."""
        gate = Gate()
        await peers.add("slow", requests={Echo: gate})
        asking = await peers.add()

        result = await asking.ask(Echo("x"), timeout=0.1)

        assert _outcome(result, ErrorCode.TIMEOUT) == "unknown"
        gate.open()

    async def test_of_what_a_drain_cancels_the_outcome_is_unknown(self, peers: Peers) -> None:
        """TRANSPORT_FAILED."""
        gate = Gate()
        leaving = await peers.add("leaving", requests={Echo: gate})
        asking = await peers.add()
        task = asyncio.create_task(asking.ask(Echo("x")))
        await gate.until(entered=1)

        await leaving.drain(0.05)

        assert _outcome(await task, ErrorCode.TRANSPORT_FAILED) == "unknown"

    async def test_of_what_its_sender_gives_up_the_outcome_is_unknown(self, peers: Peers) -> None:
        """TRANSPORT_FAILED."""
        gate = Gate()
        await peers.add("slow", requests={Echo: gate})
        leaving = await peers.add("leaving")
        task = asyncio.create_task(leaving.ask(Echo("x")))
        await gate.until(entered=1)

        await leaving.drain(0.05)

        assert _outcome(await task, ErrorCode.TRANSPORT_FAILED) == "unknown"
        gate.open()

    async def test_what_is_sent_before_the_start_was_not_sent(self, peers: Peers) -> None:
        """TRANSPORT_FAILED."""
        result = await peers.unconnected().ask(Echo("x"))

        assert _outcome(result, ErrorCode.TRANSPORT_FAILED) in NEVER_STARTED
