"""The port of sending messages to other processes, and what a transport is given to serve."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import msgspec

from catga_core.interfaces.health import Health
from catga_core.interfaces.port import port
from catga_core.messages import Event, MessageType, Request
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult

R = TypeVar("R")


class TransportCapabilities(msgspec.Struct, frozen=True):
    """What a transport can do; the contract kit tests what is claimed and nothing less.

    Parameters:
        remote: whether it leaves the process, so that messages are serialized and a peer can die.
        zero_copy: whether the receiver gets the sender's own objects.
    """

    remote: bool
    zero_copy: bool = False


class RequestEndpoint(Protocol):
    """One request type this process handles."""

    @property
    def message_type(self) -> MessageType:
        """The request's type."""
        ...

    @property
    def may_suspend(self) -> bool:
        """Whether handling may wait; if not, a transport need not spend a task on it. Ask for each message."""
        ...

    def handle(self, message: Any, context: MessageContext, /) -> Coroutine[Any, Any, CatgaResult[Any]]:
        """Handle one request: validation, behaviors, handler; every outcome but cancellation is a result."""
        ...


class EventEndpoint(Protocol):
    """One event type this process has handlers for."""

    @property
    def message_type(self) -> MessageType:
        """The event's type."""
        ...

    @property
    def may_suspend(self) -> bool:
        """Whether handling may wait; if not, a transport need not spend a task on it. Ask for each message."""
        ...

    def handle(self, event: Any, context: MessageContext, /) -> Coroutine[Any, Any, None]:
        """Run every handler of one delivery; a failing handler is recorded and never raises."""
        ...


class Inbound(msgspec.Struct, frozen=True):
    """What a transport is to listen for.

    Parameters:
        service_name: this service; its replicas share each event's deliveries.
        requests: one endpoint for each request type handled here.
        events: one endpoint for each event type handled here.
        max_concurrent: how many messages of one subscription may be handled at the same time; one more request is
            answered with `CONCURRENCY_LIMITED` at once.
    """

    service_name: str
    requests: Sequence[RequestEndpoint]
    events: Sequence[EventEndpoint]
    max_concurrent: int


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
