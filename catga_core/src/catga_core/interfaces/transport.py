"""The port of sending messages to other processes, and what a transport is given to serve."""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

import msgspec

from catga_core.interfaces.endpoints import EventEndpoint, Inbound, RequestEndpoint
from catga_core.interfaces.health import Health
from catga_core.interfaces.port import port
from catga_core.messages import Event, MessageType, Request
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult

__all__ = [
    "EventEndpoint",
    "Inbound",
    "RequestEndpoint",
    "Transport",
    "TransportCapabilities",
]

R = TypeVar("R")


class TransportCapabilities(msgspec.Struct, frozen=True):
    """What a transport can do; the contract kit tests what is claimed and nothing less.

    Parameters:
        remote: whether it leaves the process, so that messages are serialized and a peer can die.
        zero_copy: whether the receiver gets the sender's own objects.
    """

    remote: bool
    zero_copy: bool = False


@port("transport")
@runtime_checkable
class Transport(Protocol):
    """Carries requests to the one process that handles them, and events to every service that listens.

    The container calls `connect`, `serve`, `drain` and `close` once each, in this order. `request` and `publish` work
    from `connect` until `close`.
    """

    @property
    def capabilities(self) -> TransportCapabilities:
        """What this transport can do."""
        ...

    async def connect(self) -> None:
        """Return when messages can be sent.

        Raises:
            ConfigurationError: when the options cannot work.
            CatgaError: `TRANSPORT_FAILED` when nobody answers within the connect timeout.
        """
        ...

    async def serve(self, inbound: Inbound, /) -> None:
        """Listen for what this process handles; return when the peers can reach it."""
        ...

    async def request(
        self, message_type: MessageType, message: Request[R], context: MessageContext, /
    ) -> CatgaResult[R]:
        """Have a request handled by exactly one process and return its result.

        It returns by `context.deadline` (or the transport's own request timeout) at the latest, and never raises but
        for cancellation: no handler anywhere is `HANDLER_NOT_FOUND` at once, silence is `TIMEOUT`, a lost connection
        is `TRANSPORT_FAILED`.
        """
        ...

    async def publish(self, message_type: MessageType, event: Event, context: MessageContext, /) -> None:
        """Hand an event over to be delivered at most once to every service that listens.

        Raises:
            CatgaError: when it could not be handed over.
        """
        ...

    async def drain(self, timeout: float, /) -> None:
        """Take no new work, finish and answer what runs within so many seconds, then cancel the rest.

        Requests of this process that still wait get a failed result.
        """
        ...

    async def close(self) -> None:
        """Release everything; the transport is of no use afterwards."""
        ...

    def health(self) -> Health:
        """Return the connection's state as it is now."""
        ...
