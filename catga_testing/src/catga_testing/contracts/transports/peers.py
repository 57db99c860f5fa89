"""Peers on one network, and handlers that a test holds in its hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from catga_core import CatgaResult, Clock, MessageContext, SystemClock, Transport, message_type
from catga_core.identifiers import new_id
from catga_core.interfaces import Delivered, HandlerEndpoint, Inbound
from catga_core.messages import Event, Message, MessageKind, MessageType, Request, StreamQuery
from catga_core.pipeline import as_result
from catga_testing.contracts.limits import DEADLINE, PATIENCE

TransportFactory = Callable[[Clock], Transport]
"""Makes one more transport on a test's network; its deadlines are compared with the clock."""

Handler = Callable[[Any, MessageContext], Awaitable[Any]]
"""Handles one message; what it returns becomes a success unless it is a result."""


StreamHandler = Callable[[Any, MessageContext], AsyncGenerator[Any, None]]
"""Answers one stream query with its items."""


class StreamEndpoint:
    """One stream query type with the function that answers it.

    Args:
        cls: The stream query's class.
        answer: What answers it.
    """

    def __init__(self, cls: type[Message], answer: StreamHandler) -> None:
        self.message_type: MessageType = message_type(cls)
        self._answer = answer

    def stream(self, query: Any, context: MessageContext, /) -> AsyncGenerator[Any, None]:
        """Return the items of one stream query."""
        return self._answer(query, context)


class Endpoint:
    """One message type with the function that handles it.

    Args:
        cls: The message's class.
        handle: What handles it.
    """

    def __init__(self, cls: type[Message], handle: Handler) -> None:
        self.message_type: MessageType = message_type(cls)
        self._handle = handle

    @property
    def handler(self) -> str:
        """The handler's name."""
        return "handler"

    @property
    def handlers(self) -> Sequence[HandlerEndpoint]:
        """The event's only handler."""
        return [self]

    async def handle(self, message: Any, context: MessageContext, /) -> Any:
        """Handle one message."""
        result = as_result(await self._handle(message, context))
        if self.message_type.kind is MessageKind.EVENT:
            return [Delivered(self.handler, result)]
        return result


class Peer:
    """One process on the network, as the kit sees it.

    Args:
        transport: Its transport.
        clock: Its clock.
    """

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self.transport = transport
        self._clock = clock
        self._drained = False
        self._closed = False

    def context(self, *, timeout: float | None = DEADLINE, **given: Any) -> MessageContext:
        """Return a context for a message of its own conversation.

        Args:
            timeout: Seconds until its deadline.
            given: Fields of `MessageContext` to set.
        """
        identity = given.get("message_id") or new_id()
        deadline = None if timeout is None else self._clock.time() + timeout
        return msgspec.structs.replace(MessageContext(identity, identity, None, deadline), **given)

    async def ask(
        self,
        request: Request[Any],
        *,
        timeout: float | None = DEADLINE,
        context: MessageContext | None = None,
    ) -> CatgaResult[Any]:
        """Send a request and return its result.

        Args:
            request: The message.
            timeout: Seconds until its deadline.
            context: Its context, else one of its own.
        """
        async with asyncio.timeout(PATIENCE):
            return await self.transport.request(
                message_type(type(request)), request, context or self.context(timeout=timeout)
            )

    def stream(
        self,
        query: StreamQuery[Any],
        *,
        timeout: float | None = DEADLINE,
        context: MessageContext | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Ask a stream query and return its items.

        Args:
            query: The message.
            timeout: Seconds until its deadline.
            context: Its context, else one of its own.
        """
        transport: Any = self.transport
        items: AsyncGenerator[Any, None] = transport.stream(
            message_type(type(query)), query, context or self.context(timeout=timeout)
        )
        return items

    async def collect(self, query: StreamQuery[Any], **given: Any) -> list[Any]:
        """Ask a stream query and return all of its items.

        Args:
            query: The message.
            given: As for `stream`.
        """
        async with asyncio.timeout(PATIENCE), aclosing(self.stream(query, **given)) as items:
            return [item async for item in items]

    async def tell(self, event: Event, *, context: MessageContext | None = None) -> None:
        """Publish an event."""
        async with asyncio.timeout(PATIENCE):
            await self.transport.publish(
                message_type(type(event)), event, context or self.context(timeout=None)
            )

    async def drain(self, timeout: float = 5.0) -> None:
        """Drain the transport; once, as the container does."""
        self._drained = True
        async with asyncio.timeout(PATIENCE):
            await self.transport.drain(timeout)

    async def close(self) -> None:
        """Close the transport, drained before."""
        if not self._drained:
            await self.drain(0.0)
        if not self._closed:
            self._closed = True
            async with asyncio.timeout(PATIENCE):
                await self.transport.close()


class Peers:
    """All peers of one test.

    Args:
        make_transport: The subclass's fixture.
    """

    def __init__(self, make_transport: TransportFactory) -> None:
        self._make = make_transport
        self._peers: list[Peer] = []

    def unconnected(self, clock: Clock | None = None) -> Peer:
        """Return a peer whose transport was only made."""
        chosen = clock or SystemClock()
        return Peer(self._make(chosen), chosen)

    async def add(
        self,
        service: str = "asking",
        *,
        requests: Mapping[type[Request[Any]], Handler] | None = None,
        events: Mapping[type[Event], Handler] | None = None,
        streams: Mapping[type[StreamQuery[Any]], StreamHandler] | None = None,
        max_concurrent: int = 256,
        clock: Clock | None = None,
    ) -> Peer:
        """Return a peer that is connected and serves.

        Args:
            service: Its service's name.
            requests: What it handles.
            events: What it listens for.
            streams: What stream queries it answers.
            max_concurrent: Its limit.
            clock: Its clock; the machine's without one.
        """
        peer = self.unconnected(clock)
        self._peers.append(peer)
        async with asyncio.timeout(PATIENCE):
            await peer.transport.connect()
            await peer.transport.serve(
                Inbound(
                    service,
                    [Endpoint(cls, each) for cls, each in (requests or {}).items()],
                    [Endpoint(cls, each) for cls, each in (events or {}).items()],
                    max_concurrent,
                    [StreamEndpoint(cls, each) for cls, each in (streams or {}).items()],
                )
            )
        return peer

    async def close(self) -> None:
        """Drain and close every peer that a test has left open."""
        for peer in reversed(self._peers):
            await peer.close()
