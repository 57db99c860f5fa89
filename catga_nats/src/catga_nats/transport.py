"""`NatsTransport`: requests, events and streams over one NATS connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any, TypeAlias, TypeVar

import msgspec

from catga_core.clock import Clock, SystemClock
from catga_core.errors import CatgaError, Outcome, TransportError
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.transport import Inbound, TransportCapabilities
from catga_core.log import MESSAGE_FAILED, logger
from catga_core.messages import Event, Message, MessageType, Request, StreamQuery
from catga_core.messages.message_context import NO_HEADERS, MessageContext
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.results import CatgaResult, Failure
from catga_core.messages.serialization import Encode, EnvelopeCodec, json_serializer, msgpack_serializer
from catga_core.messages.serializer import Serializer
from catga_core.runtime import RetryPolicy
from catga_core.runtime.home_loop import LOOP_IS_CLOSED, HomeLoop
from catga_nats import headers as headers_form
from catga_nats.connection import NatsConnection
from catga_nats.counters import Counters
from catga_nats.events import EventListener
from catga_nats.failures import returning, too_large, too_late, unhandled, unsendable, whereabouts
from catga_nats.inbound import Listener, RequestListener
from catga_nats.mux import Answer
from catga_nats.options import NatsOptions
from catga_nats.stream_asking import StreamAsking
from catga_nats.stream_headers import flow_of
from catga_nats.stream_listener import StreamListener
from catga_nats.subjects import REQUEST_GROUP, Subjects, check_service_name

R = TypeVar("R")
T = TypeVar("T")

_Way: TypeAlias = tuple[bytes, Encode | None]
"""A type's subject, and what encodes its messages in the array form; `None` for the headers form."""
_Ways: TypeAlias = dict[type[Message], _Way]

_FAR = 1e12  # seconds since the epoch; a deadline beyond it, infinity say, is none
_REAL_TIME = SystemClock()
# Delays of a request that reaches no responder shortly after an outage.
_RETURNING = RetryPolicy(max_attempts=None, delay_seconds=0.05, max_delay_seconds=0.05)


class _NoRespondersYetError(Exception):
    """The request reached no responder, and one may be back soon.

    Args:
        deadline: The request's deadline, in seconds since the epoch.
    """

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self.deadline: float = deadline


