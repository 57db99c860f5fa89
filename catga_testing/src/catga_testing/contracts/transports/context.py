"""What travels beside a message."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import pytest

from catga_core import MessageContext
from catga_testing.contracts.transports.base import TransportContractBase
from catga_testing.contracts.transports.handlers import Inbox
from catga_testing.contracts.transports.messages import Echo, Happened
from catga_testing.contracts.transports.peers import Peer, Peers

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_surroundings: ContextVar[str] = ContextVar("catga_contract_surroundings", default="nothing")
_both_kinds = pytest.mark.parametrize("kind", ["request", "event"])
HEADERS = {"tenant": "acme", "note": "größer: ja, 100 %", "empty": ""}


async def _send(peer: Peer, context: MessageContext, kind: str) -> None:
    if kind == "request":
        assert (await peer.ask(Echo("x"), context=context)).is_success
    else:
        await peer.tell(Happened(1), context=context)


class ContextContract(TransportContractBase):
    """A receiver knows of a message what its sender knew."""

    @_both_kinds
    async def test_the_ids_travel(self, peers: Peers, kind: str) -> None:
        """Message, correlation and causation id, so that a conversation can be followed."""
        inbox = Inbox()
        await peers.add("reader", requests={Echo: inbox}, events={Happened: inbox})
        sender = await peers.add()
        context = sender.context(message_id="m-1", correlation_id="c-1", causation_id="m-0")

        await _send(sender, context, kind)

        await inbox.until(1)
        got = inbox.got[0][1]
        assert (got.message_id, got.correlation_id, got.causation_id) == ("m-1", "c-1", "m-0")

    @_both_kinds
    async def test_a_first_message_is_its_own_correlation_and_has_no_cause(
        self, peers: Peers, kind: str
    ) -> None:
        """As it was sent, so it arrives."""
        inbox = Inbox()
        await peers.add("reader", requests={Echo: inbox}, events={Happened: inbox})
        sender = await peers.add()

        await _send(sender, sender.context(message_id="m-1"), kind)

        await inbox.until(1)
        got = inbox.got[0][1]
        assert (got.message_id, got.correlation_id, got.causation_id) == ("m-1", "m-1", None)

    @_both_kinds
    async def test_the_deadline_travels(self, peers: Peers, kind: str) -> None:
        """To the hundredth of a second, so that what is sent from the handler can keep to it."""
        inbox = Inbox()
        await peers.add("reader", requests={Echo: inbox}, events={Happened: inbox})
        sender = await peers.add()
        context = sender.context(timeout=7.5)

        await _send(sender, context, kind)

        await inbox.until(1)
        assert inbox.got[0][1].deadline == pytest.approx(context.deadline, abs=0.01)

    @_both_kinds
    async def test_headers_travel(self, peers: Peers, kind: str) -> None:
        """With any text in them, and no others appear."""
        inbox = Inbox()
        await peers.add("reader", requests={Echo: inbox}, events={Happened: inbox})
        sender = await peers.add()

        await _send(sender, sender.context(headers=HEADERS), kind)
        await _send(sender, sender.context(), kind)

        await inbox.until(2)
        assert sorted((dict(context.headers) for _, context in inbox.got), key=len) == [{}, HEADERS]

    @_both_kinds
    async def test_the_trace_context_travels(self, peers: Peers, kind: str) -> None:
        """`traceparent` and `tracestate` as they were."""
        inbox = Inbox()
        await peers.add("reader", requests={Echo: inbox}, events={Happened: inbox})
        sender = await peers.add()

        await _send(sender, sender.context(traceparent=TRACEPARENT, tracestate="vendor=a,other=b"), kind)

        await inbox.until(1)
        got = inbox.got[0][1]
        assert (got.traceparent, got.tracestate) == (TRACEPARENT, "vendor=a,other=b")

    @_both_kinds
    async def test_a_handler_sees_nothing_of_its_senders_surroundings(
        self,
        peers: Peers,
        kind: str,
    ) -> None:
        """What a sender keeps in context variables is its own, in one process as in two."""
        seen: list[str] = []
        inbox = Inbox()

        async def look(message: Any, context: MessageContext) -> str:
            seen.append(_surroundings.get())
            return await inbox(message, context)

        await peers.add("reader", requests={Echo: look}, events={Happened: look})
        sender = await peers.add()
        token = _surroundings.set("the sender's")
        try:
            await _send(sender, sender.context(), kind)
            await inbox.until(1)
        finally:
            _surroundings.reset(token)

        assert seen == ["nothing"]

    @_both_kinds
    async def test_what_a_handler_keeps_in_context_variables_ends_with_its_message(
        self,
        peers: Peers,
        kind: str,
    ) -> None:
        """The next message begins as the first one did."""
        seen: list[str] = []
        inbox = Inbox()

        async def leave(message: Any, context: MessageContext) -> str:
            seen.append(_surroundings.get())
            _surroundings.set("the message before")
            return await inbox(message, context)

        await peers.add("reader", requests={Echo: leave}, events={Happened: leave})
        sender = await peers.add()

        for number in range(3):
            await _send(sender, sender.context(), kind)
            await inbox.until(number + 1)

        assert seen == ["nothing"] * 3
