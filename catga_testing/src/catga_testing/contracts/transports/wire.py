"""What a transport makes of bytes it does not understand, and of values that have none."""

from __future__ import annotations

import pytest

from catga_core import (
    CatgaError,
    CatgaResult,
    ErrorCode,
    Failure,
    MessageContext,
    Success,
    TransportCapabilities,
)
from catga_core import message_type as described
from catga_core.messages import Request
from catga_testing.contracts.transports.base import GarbageSender, TransportContractBase, requires
from catga_testing.contracts.transports.handlers import Inbox, echo
from catga_testing.contracts.transports.messages import (
    Anything,
    Echo,
    Happened,
    NewVersion,
    OldVersion,
    WrongEcho,
)
from catga_testing.contracts.transports.peers import Peers

GARBAGE = [
    b"",
    b"\x00",
    b"\xff" * 64,
    b"{}",
    b"[]",
    b'{"text": 1}',
    b"\x93\x01\x02\x03",
    b"\xc1",
    bytes(range(256)),
]


class WireContract(TransportContractBase):
    """It is answered or recorded with an error, and the next message is handled as if nothing had been."""

    @pytest.mark.parametrize("wrong", [WrongEcho(1), NewVersion("x")], ids=["body", "version"])
    async def test_a_message_that_does_not_fit_is_answered_with_an_error(
        self, peers: Peers, capabilities: TransportCapabilities, wrong: Request[str]
    ) -> None:
        """SERIALIZATION_FAILED for another body or version than the receiver knows; it goes on receiving."""
        requires(capabilities, remote=True)
        inbox = Inbox()
        await peers.add("strict", requests={Echo: inbox, OldVersion: inbox})
        asking = await peers.add()

        result = await asking.ask(wrong)

        assert result.error.code == ErrorCode.SERIALIZATION_FAILED
        assert inbox.messages == []
        assert await asking.ask(Echo("fits")) == Success("fits")
        assert await asking.ask(OldVersion("fits")) == Success("fits")

    async def test_a_message_without_bytes_fails_with_its_sender(
        self, peers: Peers, capabilities: TransportCapabilities
    ) -> None:
        """SERIALIZATION_FAILED at once; the next one travels."""
        requires(capabilities, zero_copy=False)
        inbox = Inbox()
        await peers.add("any", requests={Anything: inbox})
        asking = await peers.add()

        result = await asking.ask(Anything(object()))

        assert result.error.code == ErrorCode.SERIALIZATION_FAILED
        assert inbox.messages == []
        assert (await asking.ask(Anything("fits"))).is_success

    async def test_a_value_without_bytes_is_an_error_for_its_sender(
        self, peers: Peers, capabilities: TransportCapabilities
    ) -> None:
        """SERIALIZATION_FAILED instead of silence."""
        requires(capabilities, zero_copy=False)

        async def unspeakable(_message: Anything, _context: MessageContext) -> object:
            return object()

        await peers.add("any", requests={Anything: unspeakable, Echo: echo})
        asking = await peers.add()

        result = await asking.ask(Anything("x"))

        assert result.error.code == ErrorCode.SERIALIZATION_FAILED
        assert await asking.ask(Echo("next")) == Success("next")

    async def test_an_error_whose_details_have_no_bytes_keeps_its_code(
        self, peers: Peers, capabilities: TransportCapabilities
    ) -> None:
        """What can be said is said."""
        requires(capabilities, zero_copy=False)

        async def refuse(_message: Echo, _context: MessageContext) -> CatgaResult[str]:
            return Failure(CatgaError("no", code="REFUSED", details={"what": object()}))

        await peers.add("refusing", requests={Echo: refuse})
        asking = await peers.add()

        error = (await asking.ask(Echo("x"))).error

        assert (error.code, error.message) == ("REFUSED", "no")

    async def test_garbage_on_the_wire_stops_nothing(
        self, peers: Peers, capabilities: TransportCapabilities, send_garbage: GarbageSender | None
    ) -> None:
        """Neither requests nor events reach a handler from it, and the subscriptions live on."""
        requires(capabilities, remote=True)
        if send_garbage is None:
            pytest.skip("the fixture send_garbage is not given")
        inbox = Inbox()
        await peers.add("strict", requests={Echo: inbox}, events={Happened: inbox})
        asking = await peers.add()

        for data in GARBAGE:
            await send_garbage(described(Echo), data)
            await send_garbage(described(Happened), data)
        result = await asking.ask(Echo("good"))
        await asking.tell(Happened(1))

        assert result == Success("good")
        await inbox.until(2)
        assert inbox.messages == [Echo("good"), Happened(1)]