class NatsTransport:
    """Carries messages over NATS: requests to exactly one replica, events at most once to every service.

    Args:
        options: Where the servers are and how to behave.
        serializer: The format of bodies, unless the options name one.
        clock: What deadlines are compared with.
        registry: Knows the upcasters of what older peers send; `None` for none.
    """

    def __init__(
        self,
        options: NatsOptions,
        serializer: Serializer,
        clock: Clock,
        registry: MessageRegistry | None = None,
    ) -> None:
        if options.serializer is not None:
            serializer = json_serializer() if options.serializer == "json" else msgpack_serializer()
        self._options = options
        self._serializer = serializer
        self._clock = clock
        self._registry = registry
        self._codec = EnvelopeCodec(serializer, registry)
        self._request_ways: _Ways = {}
        self._event_ways: _Ways = {}
        self._array = options.envelope == "body"
        self._requests = Subjects(options.subject_prefix, "request")
        self._events = Subjects(options.subject_prefix, "event")
        self._counters = Counters()
        self._streams = StreamAsking(options, clock, self._codec, self._counters, self._connected)
        self._connection: NatsConnection | None = None
        self._listeners: list[Listener] = []
        self._closed = False
        self._home = HomeLoop()

    @property
    def capabilities(self) -> TransportCapabilities:
        """What this transport can do."""
        return TransportCapabilities(remote=True, streams=True)

    async def connect(self) -> None:
        """Return when a server has taken us and answers can arrive.

        Raises:
            ConfigurationError: When files the options name cannot be read.
            CatgaError: `TRANSPORT_FAILED` when no server answers within `connect_timeout`, or it refuses us.
        """
        connection = NatsConnection(self._options, self._counters)
        self._home.enter()
        await connection.start()
        self._connection = connection

    async def serve(self, inbound: Inbound, /) -> None:
        """Listen for what this process handles; return when the servers know of it.

        Raises:
            ConfigurationError: For a service name that cannot be a queue group.
            CatgaError: `TRANSPORT_FAILED`: the server refuses a subscription.
        """
        check_service_name(inbound.service_name)
        connection = self._connected()
        shared = (connection, self._codec, self._serializer, inbound.max_concurrent, self._counters)
        options = self._options
        listeners: list[Listener] = []
        for request in inbound.requests:
            for name in self._names(request.message_type):
                subject = self._requests[name].decode()
                listeners.append(
                    RequestListener(
                        request, self._clock, options.request_timeout, subject, REQUEST_GROUP, *shared
                    )
                )
        for event in inbound.events:
            limits = (options.max_pending_messages, options.max_pending_bytes)
            for name in self._names(event.message_type):
                subject = self._events[name].decode()
                listeners.append(EventListener(event, *limits, subject, inbound.service_name, *shared))
        flowing = (self._clock, options.request_timeout, flow_of(options), self._streams.frames)
        for each in inbound.streams:
            for name in self._names(each.message_type):
                subject = self._streams.subjects[name].decode()
                listeners.append(StreamListener(each, *flowing, subject, REQUEST_GROUP, *shared))
        self._listeners += listeners
        await connection.subscribe([listener.subscription for listener in listeners])

    def _names(self, message_type: MessageType) -> list[str]:
        """Return the names that a message arrives under: its own, and those it had before."""
        former = [] if self._registry is None else self._registry.former_names(message_type)
        return [message_type.name, *former]

    async def request(
        self, message_type: MessageType, message: Request[R], context: MessageContext, /
    ) -> CatgaResult[R]:
        """Have a request handled by exactly one process and return its result; never raises but for cancellation."""
        try:
            return await self._ask(message_type, message, context)
        except _NoRespondersYetError as error:
            return await self._ask_again(message_type, message, context, error)
        except Exception as error:  # noqa: BLE001 - a class's own code may raise anything when it is encoded or decoded
            logger().error(MESSAGE_FAILED, message=str(message_type), error=whereabouts(error))
            return Failure(unsendable(message_type, error))

    async def _ask(
        self, message_type: MessageType, message: Request[R], context: MessageContext
    ) -> CatgaResult[R]:
        try:
            connection = self._connected()
            deadline = context.deadline
            if deadline is None or not deadline < _FAR:
                timeout = self._options.request_timeout
                deadline = self._clock.time() + timeout
            else:
                timeout = self._left(message_type, deadline)
            subject, encode = self._request_ways.get(message_type.cls) or self._way_of(
                message_type, self._request_ways, self._requests
            )
            headers: dict[str, str] | None = None
            if encode is not None:
                payload = encode(message, context, deadline)
                if len(payload) > connection.payload_limit:
                    raise too_large(str(message_type), len(payload), connection.payload_limit)
            else:
                payload, headers = self._pack(message_type, message, context, deadline, connection)
            client = connection.client
            if client is None or not client.takes_more:
                client = await connection.ready(len(payload), timeout)
                timeout = self._left(message_type, deadline)
            reply, future = connection.mux.open(subject, timeout)
        except CatgaError as error:
            return Failure(error)
        client.send(subject, reply, payload, headers)
        self._counters.requests_sent += 1
        try:
            answer = await future
        except asyncio.CancelledError:
            connection.mux.forget(reply)
            raise
        permissions = connection.permissions
        if (subject not in permissions.accepted or permissions.denied) and not isinstance(answer, CatgaError):
            permissions.answered(subject, reply, handled=not _no_responders(answer))
        if type(answer) is bytes:
            return self._codec.decode_result(message_type.result, answer)
        result = self._unusual(message_type, answer)
        if result is None:
            raise _NoRespondersYetError(deadline)
        return result

    async def _ask_again(
        self,
        message_type: MessageType,
        message: Request[R],
        context: MessageContext,
        failed: _NoRespondersYetError,
    ) -> CatgaResult[R]:
        """Send a request that reached no responder until one is back or the deadline has passed."""
        context = msgspec.structs.replace(context, deadline=failed.deadline)
        try:
            return await _RETURNING.run(
                partial(self._ask, message_type, message, context),
                retryable=lambda error: isinstance(error, _NoRespondersYetError),
                clock=_REAL_TIME,
                within=failed.deadline - self._clock.time(),
                failed=failed,
            )
        except _NoRespondersYetError:
            self._counters.requests_timed_out += 1
            return Failure(too_late(message_type))

    def _left(self, message_type: MessageType, deadline: float) -> float:
        left = deadline - self._clock.time()
        # Also for a clock that shows no number.
        if not 0 < left < _FAR:
            self._counters.requests_timed_out += 1
            raise too_late(message_type)
        return left

    def _way_of(self, message_type: MessageType, ways: _Ways, subjects: Subjects) -> _Way:
        encode = self._codec.encoder(message_type) if self._array else None
        made = ways[message_type.cls] = (subjects[message_type.name], encode)
        return made

    def _pack(
        self,
        message_type: MessageType,
        message: Message,
        context: MessageContext,
        deadline: float | None,
        connection: NatsConnection,
    ) -> tuple[bytes, dict[str, str]]:
        """Return payload and headers of a message in the headers form."""
        payload = self._codec.bodies.encode(message_type, message)
        headers = headers_form.encode(message_type, context, deadline)
        size = len(payload) + headers_form.size(headers)
        if size > connection.payload_limit:
            raise too_large(str(message_type), size, connection.payload_limit)
        return payload, headers

    def _unusual(self, message_type: MessageType, answer: Answer) -> CatgaResult[Any] | None:
        """Return the result in an answer that is more than a payload, `None` for one to be asked for again."""
        if isinstance(answer, CatgaError):
            return Failure(answer)
        data, headers = answer if isinstance(answer, tuple) else (answer, NO_HEADERS)
        if _no_responders(answer):
            key = self._requests[message_type.name]
            subject = key.decode()
            connection = self._connected()
            if not connection.settling:
                self._counters.requests_unroutable += 1
                return Failure(unhandled(subject, handled_before=connection.permissions.was_handled(key)))
            # The server is back after an outage, and who handles this may still be on the way.
            waits = self._options.while_disconnected == "wait"
            return None if waits else Failure(returning(connection.shown, subject))
        result = headers_form.decode_result(message_type.result, headers, data, self._serializer)
        return self._codec.decode_result(message_type.result, data) if result is None else result

    def stream(
        self, message_type: MessageType, query: StreamQuery[T], context: MessageContext, /
    ) -> AsyncGenerator[T, None]:
        """Ask exactly one process, and return its items as they come."""
        return self._streams.items(message_type, query, context)

    async def publish(self, message_type: MessageType, event: Event, context: MessageContext, /) -> None:
        """Hand an event to the connection, to be delivered at most once to every service that listens.

        Raises:
            CatgaError: `SERIALIZATION_FAILED` or `TRANSPORT_FAILED`: it was not handed over, or the server denies
                permission to publish it.
        """
        # As few calls as can be: they are what this costs more than nats-py's own `publish` (docs/benchmarks.md).
        connection = self._connection
        if connection is None or self._closed or self._home.loop is not asyncio.get_running_loop():
            raise self._unusable()
        subject, encode = self._event_ways.get(message_type.cls) or self._way_of(
            message_type, self._event_ways, self._events
        )
        headers: dict[str, str] | None = None
        if encode is not None:
            payload = encode(event, context, context.deadline)
            if len(payload) > connection.payload_limit:
                raise too_large(str(message_type), len(payload), connection.payload_limit)
        else:
            payload, headers = self._pack(message_type, event, context, context.deadline, connection)
        client = connection.client
        if client is None or headers is not None or not client.offer(subject, payload):
            if client is None or not client.takes_more:
                client = await connection.ready(len(payload), self._patience(context))
            client.send(subject, b"", payload, headers)
        self._counters.events_published += 1
        permissions = connection.permissions
        if subject not in permissions.accepted or (permissions.denied and subject in permissions.denied):
            await permissions.confirm(subject, connection.flush, self._patience(context))

    async def drain(self, timeout: float, /) -> None:
        """Take no new work, finish and answer what runs within so many seconds, then cancel and answer the rest.

        This process's own requests have as long to be answered: work in flight here may be waiting for them.
        """
        if not self._home.is_here:
            # What runs there cannot be awaited here.
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        if self._listeners:
            await asyncio.gather(*(listener.drain(timeout) for listener in self._listeners))
        if self._connection is not None:
            mux, left = self._connection.mux, until - loop.time()
            await asyncio.gather(mux.settle(left), self._streams.settle(left))
            text = "this process is shutting down and no longer waits for the answer"
            stopping = TransportError(text, outcome=Outcome.UNKNOWN)
            mux.fail_all(stopping)
            mux.channels.fail_all(stopping)
            await self._connection.flush(min(max(timeout, 0.1), 2.0))

    async def close(self) -> None:
        """Send what is left and release the connection."""
        self._closed = True
        if self._connection is not None and not self._home.is_here:
            self._connection.abandon()
        elif self._connection is not None:
            self._connection.mux.fail_all(self._unusable())
            self._connection.mux.channels.fail_all(self._unusable())
            await self._connection.close()

    def health(self) -> Health:
        """Return the connection's state as it is now, with all counters."""
        connection = self._connection or NatsConnection(self._options, self._counters)
        found = connection.health()
        if connection is self._connection and self._home.is_closed:
            return Health(HealthStatus.UNHEALTHY, f"the NATS transport {LOOP_IS_CLOSED}", found.details)
        return found

    def _patience(self, context: MessageContext) -> float:
        if context.deadline is None:
            return self._options.request_timeout
        return min(self._options.request_timeout, max(0.0, context.deadline - self._clock.time()))

    def _connected(self) -> NatsConnection:
        connection = self._connection
        if connection is None or self._closed or self._home.loop is not asyncio.get_running_loop():
            raise self._unusable()
        return connection

    def _unusable(self) -> CatgaError:
        if self._connection is not None and not self._closed and not self._home.is_here:
            text = f"the NATS transport {self._home.problem()}"
            return TransportError(text, outcome=Outcome.NOT_SENT, retryable=False)
        state = "closed" if self._closed else "not started"
        return TransportError(
            f"the NATS transport is {state}: send between start and stop", outcome=Outcome.NOT_SENT
        )


def _no_responders(answer: Answer) -> bool:
    """Return whether an answer is the server's word that no process subscribes: no payload, and the status 503."""
    return type(answer) is tuple and not answer[0] and answer[1].get("Status") == "503"
