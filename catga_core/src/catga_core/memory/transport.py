"""The in-process transport: the contract of a server-backed one, without bytes and without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeVar

from catga_core.clock import Clock, SystemClock
from catga_core.errors import (
    CatgaError,
    ConcurrencyLimitError,
    HandlerNotFoundError,
    Outcome,
    RequestTimeoutError,
    TransportError,
)
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.transport import Inbound, TransportCapabilities
from catga_core.memory.bus import Answer, Listener, LocalBus
from catga_core.memory.streams import LocalStream, StreamListener
from catga_core.messages import Event, MessageType, Request, StreamQuery
from catga_core.messages.bodies import BodyCodec
from catga_core.messages.message_context import MessageContext
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.messages.serialization import msgpack_serializer
from catga_core.messages.serializer import Serializer
from catga_core.runtime.home_loop import HomeLoop

R = TypeVar("R")
T = TypeVar("T")


class LocalTransport:
    """Carries messages between the containers of one process; the receiver gets the sender's own objects.

    A message that a transport with a server would refuse is refused.

    Args:
        bus: Shared by the containers that send to each other.
        clock: Measures deadlines.
        serializer: The container's format, which decides what could be sent; `None` for msgpack.
        registry: Knows the upcasters of messages that are sent in older versions; `None` for none.
        request_timeout: Timeout in seconds of a request without a deadline.
    """

    def __init__(
        self,
        bus: LocalBus,
        clock: Clock | None = None,
        *,
        serializer: Serializer | None = None,
        registry: MessageRegistry | None = None,
        request_timeout: float = 30.0,
    ) -> None:
        self.bus = bus
        self._bodies = BodyCodec(serializer or msgpack_serializer(), registry)
        self._clock = clock or SystemClock()
        self._request_timeout = request_timeout
        self._listeners: list[Listener | StreamListener] = []
        self._streams: set[LocalStream] = set()
        self._pending: set[Answer] = set()
        self._connected = False
        self._home = HomeLoop()

    @property
    def capabilities(self) -> TransportCapabilities:
        """In one process, without copies."""
        return TransportCapabilities(remote=False, zero_copy=True, streams=True)

    async def connect(self) -> None:
        """Mark the transport as connected."""
        self._home.enter()
        self._connected = True

    async def serve(self, inbound: Inbound, /) -> None:
        """Put this container's endpoints on the bus."""
        limit = inbound.max_concurrent
        bodies = self._bodies
        self._listeners += [self.bus.listen_for_request(each, limit, bodies) for each in inbound.requests]
        self._listeners += [
            self.bus.listen_for_event(each, inbound.service_name, limit, bodies) for each in inbound.events
        ]
        self._listeners += [self.bus.listen_for_stream(each, limit, bodies) for each in inbound.streams]

    async def request(
        self, message_type: MessageType, message: Request[R], context: MessageContext, /
    ) -> CatgaResult[R]:
        """Send a request to one of the containers on the bus.

        Cancelling the sender does not cancel the handler, as in another process.
        """
        refusal = self._refusal(message_type)
        if refusal is not None:
            return Failure(refusal)
        deadline = context.deadline
        left = self._request_timeout if deadline is None else deadline - self._clock.time()
        if left <= 0:
            return Failure(
                _late(
                    message_type,
                    "was not started: its deadline had passed. Retry with a longer timeout.",
                    started=False,
                )
            )
        try:
            self._bodies.check(message_type, message)
        except CatgaError as error:
            return Failure(error)
        listener = self.bus.handler_of(message_type.cls)
        if listener is None:
            return await self._request_newer(message_type, message, context, left)
        return await self._ask(listener, message, context, left)

    async def _request_newer(
        self, message_type: MessageType, message: Any, context: MessageContext, left: float
    ) -> CatgaResult[Any]:
        """Send a request to a container that handles a newer version of it."""
        found = self.bus.handler_of_older(message_type)
        if found is None:
            return Failure(_unhandled(message_type))
        listener, way = found
        try:
            newer = way.message(message)
        except CatgaError as error:
            return Failure(error)
        return way.result(await self._ask(listener, newer, context, left))

    async def _ask(
        self, listener: Listener, message: Any, context: MessageContext, left: float
    ) -> CatgaResult[Any]:
        message_type = listener.endpoint.message_type
        if listener.home.loop is not asyncio.get_running_loop():
            return Failure(_elsewhere(listener))
        if listener.intake.full:
            return Failure(ConcurrencyLimitError(message_type.name, listener.intake.limit))
        answer = listener.ask(message, context)
        if answer.done():
            return answer.result()
        self._pending.add(answer)
        limit = asyncio.timeout(left)
        try:
            async with limit:
                return await answer
        except TimeoutError:
            if not limit.expired():
                raise
            return Failure(_late(message_type, f"was not answered within {left:.3g} s.", started=None))
        finally:
            self._pending.discard(answer)

    async def stream(
        self, message_type: MessageType, query: StreamQuery[T], context: MessageContext, /
    ) -> AsyncGenerator[T, None]:
        """Ask one of the containers on the bus, whose handler may be up to 64 items ahead."""
        refusal = self._refusal(message_type)
        if refusal is not None:
            raise refusal
        left = None if context.deadline is None else context.deadline - self._clock.time()
        if left is not None and left <= 0:
            text = "was not started: its deadline had passed. Retry with a longer timeout."
            raise _late(message_type, text, started=False)
        self._bodies.check(message_type, query)
        listener, message, way = self.bus.stream_of(message_type.cls), query, None
        if listener is None:
            found = self.bus.stream_of_older(message_type)
            if found is None:
                raise _unhandled(message_type)
            listener, way = found
            message = way.message(query)
        name = listener.endpoint.message_type.name
        if listener.home.loop is not asyncio.get_running_loop():
            raise _elsewhere(listener)
        if listener.intake.full:
            raise ConcurrencyLimitError(name, listener.intake.limit)
        opened = listener.open(message, context)
        self._streams.add(opened)
        try:
            async with aclosing(opened.items(name, left)) as items:
                async for item in items:
                    yield item if way is None else way.result(Success(item)).unwrap()
        finally:
            self._streams.discard(opened)

    async def publish(self, message_type: MessageType, event: Event, context: MessageContext, /) -> None:
        """Deliver an event to one container of each subscribed service, without waiting for its handlers."""
        refusal = self._refusal(message_type)
        if refusal is not None:
            raise refusal
        self._bodies.check(message_type, event)
        listeners = self.bus.listeners_of(message_type.cls)
        for listener in listeners:
            if listener.home.loop is not asyncio.get_running_loop():
                raise _elsewhere(listener)
        for listener in listeners:
            listener.tell(event, context)

    async def drain(self, timeout: float, /) -> None:
        """Leave the bus, finish running handlers, then fail unanswered requests.

        Args:
            timeout: Seconds after which running handlers are cancelled and their senders get an error; this process's own
                requests wait as long for their responses.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout
        for listener in self._listeners:
            self.bus.leave(listener)
        if not self._home.is_here:
            # What runs there cannot be awaited here.
            self._listeners.clear()
            self._pending.clear()
            self._streams.clear()
            return
        await asyncio.gather(*(listener.drain(timeout) for listener in self._listeners))
        self._listeners.clear()
        while waiting := self._waiting():
            left = ends_at - loop.time()
            if left <= 0:
                break
            # Work in flight continues after a response, and may send another request.
            await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        self._give_up()

    async def close(self) -> None:
        """Disconnect, and fail unanswered requests."""
        self._connected = False
        self._give_up()

    def health(self) -> Health:
        """Return whether messages can be sent."""
        details = {
            "pending_requests": len(self._pending),
            "open_streams": len(self._streams),
            "running": sum(listener.running for listener in self._listeners),
        }
        if self._connected:
            return Health(HealthStatus.HEALTHY, "in process", details)
        return Health(HealthStatus.UNHEALTHY, "not connected", details)

    def _refusal(self, message_type: MessageType) -> CatgaError | None:
        if not self._connected:
            return _closed(message_type)
        if self._home.loop is not asyncio.get_running_loop():
            text = f"{message_type.name} was not sent: the local transport {self._home.problem()}"
            return TransportError(text, outcome=Outcome.NOT_SENT, retryable=False)
        return None

    def _waiting(self) -> list[asyncio.Future[Any]]:
        """Return what this container still waits for: responses, and streams that are read to their end."""
        waiting: list[asyncio.Future[Any]] = [*self._pending, *(each.closed for each in self._streams)]
        return [each for each in waiting if not each.done()]

    def _give_up(self) -> None:
        for stream in tuple(self._streams):
            text = "The asker's container stopped before the end of the stream."
            stream.buffer.end(TransportError(text, outcome=Outcome.UNKNOWN))
            stream.pump.cancel()
        for answer in tuple(self._pending):
            if not answer.done():
                text = (
                    "The sender's container stopped before the response. The request may have taken effect."
                )
                answer.set_result(Failure(TransportError(text, outcome=Outcome.UNKNOWN)))


def _elsewhere(listener: Listener | StreamListener) -> CatgaError:
    text = (
        f"{listener.endpoint.message_type.name} was not sent: a container on this bus that handles it runs in another event "
        "loop. Run the containers of a local bus in one event loop, or connect them by a transport with a server."
    )
    return TransportError(text, outcome=Outcome.NOT_SENT, retryable=False)


def _unhandled(message_type: MessageType) -> CatgaError:
    text = (
        f"No handler is registered for {message_type.name} on this bus. Register one with add_handlers(...)."
    )
    return HandlerNotFoundError(text, outcome=Outcome.NOT_STARTED)


def _closed(message_type: MessageType) -> CatgaError:
    return TransportError(
        f"{message_type.name} was not sent: the local transport is not connected. Send while the container runs.",
        outcome=Outcome.NOT_SENT,
    )


def _late(message_type: MessageType, what: str, *, started: bool | None) -> CatgaError:
    outcome = Outcome.UNKNOWN if started is None else Outcome.NOT_STARTED
    unknown = " It may have taken effect; check before you retry." if started is None else ""
    return RequestTimeoutError(f"{message_type.name} {what}{unknown}", outcome=outcome)
