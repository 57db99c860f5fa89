"""Who handles a request, and what comes back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from catga_core import CatgaResult, ErrorCode, MessageContext, Success
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import SOON
from catga_testing.contracts.transports.base import TransportContractBase
from catga_testing.contracts.transports.handlers import Inbox, echo
from catga_testing.contracts.transports.messages import (
    Anything,
    Build,
    Color,
    Echo,
    Forget,
    Nobody,
    Part,
    Whole,
)
from catga_testing.contracts.transports.peers import Peers


class RequestsContract(TransportContractBase):
    """Exactly one handler, its own answer, and no waiting for a handler that is not there."""

    async def test_a_request_is_handled_and_its_value_comes_back(self, peers: Peers) -> None:
        """Also by an endpoint that says it never waits."""
        await peers.add("echoes", requests={Echo: echo})
        asking = await peers.add()

        result = await asking.ask(Echo("hello, wörld"))

        assert result == Success("hello, wörld")

    async def test_exactly_one_of_several_replicas_handles_a_request(self, peers: Peers) -> None:
        """Whatever the services that handle it are called."""
        inboxes = [Inbox(), Inbox(), Inbox()]
        for service, inbox in zip(("billing", "billing", "archive"), inboxes, strict=True):
            await peers.add(service, requests={Echo: inbox})
        asking = await peers.add()

        results = await asyncio.gather(*(asking.ask(Echo(str(number))) for number in range(60)))

        assert results == [Success(str(number)) for number in range(60)]
        handled = sorted(int(message.text) for inbox in inboxes for message in inbox.messages)
        assert handled == list(range(60))

    async def test_a_process_can_ask_itself(self, peers: Peers) -> None:
        """A request that leaves by a transport may come back to where it came from."""
        only = await peers.add("echoes", requests={Echo: echo})

        assert await only.ask(Echo("me")) == Success("me")

    async def test_a_request_nobody_handles_fails_at_once(self, peers: Peers) -> None:
        """With HANDLER_NOT_FOUND, and long before its deadline."""
        await peers.add("echoes", requests={Echo: echo})
        asking = await peers.add()

        async with asyncio.timeout(SOON):
            result = await asking.ask(Nobody())

        assert not result.is_success
        assert result.error.code == ErrorCode.HANDLER_NOT_FOUND
        assert result.error.message

    async def test_no_value_is_a_value(self, peers: Peers) -> None:
        """`None` comes back as a success."""

        async def forget(_message: Forget, _context: MessageContext) -> None:
            return None

        await peers.add("forgetful", requests={Forget: forget})
        asking = await peers.add()

        assert await asking.ask(Forget()) == Success(None)

    async def test_a_complex_value_comes_back_as_it_was(self, peers: Peers) -> None:
        """Decimals, times, enumerations, bytes and nested values, there and back."""
        part = Part("a-1", Decimal("19.90"), ["new", "größe"])
        whole = Whole(
            [part, part], {"first": part}, datetime(2030, 1, 2, 3, 4, 5, 678, UTC), Color.GREEN, b"\x00\xff"
        )
        seen: list[Whole] = []

        async def build(message: Build, _context: MessageContext) -> Whole:
            seen.append(message.whole)
            return message.whole

        await peers.add("builders", requests={Build: build})
        asking = await peers.add()

        result = await asking.ask(Build(whole))

        assert seen == [whole]
        assert result == Success(whole)

    async def test_a_large_message_travels(self, peers: Peers) -> None:
        """A quarter of a mebibyte each way."""
        await peers.add("echoes", requests={Echo: echo})
        asking = await peers.add()
        text = "x" * (256 * 1024)

        assert await asking.ask(Echo(text)) == Success(text)

    @needs(zero_copy=True)
    async def test_a_zero_copy_transport_hands_over_the_object_itself(self, peers: Peers) -> None:
        """The message to the handler, and the value to the sender."""
        inbox = Inbox()
        value = ["the object itself"]

        async def keep(message: Anything, context: MessageContext) -> CatgaResult[Any]:
            await inbox(message, context)
            return Success(message.value)

        await peers.add("keepers", requests={Anything: keep})
        asking = await peers.add()
        message = Anything(value)

        result = await asking.ask(message)

        assert inbox.messages[0] is message
        assert result.value is value

    async def test_a_thousand_requests_at_once_get_each_their_own_answer(self, peers: Peers) -> None:
        """From one sender, while their handlers overtake one another."""

        async def later(message: Echo, _context: MessageContext) -> str:
            for _ in range(int(message.text) % 7):
                await asyncio.sleep(0)
            return message.text

        await peers.add("echoes", requests={Echo: later}, max_concurrent=2000)
        asking = await peers.add()

        results = await asyncio.gather(*(asking.ask(Echo(str(number))) for number in range(1000)))

        assert results == [Success(str(number)) for number in range(1000)]
