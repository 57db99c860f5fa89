"""`NatsTransport`: requests and events over one NATS connection."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from catga_core.clock import Clock
from catga_core.errors import CatgaError, ErrorCode
from catga_core.interfaces.context import MessageContext
from catga_core.interfaces.health import Health
from catga_core.interfaces.serializer import Serializer
from catga_core.interfaces.transport import Inbound, TransportCapabilities
from catga_core.messages import Event, MessageType, Request
from catga_core.results import CatgaResult, Failure
from catga_core.serialization import EnvelopeCodec, json_serializer, msgpack_serializer
from catga_nats import headers as headers_form
from catga_nats.connection import BACKLOG, NatsConnection, failed
from catga_nats.counters import Counters
from catga_nats.inbound import EventListener, RequestListener, too_large
from catga_nats.mux import RequestMux, interrupted
from catga_nats.options import NatsOptions
from catga_nats.subjects import REQUEST_GROUP, Subjects, check_service_name
from catga_nats.subscription import Subscription

R = TypeVar("R")


class NatsTransport:
    """Carries messages over NATS: requests to exactly one replica, events at most once to every service.

    Parameters:
        options: where the servers are and how to behave.
        serializer: the format of bodies, unless the options name one.
        clock: what deadlines are compared with.
    """

    def __init__(self, options: NatsOptions, serializer: Serializer, clock: Clock) -> None:
        if options.serializer is not None:
            serializer = json_serializer() if options.serializer == "json" else msgpack_serializer()
        self._options = options
        self._serializer = serializer
        self._clock = clock
        self._codec = EnvelopeCodec(serializer)
        self._subjects = Subjects(options.subject_prefix)
        self._counters = Counters()
        self._connection: NatsConnection | None = None
        self._mux: RequestMux | None = None
        self._listeners: list[RequestListener | EventListener] = []
        self._closed = False

    @property
    def capabilities(self) -> TransportCapabilities:
        """What this transport can do."""
        return TransportCapabilities(remote=True)

    async def connect(self) -> None:
        """Return when a server has taken us and answers can arrive.

        Raises:
            ConfigurationError: when files the options name cannot be read.
            CatgaError: `TRANSPORT_FAILED` when no server answers within `connect_timeout`, or it refuses us.
        """
        connection = NatsConnection(self._options, self._counters, self._on_lost)
        mux = RequestMux(connection, self._counters)
        await connection.start()
        self._connection, self._mux = connection, mux
        await mux.start()

    async def serve(self, inbound: Inbound, /) -> None:
        """Listen for what this process handles; return when the servers know of it.

        Raises:
            ConfigurationError: for a service name that cannot be a queue group.
        """
        check_service_name(inbound.service_name)
        connection = self._connected()
        shared = (connection, self._codec, self._serializer, inbound.max_concurrent, self._counters)
        for request in inbound.requests:
            subject = self._subjects.request(request.message_type.name)
            await self._listen(subject, REQUEST_GROUP, RequestListener(request, self._clock, *shared))
        for event in inbound.events:
            subject = self._subjects.event(event.message_type.name)
            await self._listen(subject, inbound.service_name, EventListener(event, *shared))
        await connection.flush()

    async def _listen(self, subject: str, group: str, listener: RequestListener | EventListener) -> None:
        listener.subscription = Subscription(
            subject,
            group,
            listener.on_message,
            listener.on_dropped,
            max_messages=self._options.max_pending_messages,
            max_bytes=self._options.max_pending_bytes,
        )
        self._listeners.append(listener)
        await self._connected().subscribe(listener.subscription)

    async def request(
        self, message_type: MessageType, message: Request[R], context: MessageContext, /
    ) -> CatgaResult[R]:
        """Have a request handled by exactly one process and return its result; never raises but for cancellation."""
        mux = self._mux
        if mux is None:
            return Failure(self._unusable())
        now = self._clock.time()
        deadline = context.deadline
        if deadline is None:
            timeout = self._options.request_timeout
            deadline = now + timeout
        else:
            timeout = deadline - now
            if timeout <= 0:
                return Failure(_too_late(message_type))
        try:
            if self._options.envelope == "body":
                payload = self._codec.encode(message_type, message, context, deadline)
                headers = None
            else:
                payload = self._serializer.encode(message)
                headers = headers_form.encode(message_type, context, deadline)
            self._check_size(message_type, payload, headers)
            answer = await mux.request(self._subjects.request(message_type.name), payload, timeout, headers)
        except CatgaError as error:
            return Failure(error)
        except Exception as error:
            return Failure(self._broken(error))
        if answer.headers is not None:
            result = headers_form.decode_result(
                message_type.result, answer.headers, answer.data, self._serializer
            )
            if result is not None:
                return result
        return self._codec.decode_result(message_type.result, answer.data)

    async def publish(self, message_type: MessageType, event: Event, context: MessageContext, /) -> None:
        """Hand an event to the connection, to be delivered at most once to every service that listens.

        Raises:
            CatgaError: `SERIALIZATION_FAILED` or `TRANSPORT_FAILED`: it was not handed over.
        """
        if self._options.envelope == "body":
            payload = self._codec.encode(message_type, event, context, context.deadline)
            headers = None
        else:
            payload = self._serializer.encode(event)
            headers = headers_form.encode(message_type, context, context.deadline)
        self._check_size(message_type, payload, headers)
        connection = self._connected()
        client = connection.client
        if client is None or not client.is_connected or client.pending_data_size > BACKLOG:
            client = await connection.ready(self._patience(context))
        try:
            await client.publish(self._subjects.event(message_type.name), payload, headers=headers)
        except Exception as error:
            raise self._broken(error) from error
        self._counters.events_published += 1

    async def drain(self, timeout: float, /) -> None:
        """Take no new work, finish and answer what runs within so many seconds, then cancel and answer the rest."""
        if self._listeners:
            await asyncio.gather(*(listener.drain(timeout) for listener in self._listeners))
        if self._mux is not None:
            self._mux.fail_all(
                failed("this process is shutting down and no longer waits for the answer", outcome="unknown")
            )
        if self._connection is not None:
            await self._connection.flush(min(max(timeout, 0.1), 2.0))

    async def close(self) -> None:
        """Send what is left and release the connection."""
        self._closed = True
        if self._mux is not None:
            self._mux.stop(self._unusable())
        if self._connection is not None:
            await self._connection.close()

    def health(self) -> Health:
        """Return the connection's state as it is now, with all counters."""
        if self._connection is None:
            return NatsConnection(self._options, self._counters, self._on_lost).health()
        health = self._connection.health()
        waiting = 0 if self._mux is None else self._mux.pending
        return Health(health.status, health.description, {**health.details, "requests_waiting": waiting})

    def _on_lost(self) -> None:
        # "wait": an answer may still come over the next connection, so those who can wait do (decision 0005).
        if (
            self._options.while_disconnected == "fail"
            and self._mux is not None
            and self._connection is not None
        ):
            self._mux.fail_all(interrupted(self._connection.shown))

    def _check_size(self, message_type: MessageType, payload: bytes, headers: dict[str, str] | None) -> None:
        size = len(payload) if headers is None else len(payload) + headers_form.size(headers)
        limit = self._connected().payload_limit
        if size > limit:
            raise too_large(str(message_type), size, limit)

    def _patience(self, context: MessageContext) -> float:
        if context.deadline is None:
            return self._options.request_timeout
        return min(self._options.request_timeout, max(0.0, context.deadline - self._clock.time()))

    def _connected(self) -> NatsConnection:
        if self._connection is None or self._closed:
            raise self._unusable()
        return self._connection

    def _unusable(self) -> CatgaError:
        state = "closed" if self._closed else "not started"
        return failed(f"the NATS transport is {state}: send between start and stop", outcome="not_sent")

    def _broken(self, error: Exception) -> CatgaError:
        return failed(f"NATS did not take the message ({error}): try again later", outcome="not_sent")


def _too_late(message_type: MessageType) -> CatgaError:
    return CatgaError(
        f"the deadline of {message_type} had passed before it was sent: give it more time",
        code=ErrorCode.TIMEOUT,
        details={"outcome": "not_sent"},
    )
