"""How a process leaves without losing anything."""

from __future__ import annotations

import asyncio
from typing import Any

from catga_core import CatgaResult, ErrorCode, MessageContext, Success
from catga_testing.contracts.limits import SOON
from catga_testing.contracts.transports.base import TransportContractBase
from catga_testing.contracts.transports.handlers import Gate, echo
from catga_testing.contracts.transports.messages import Echo, Happened, Other
from catga_testing.contracts.transports.peers import Peer, Peers


class DrainingContract(TransportContractBase):
    """No new work, what runs is finished and answered, and nobody is left waiting."""

    async def test_a_drain_finishes_and_answers_what_runs(self, peers: Peers) -> None:
        """Their senders get the results, and the drain returns after them."""
        gate = Gate()
        leaving = await peers.add("leaving", requests={Echo: gate})
        asking = await peers.add()
        tasks = [asyncio.create_task(asking.ask(Echo(str(number)))) for number in range(5)]
        await gate.until(entered=5)

        draining = asyncio.create_task(leaving.drain())
        await _still_waits(draining)
        gate.open()
        await draining

        assert gate.left == 5
        await leaving.close()
        assert await asyncio.gather(*tasks) == [Success(str(number)) for number in range(5)]

    async def test_a_drain_finishes_the_events_that_are_being_handled(self, peers: Peers) -> None:
        """Accepted is accepted."""
        gate = Gate()
        leaving = await peers.add("leaving", events={Happened: gate})
        telling = await peers.add()
        for number in range(5):
            await telling.tell(Happened(number))
        await gate.until(entered=5)

        draining = asyncio.create_task(leaving.drain())
        await _still_waits(draining)
        gate.open()
        await draining

        assert gate.left == 5

    async def test_a_drain_lets_running_handlers_send(self, peers: Peers) -> None:
        """What runs may need others to come to its end."""
        gate = Gate()
        holder: list[Peer] = []

        async def outer(message: Other, _context: MessageContext) -> CatgaResult[Any]:
            return await holder[0].ask(Echo(message.text))

        leaving = await peers.add("leaving", requests={Other: outer})
        holder.append(leaving)
        await peers.add("staying", requests={Echo: gate})
        asking = await peers.add()
        task = asyncio.create_task(asking.ask(Other("through")))
        await gate.until(entered=1)

        draining = asyncio.create_task(leaving.drain())
        await _still_waits(draining)
        gate.open()
        await draining

        assert await task == Success("through")

    async def test_after_a_drain_others_take_over(self, peers: Peers) -> None:
        """A drained replica gets nothing any more; when it was the last, that is known at once."""
        first = await peers.add("echoes", requests={Echo: echo})
        second = await peers.add("echoes", requests={Echo: echo})
        asking = await peers.add()

        await first.drain()
        taken_over = [await asking.ask(Echo(str(number))) for number in range(10)]
        await second.drain()
        async with asyncio.timeout(SOON):
            nobody = await asking.ask(Echo("x"))

        assert taken_over == [Success(str(number)) for number in range(10)]
        assert nobody.error.code == ErrorCode.HANDLER_NOT_FOUND

    async def test_a_drain_cancels_and_answers_what_outlasts_its_time(self, peers: Peers) -> None:
        """The sender is told at once, not left to its deadline."""
        gate = Gate()
        leaving = await peers.add("leaving", requests={Echo: gate})
        asking = await peers.add()
        task = asyncio.create_task(asking.ask(Echo("stuck")))
        await gate.until(entered=1)

        async with asyncio.timeout(0.1 + SOON):
            await leaving.drain(0.1)
            result = await task

        assert result.error.code == ErrorCode.TRANSPORT_FAILED
        assert result.error.message

    async def test_a_drain_ends_although_a_handler_swallows_its_cancellation(self, peers: Peers) -> None:
        """What does not let itself be cancelled is left behind, and cannot keep its process from ending."""
        gate = Gate()

        async def swallow(message: Any, context: MessageContext) -> str:
            while True:
                try:
                    return await gate(message, context)
                except asyncio.CancelledError:
                    continue

        leaving = await peers.add("leaving", requests={Echo: swallow}, events={Happened: swallow})
        asking = await peers.add()
        task = asyncio.create_task(asking.ask(Echo("stuck")))
        await asking.tell(Happened(1))
        await gate.until(entered=2)

        async with asyncio.timeout(0.1 + 3 * SOON):
            await leaving.drain(0.1)
            await leaving.close()

        gate.open()
        task.cancel()
        await asyncio.wait({task})

    async def test_own_requests_that_still_wait_get_a_clear_error(self, peers: Peers) -> None:
        """A process that leaves does not leave its own callers hanging."""
        gate = Gate()
        await peers.add("slow", requests={Echo: gate})
        leaving = await peers.add("leaving")
        task = asyncio.create_task(leaving.ask(Echo("mine")))
        await gate.until(entered=1)

        async with asyncio.timeout(0.1 + SOON):
            await leaving.drain(0.1)
            result = await task

        assert result.error.code == ErrorCode.TRANSPORT_FAILED
        assert result.error.message
        gate.open()

    async def test_a_drained_transport_still_sends(self, peers: Peers) -> None:
        """Until it is closed: what stops after it may have something to say."""
        gate = Gate()
        await peers.add("staying", requests={Echo: echo}, events={Happened: gate})
        leaving = await peers.add("leaving", requests={Other: echo})

        await leaving.drain()
        result = await leaving.ask(Echo("last words"))
        await leaving.tell(Happened(1))

        assert result == Success("last words")
        await gate.until(entered=1)
        gate.open()

    async def test_a_drain_under_load_loses_nothing(self, peers: Peers) -> None:
        """Every sender gets its result or an error before its deadline, and what was handled was answered."""
        handled: list[str] = []

        async def work(message: Echo, _context: MessageContext) -> str:
            await asyncio.sleep(0.001)
            handled.append(message.text)
            return message.text

        leaving = await peers.add("workers", requests={Echo: work}, max_concurrent=1000)
        await peers.add("workers", requests={Echo: work}, max_concurrent=1000)
        asking = await peers.add()
        tasks: list[asyncio.Task[CatgaResult[Any]]] = []

        async def load() -> None:
            for number in range(400):
                tasks.append(asyncio.create_task(asking.ask(Echo(str(number)))))
                if number % 10 == 0:
                    await asyncio.sleep(0.001)

        loading = asyncio.create_task(load())
        await asyncio.sleep(0.01)
        await leaving.drain()
        await loading
        results = await asyncio.gather(*tasks)

        answered = sorted(result.value for result in results if result.is_success)
        refused = {result.error.code for result in results if not result.is_success}
        assert answered == sorted(handled)
        assert refused <= {str(ErrorCode.TRANSPORT_FAILED), str(ErrorCode.HANDLER_NOT_FOUND)}


async def _still_waits(draining: asyncio.Task[None]) -> None:
    # Long enough for a drain that does not wait to show itself.
    await asyncio.wait({draining}, timeout=0.1)
    assert not draining.done(), "the drain returned while a handler was running"
