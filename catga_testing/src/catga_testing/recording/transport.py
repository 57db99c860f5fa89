"""The transport that an application under test is given: the real one, with an eye on what passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from catga_core.errors import CatgaError
from catga_core.interfaces.endpoints import (
    Delivered,
    EventEndpoint,
    HandlerEndpoint,
    Inbound,
    RequestEndpoint,
    StreamEndpoint,
    Undecoded,
    keep_undecoded_of,
    validates,
)
from catga_core.interfaces.health import Health
from catga_core.interfaces.transport import Transport, TransportCapabilities
from catga_core.messages import Event, MessageType, Request
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure
from catga_testing.recording.network import Network
from catga_testing.recording.records import Journal, Outcome, Received

R = TypeVar("R")


class ObservedTransport:
    """Passes everything on to a transport, records what arrives and counts what is on its way.

    Args:
        inner: What does the work.
        journal: Where to write.
        network: Where to count.
    """

    def __init__(self, inner: Transport, journal: Journal, network: Network) -> None:
        self._inner = inner
        self._journal = journal
        self._network = network
        self._leave: Callable[[], None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def capabilities(self) -> TransportCapabilities:
        """What the transport can do."""
        return self._inner.capabilities

    async def connect(self) -> None:
        """Connect."""
        await self._inner.connect()

    async def serve(self, inbound: Inbound, /) -> None:
        """Listen, with a record of what arrives."""
        service = inbound.service_name
        events = frozenset(str(endpoint.message_type) for endpoint in inbound.events)
        observed = Inbound(
            service,
            [ObservedRequests(each, service, self._journal, self._network) for each in inbound.requests],
            [ObservedEvents(each, service, self._journal, self._network) for each in inbound.events],
            inbound.max_concurrent,
            [ObservedStreams(each, service, self._journal, self._network) for each in inbound.streams],
        )
        await self._inner.serve(observed)
        self._leave = self._network.serve(service, events)

    async def request(
        self, message_type: MessageType, message: Request[R], context: MessageContext, /
    ) -> CatgaResult[R]:
        """Send a request."""
        return await self._inner.request(message_type, message, context)

    async def publish(self, message_type: MessageType, event: Event, context: MessageContext, /) -> None:
        """Publish an event, and wait for it at every service that is hosted here."""
        give_up = self._network.expect(message_type, context.message_id)
        try:
            await self._inner.publish(message_type, event, context)
        except BaseException:
            give_up()
            raise

    async def drain(self, timeout: float, /) -> None:
        """Drain; afterwards nothing is expected here."""
        try:
            await self._inner.drain(timeout)
        finally:
            if self._leave is not None:
                self._leave()
                self._leave = None

    async def close(self) -> None:
        """Close."""
        await self._inner.close()

    def health(self) -> Health:
        """Return the transport's state."""
        return self._inner.health()


class ObservedRequests:
    """One request type, recorded and counted.

    Args:
        inner: What handles it.
        service: This application's name, for errors.
        journal: Where to write.
        network: Where to count.
    """

    def __init__(self, inner: RequestEndpoint, service: str, journal: Journal, network: Network) -> None:
        self._inner = inner
        self._service = service
        self._journal = journal
        self._network = network

    @property
    def validates(self) -> bool:
        """Whether the endpoint validates messages itself."""
        return validates(self._inner)

    @property
    def message_type(self) -> MessageType:
        """The request's type."""
        return self._inner.message_type

    async def handle(self, message: Any, context: MessageContext, /) -> CatgaResult[Any]:
        """Handle one request."""
        received: Received[Any] = Received(message, context)
        self._journal.received.append(received)
        with self._network.working(
            f"{self._service} handles {self.message_type.name} ({context.message_id})"
        ):
            try:
                result = await self._inner.handle(message, context)
            except asyncio.CancelledError:
                received.outcome = Outcome.CANCELLED
                raise
            received.result = result
            received.outcome = Outcome.FAILED if isinstance(result, Failure) else Outcome.SUCCEEDED
            return result


class ObservedStreams:
    """One stream query type, recorded and counted.

    Args:
        inner: What handles it.
        service: This application's name, for errors.
        journal: Where to write.
        network: Where to count.
    """

    def __init__(self, inner: StreamEndpoint, service: str, journal: Journal, network: Network) -> None:
        self._inner = inner
        self._service = service
        self._journal = journal
        self._network = network

    @property
    def validates(self) -> bool:
        """Whether the endpoint validates messages itself."""
        return validates(self._inner)

    @property
    def message_type(self) -> MessageType:
        """The stream query's type."""
        return self._inner.message_type

    async def stream(self, query: Any, context: MessageContext, /) -> AsyncGenerator[Any, None]:
        """Yield the items of one stream query."""
        received: Received[Any] = Received(query, context)
        self._journal.received.append(received)
        name = f"{self._service} answers {self.message_type.name} ({context.message_id})"
        with self._network.working(name):
            received.outcome = Outcome.CANCELLED
            try:
                async with aclosing(self._inner.stream(query, context)) as items:
                    async for item in items:
                        yield item
            except Exception:
                received.outcome = Outcome.FAILED
                raise
            received.outcome = Outcome.SUCCEEDED


class ObservedEvents:
    """One event type, recorded and counted.

    Args:
        inner: What handles it.
        service: This application's name; the event has arrived there.
        journal: Where to write.
        network: Where to count.
    """

    def __init__(self, inner: EventEndpoint, service: str, journal: Journal, network: Network) -> None:
        self._inner = inner
        self._service = service
        self._journal = journal
        self._network = network

    @property
    def validates(self) -> bool:
        """Whether the endpoint validates messages itself."""
        return validates(self._inner)

    @property
    def message_type(self) -> MessageType:
        """The event's type."""
        return self._inner.message_type

    async def keep_undecoded(self, message: Undecoded, error: CatgaError, /) -> None:
        """Note that an event has arrived that cannot be decoded, and keep it where the endpoint does."""
        keep = keep_undecoded_of(self._inner)
        with self._network.working(f"{self._service} keeps {message.name} ({message.context.message_id})"):
            self._network.arrived(self._service, self.message_type, message.context.message_id)
            if keep is not None:
                await keep(message, error)

    @property
    def handlers(self) -> Sequence[HandlerEndpoint]:
        """The event's handlers one by one."""
        return self._inner.handlers

    async def handle(self, event: Any, context: MessageContext, /) -> Sequence[Delivered]:
        """Deliver one event."""
        received: Received[Any] = Received(event, context)
        self._journal.received.append(received)
        with self._network.working(
            f"{self._service} handles {self.message_type.name} ({context.message_id})"
        ):
            self._network.arrived(self._service, self.message_type, context.message_id)
            try:
                delivered = await self._inner.handle(event, context)
            except asyncio.CancelledError:
                received.outcome = Outcome.CANCELLED
                raise
            received.outcome = Outcome.SUCCEEDED
            return delivered
