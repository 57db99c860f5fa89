"""The port of sending requests to other processes."""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

from catga_core.interfaces.port import port
from catga_core.interfaces.transport_lifecycle import TransportLifecycle
from catga_core.messages import MessageType, Request
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult

R = TypeVar("R")


@port("request_transport")
@runtime_checkable
class RequestTransport(TransportLifecycle, Protocol):
    """Carries each request to the one process that handles it."""

    async def request(
        self, message_type: MessageType, message: Request[R], context: MessageContext, /
    ) -> CatgaResult[R]:
        """Send a request to exactly one process that handles it.

        Returns:
            The result, by `context.deadline` (or the transport's own request timeout) at the latest. Without a responder it is
            `HANDLER_NOT_FOUND` at once, without a response `TIMEOUT`, and with a lost connection `TRANSPORT_FAILED`; only
            cancellation raises.
        """
        ...
