"""`LoopbackTransport`: the port that Catga asks for."""

from __future__ import annotations

import asyncio
from typing import TypeVar
from urllib.parse import urlsplit

from catga_core import (
    CatgaError,
    CatgaResult,
    Clock,
    ConfigurationError,
    ErrorCode,
    Event,
    Failure,
    Health,
    HealthStatus,
    MessageContext,
    MessageType,
    Serializer,
    TransportCapabilities,
)
from catga_core.errors import MessageTooLargeError, Outcome, TransportError
from catga_core.interfaces import Inbound
from catga_core.messages import Request
from catga_core.messages.serialization import EnvelopeCodec
from catga_core.runtime import HomeLoop

from .frames import MAX_BODY, Answer, Ask, Leave, Listen, Tell
from .inbound import Events, Requests
from .wire import Wire, failed

R = TypeVar("R")


class LoopbackTransport:
    """Carries messages through a hub.

    Args:
        url: Where the hub is: `loopback://host:port`.
        serializer: The format of the messages.
        clock: What deadlines are compared with.
        connect_timeout: Seconds within which the hub has to answer.
        request_timeout: Seconds a request waits when its sender set no deadline.

    Raises:
        ConfigurationError: For a URL without host and port.
    """

    def __init__(
        self,
        url: str,
        serializer: Serializer,
        clock: Clock,
        *,
        connect_timeout: float = 5.0,
        request_timeout: float = 30.0,
    ) -> None:
        parts = urlsplit(url)
        if not parts.hostname or not parts.port:
            msg = f"the hub's URL {url!r} names no host and port: write loopback://127.0.0.1:7000"
            raise ConfigurationError(msg)
        self._host, self._port = parts.hostname, parts.port
        self._codec = EnvelopeCodec(serializer)
        self._clock = clock
        self._connect_timeout = connect_timeout
        self._request_timeout = request_timeout
        self._wire: Wire | None = None
        self._home = HomeLoop()
        self._requests: dict[str, Requests] = {}
        self._events: dict[str, Events] = {}
        self._closed = False

    @property
    def capabilities(self) -> TransportCapabilities:
        """It leaves the process, so the contract kit tests all that goes with it."""
        return TransportCapabilities(remote=True)

    async def connect(self) -> None:
        """Return when the hub has taken us."""
        self._home.enter()
        try:
            async with asyncio.timeout(self._connect_timeout):
                reader, writer = await asyncio.open_connection(self._host, self._port)
        except (OSError, TimeoutError) as cause:
            text = f"no hub answers at {self._host}:{self._port}: start one with python -m catga_transport_loopback"
            raise failed(text, "not_sent") from cause
        self._wire = Wire(reader, writer, self._deliver)

    async def serve(self, inbound: Inbound, /) -> None:
        """Listen for what this process handles; the hub says when others can reach it."""
        limit = inbound.max_concurrent
        requests = [Requests(each, self._codec, self._clock, limit) for each in inbound.requests]
        events = [Events(each, inbound.service_name, self._codec, limit) for each in inbound.events]
        self._requests = {each.subject: each for each in requests}
        self._events = {each.subject: each for each in events}
        wire = self._usable()
        listening: list[Requests | Events] = [*requests, *events]
        for each in listening:
            await wire.tell_hub(Listen(each.subject, each.group))

    async def request(
        self, message_type: MessageType, message: Request[R], context: MessageContext, /
    ) -> CatgaResult[R]:
        """Have a request handled by one process; every outcome but cancellation is a result."""
        now = self._clock.time()
        deadline = now + self._request_timeout if context.deadline is None else context.deadline
        if deadline <= now:
            text = f"the deadline of {message_type} had passed before it was sent"
            return Failure(failed(text, "not_sent", ErrorCode.TIMEOUT))
        try:
            wire = self._usable()
            body = self._encode(message_type, message, context, deadline)
        except CatgaError as error:
            return Failure(error)
        reply = await wire.ask(f"request.{message_type.name}", body, deadline - now)
        if isinstance(reply, CatgaError):
            return Failure(reply)
        return self._codec.decode_result(message_type.result, reply)

    async def publish(self, message_type: MessageType, event: Event, context: MessageContext, /) -> None:
        """Hand an event to the hub."""
        wire = self._usable()
        body = self._encode(message_type, event, context, context.deadline)
        wire.send(Tell(f"event.{message_type.name}", body))

    async def drain(self, timeout: float, /) -> None:
        """Leave the hub, finish and answer what runs, then fail what waits here."""
        wire = self._wire
        if wire is None:
            return
        listening: list[Requests | Events] = [*self._requests.values(), *self._events.values()]
        try:
            # What the hub sent before it heard of the end lies before its word in the stream, and is handled.
            async with asyncio.timeout(max(timeout, 0.1)):
                for each in listening:
                    await wire.tell_hub(Leave(each.subject, each.group))
        except (TimeoutError, CatgaError):
            # A hub that does not answer sends nothing more either: what has arrived is finished all the same.
            pass
        await asyncio.gather(*(each.drain(timeout) for each in listening))
        wire.fail_all(failed("this process stops and no longer waits for the answer", "unknown"))

    async def close(self) -> None:
        """Release the connection; a second time does nothing."""
        self._closed = True
        if self._wire is not None:
            self._wire.fail_all(failed("this process stops and no longer waits for the answer", "unknown"))
            await self._wire.close()

    def health(self) -> Health:
        """Tell whether the hub can be reached."""
        where = f"the hub at {self._host}:{self._port}"
        if self._wire is None or self._closed:
            return Health(HealthStatus.UNHEALTHY, f"not connected to {where}")
        if self._wire.lost:
            return Health(HealthStatus.UNHEALTHY, f"lost {where}")
        return Health(HealthStatus.HEALTHY, f"connected to {where}")

    def _deliver(self, wire: Wire, frame: Ask | Tell) -> None:
        if isinstance(frame, Tell):
            events = self._events.get(frame.subject)
            if events is not None:
                events.take(frame.body)
            return
        number, requests = frame.number, self._requests.get(frame.subject)
        if requests is not None:
            requests.take(frame.body, lambda body: wire.send(Answer(number, body)))
        else:
            refused = failed(f"{frame.subject} came to a process that does not handle it", "not_started")
            wire.send(Answer(number, self._codec.encode_result(Failure(refused))))

    def _encode(
        self, message_type: MessageType, message: object, context: MessageContext, deadline: float | None
    ) -> bytes:
        body = self._codec.encode(message_type, message, context, deadline)
        if len(body) > MAX_BODY:
            raise MessageTooLargeError(
                str(message_type), len(body), MAX_BODY, fix="raise MAX_BODY of the hub"
            )
        return body

    def _usable(self) -> Wire:
        if self._wire is None or self._closed:
            raise failed("the loopback transport is not connected: send between start and stop", "not_sent")
        problem = self._home.problem()
        if problem is not None:
            text = f"the loopback transport {problem}"
            raise TransportError(text, outcome=Outcome.NOT_SENT, retryable=False)
        if self._wire.lost:
            text = f"the hub at {self._host}:{self._port} is lost: start it and then this process again"
            raise failed(text, "not_sent")
        return self._wire
