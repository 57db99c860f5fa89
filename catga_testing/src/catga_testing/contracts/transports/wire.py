"""What a transport makes of bytes it does not understand, and of values that have none."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from catga_core import (
    CatgaError,
    CatgaResult,
    ErrorCode,
    Failure,
    MessageContext,
    Success,
)
from catga_core import message_type as described
from catga_testing.contracts.kept import needs
from catga_testing.contracts.transports.base import GarbageSender, TransportContractBase
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

    @needs(remote=True)
    async def test_a_message_of_another_version_is_answered_with_an_error(self, peers: Peers) -> None:
        """SERIALIZATION_FAILED; the receiver goes on receiving."""
        inbox = Inbox()
        await peers.add("strict", requests={OldVersion: inbox})
        asking = await peers.add()

        result = await asking.ask(NewVersion("x"))

        assert result.error.code == ErrorCode.SERIALIZATION_FAILED
        assert inbox.messages == []
        assert await asking.ask(OldVersion("fits")) == Success("fits")

    @needs(remote=True)
    async def test_a_message_that_breaks_its_types_is_answered_as_invalid(self, peers: Peers) -> None:
        """VALIDATION_FAILED with the field, as a process answers that handles its own messages."""
        inbox = Inbox()
        await peers.add("strict", requests={Echo: inbox})
        asking = await peers.add()

        error = (await asking.ask(WrongEcho(1))).error

        assert error.code == ErrorCode.VALIDATION_FAILED
        assert [problem["field"] for problem in error.details["errors"]] == ["text"]
        assert all(problem["message"] for problem in error.details["errors"])
        assert inbox.messages == []
        assert await asking.ask(Echo("fits")) == Success("fits")

    async def test_a_message_without_bytes_fails_with_its_sender(self, peers: Peers) -> None:
        """SERIALIZATION_FAILED at once; the next one travels."""
        inbox = Inbox()
        await peers.add("any", requests={Anything: inbox})
        asking = await peers.add()

        result = await asking.ask(Anything(object()))

        assert result.error.code == ErrorCode.SERIALIZATION_FAILED
        assert inbox.messages == []
        assert (await asking.ask(Anything("fits"))).is_success

    @needs(zero_copy=False)
    async def test_a_value_without_bytes_is_an_error_for_its_sender(self, peers: Peers) -> None:
        """SERIALIZATION_FAILED instead of silence."""

        async def unspeakable(_message: Anything, _context: MessageContext) -> object:
            return object()

        await peers.add("any", requests={Anything: unspeakable, Echo: echo})
        asking = await peers.add()

        result = await asking.ask(Anything("x"))

        assert result.error.code == ErrorCode.SERIALIZATION_FAILED
        assert await asking.ask(Echo("next")) == Success("next")

    async def test_a_message_that_would_arrive_as_another_is_refused(self, peers: Peers) -> None:
        """SERIALIZATION_FAILED with its sender; the handler never sees the other one."""
        inbox = Inbox()
        await peers.add("any", requests={Anything: inbox})
        asking = await peers.add()

        result = await asking.ask(Anything({"price": Decimal("1.50")}))

        assert result.error.code == ErrorCode.SERIALIZATION_FAILED
        assert inbox.messages == []
        assert (await asking.ask(Anything({"price": "1.50"}))).is_success

    @needs(zero_copy=False)
    async def test_a_value_that_would_arrive_as_another_is_an_error_for_its_sender(
        self, peers: Peers
    ) -> None:
        """SERIALIZATION_FAILED instead of a text where a decimal was."""

        async def price(_message: Anything, _context: MessageContext) -> object:
            return Decimal("1.50")

        await peers.add("any", requests={Anything: price})
        asking = await peers.add()

        result = await asking.ask(Anything("x"))

        assert result.error.code == ErrorCode.SERIALIZATION_FAILED

    @pytest.mark.parametrize(
        ("details", "told"),
        [
            ({"what": object(), "sku": "a-1"}, {"sku": "a-1"}),
            ({1: "one"}, {"1": "one"}),
            ({"deep": [{"what": object()}]}, {}),
            ({"text": "half \ud800 of it"}, {"text": "half ? of it"}),
            ({"ha\ud800lf": 1}, {"ha?lf": 1}),
            ({"price": Decimal("1.50"), "sizes": (1, {2})}, {"price": "1.50", "sizes": [1, [2]]}),
            ({"huge": 2**70, "none": float("nan")}, {"huge": str(2**70), "none": "nan"}),
        ],
        ids=[
            "no bytes",
            "a number for a key",
            "no bytes inside",
            "a surrogate",
            "a surrogate in a key",
            "texts and lists",
            "numbers",
        ],
    )
    async def test_an_error_whose_details_have_no_bytes_keeps_its_code_and_the_other_details(
        self, peers: Peers, details: Any, told: dict[str, Any]
    ) -> None:
        """What can be said is said."""

        async def refuse(_message: Echo, _context: MessageContext) -> CatgaResult[str]:
            return Failure(CatgaError("n\ud800", code="REFUSED", retryable=True, details=details))

        await peers.add("refusing", requests={Echo: refuse})
        asking = await peers.add()

        error = (await asking.ask(Echo("x"))).error

        assert (error.code, error.message, error.retryable) == ("REFUSED", "n?", True)
        assert error.details == told

    @pytest.mark.parametrize("kind", ["message", "detail"])
    async def test_an_error_with_a_very_long_text_keeps_its_code(self, peers: Peers, kind: str) -> None:
        """The text is shortened, and says so."""
        long = "x" * 3_000_000

        async def refuse(_message: Echo, _context: MessageContext) -> CatgaResult[str]:
            if kind == "message":
                return Failure(CatgaError(long, code="REFUSED", details={"sku": "a-1"}))
            return Failure(CatgaError("no", code="REFUSED", details={"long": long, "sku": "a-1"}))

        await peers.add("refusing", requests={Echo: refuse})
        asking = await peers.add()

        error = (await asking.ask(Echo("x"))).error

        assert (error.code, error.details["sku"]) == ("REFUSED", "a-1")
        assert "shortened" in (error.message if kind == "message" else error.details["long"])

    @needs(zero_copy=False)
    async def test_an_error_that_cannot_be_told_is_answered_all_the_same(self, peers: Peers) -> None:
        """INTERNAL_ERROR instead of silence."""

        async def refuse(_message: Echo, _context: MessageContext) -> CatgaResult[str]:
            error = CatgaError("no")
            error.details = 5  # type: ignore[assignment]
            return Failure(error)

        await peers.add("refusing", requests={Echo: refuse})
        asking = await peers.add()

        error = (await asking.ask(Echo("x"))).error

        assert error.code == ErrorCode.INTERNAL_ERROR
        assert error.message

    @needs(remote=True)
    @pytest.mark.parametrize(
        ("given", "named"),
        [
            ({"headers": {"tenant": 5}}, "headers['tenant']"),
            ({"headers": {5: "x"}}, "headers"),
            ({"message_id": 5, "correlation_id": 5}, "message_id"),
        ],
    )
    async def test_an_id_or_a_header_that_is_no_text_fails_with_its_sender(
        self, peers: Peers, given: dict[str, Any], named: str
    ) -> None:
        """SERIALIZATION_FAILED that names the argument."""
        inbox = Inbox()
        await peers.add("strict", requests={Echo: inbox})
        asking = await peers.add()

        error = (await asking.ask(Echo("x"), context=asking.context(**given))).error

        assert error.code == ErrorCode.SERIALIZATION_FAILED
        assert named in error.message
        assert inbox.messages == []

    @needs(remote=True)
    async def test_garbage_on_the_wire_stops_nothing(
        self, peers: Peers, send_garbage: GarbageSender | None
    ) -> None:
        """Neither requests nor events reach a handler from it, and the subscriptions live on."""
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
