"""What arrives: read, checked against limits, handed to its handler, and answered whatever happens."""

from __future__ import annotations

import asyncio
from typing import Any

from catga_core.clock import Clock
from catga_core.errors import CatgaError, ErrorCode
from catga_core.intake import Intake
from catga_core.interfaces.context import MessageContext
from catga_core.interfaces.serializer import Serializer
from catga_core.interfaces.transport import EventEndpoint, RequestEndpoint
from catga_core.log import MESSAGE_CANCELLED, MESSAGE_FAILED, MESSAGE_REFUSED, logger
from catga_core.messages import MessageType
from catga_core.results import CatgaResult, Failure
from catga_core.serialization import EnvelopeCodec
from catga_nats import headers as headers_form
from catga_nats.connection import Message, NatsConnection, failed
from catga_nats.counters import Counters
from catga_nats.subscription import Subscription

_LAST_ANSWERS = 1.0  # seconds to refuse what still waits once the time of a drain is over


class Listener:
    """What the listeners for requests and for events have in common.

    Parameters:
        message_type: what arrives here.
        connection: where to answer.
        codec: the array form of the envelope.
        serializer: the bodies of the headers form.
        limit: how many messages may be handled at the same time.
        counters: where to count.
    """

    subscription: Subscription

    def __init__(
        self,
        message_type: MessageType,
        connection: NatsConnection,
        codec: EnvelopeCodec,
        serializer: Serializer,
        limit: int,
        counters: Counters,
    ) -> None:
        self._type = message_type
        self._connection = connection
        self._codec = codec
        self._serializer = serializer
        self._counters = counters
        self._intake = Intake(limit)
        self._stopping = False

    def _read(self, message: Message) -> tuple[Any, MessageContext]:
        """Return the body and the context of a message, in whichever form it came.

        Raises:
            CatgaError: `SERIALIZATION_FAILED`.
        """
        data = message.data
        limit = self._connection.payload_limit
        if len(data) > limit:
            raise too_large(str(self._type), len(data), limit)
        headers = message.headers
        if headers is not None and headers_form.is_headers_form(headers):
            context = headers_form.decode(self._type, headers)
            return self._serializer.decoder(self._type.cls)(data), context
        envelope = self._codec.decode(self._type, data)
        return envelope.body, envelope.context()

    def _refused(self, error: CatgaError) -> None:
        logger().warning(MESSAGE_REFUSED, message=str(self._type), code=error.code, reason=error.message)

    async def drain(self, timeout: float) -> int:
        """Take no more; return when all that had arrived was handled, or refused after the timeout.

        Parameters:
            timeout: seconds.

        Returns:
            how many messages were cancelled or refused.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        before = self._given_up()
        draining = loop.create_task(self.subscription.drain())
        await asyncio.wait({draining}, timeout=timeout)
        # From here on what still waits is answered with an error instead of being started.
        self._stopping = True
        await self._intake.drain(max(0.0, until - loop.time()))
        if not draining.done():
            await asyncio.wait({draining}, timeout=_LAST_ANSWERS)
            draining.cancel()
            await self._intake.drain(0)
        return self._given_up() - before

    def _given_up(self) -> int:
        return self._counters.requests_abandoned + self._counters.events_dropped


class RequestListener(Listener):
    """Handles one type of request and answers each one.

    Parameters:
        endpoint: what handles it.
        clock: what deadlines are compared with.
    """

    def __init__(self, endpoint: RequestEndpoint, clock: Clock, *shared: Any) -> None:
        super().__init__(endpoint.message_type, *shared)
        self._endpoint = endpoint
        self._clock = clock

    async def on_message(self, message: Message) -> None:
        """Take one request; returns at once unless it is handled without waiting."""
        endpoint = self._endpoint
        concurrent = endpoint.may_suspend
        if self._stopping:
            self._counters.requests_abandoned += 1
            await self._answer(message, Failure(_shutting_down(self._type)))
            return
        if concurrent and self._intake.full:
            self._counters.requests_limited += 1
            await self._answer(message, Failure(self._busy()))
            return
        try:
            body, context = self._read(message)
        except CatgaError as error:
            self._counters.requests_refused += 1
            self._refused(error)
            await self._answer(message, Failure(error))
            return
        deadline = context.deadline
        if deadline is not None and deadline <= self._clock.time():
            self._counters.requests_expired += 1
            await self._answer(message, Failure(_expired(self._type)))
            return
        self._counters.requests_received += 1
        if concurrent:
            self._intake.spawn(self._run(message, body, context))
        else:
            await self._run(message, body, context)

    def on_dropped(self, reply: str) -> None:
        """Answer a request that nats-py had no room to keep."""
        self._counters.requests_limited += 1
        if reply:
            # Which form it came in is not known any more; a sender reads both.
            self._intake.spawn(self._send(reply, self._codec.encode_result(Failure(self._busy())), None))

    async def _run(self, message: Message, body: Any, context: MessageContext) -> None:
        try:
            result = await self._endpoint.handle(body, context)
        except asyncio.CancelledError:
            self._counters.requests_abandoned += 1
            logger().warning(MESSAGE_CANCELLED, message=str(self._type), message_id=context.message_id)
            await self._answer(message, Failure(_shutting_down(self._type, started=True)))
            return
        except Exception as error:
            # An endpoint never raises; should one all the same, its sender still gets an answer.
            logger().error(
                MESSAGE_FAILED, message=str(self._type), error=type(error).__name__, exc_info=error
            )
            text = f"{self._type} failed inside its receiver: see the receiver's log"
            result = Failure(CatgaError(text, code=ErrorCode.INTERNAL_ERROR))
        await self._answer(message, result)

    async def _answer(self, message: Message, result: CatgaResult[Any]) -> None:
        if not message.reply:
            return
        data, headers = self._encode(message, result)
        limit = self._connection.payload_limit
        length = len(data) if headers is None else len(data) + headers_form.size(headers)
        if length > limit:
            error = too_large(f"the answer to {self._type}", length, limit)
            self._refused(error)
            data, headers = self._encode(message, Failure(error))
        await self._send(message.reply, data, headers)

    def _encode(self, message: Message, result: CatgaResult[Any]) -> tuple[bytes, dict[str, str] | None]:
        if message.headers is not None and headers_form.is_headers_form(message.headers):
            headers, data = headers_form.encode_result(result, self._serializer)
            return data, headers
        return self._codec.encode_result(result), None

    async def _send(self, reply: str, data: bytes, headers: dict[str, str] | None) -> None:
        client = self._connection.client
        if client is None:
            return
        try:
            # While it reconnects, nats-py keeps up to its buffer's size and sends it afterwards.
            await client.publish(reply, data, headers=headers)
        except Exception as error:
            self._counters.replies_lost += 1
            logger().warning(MESSAGE_FAILED, message=str(self._type), error=f"answer not sent: {error}")

    def _busy(self) -> CatgaError:
        return CatgaError(
            f"{self._intake.limit} {self._type} are being handled here already: try again later, "
            "raise max_concurrent_requests, or start another replica",
            code=ErrorCode.CONCURRENCY_LIMITED,
        )


class EventListener(Listener):
    """Hands each delivery of one type of event to this service's handlers.

    Parameters:
        endpoint: what handles it.
    """

    def __init__(self, endpoint: EventEndpoint, *shared: Any) -> None:
        super().__init__(endpoint.message_type, *shared)
        self._endpoint = endpoint
        self._slot: asyncio.Future[None] | None = None

    async def on_message(self, message: Message) -> None:
        """Take one event; over the limit it waits for a place, and what comes after it waits in nats-py's queue."""
        endpoint = self._endpoint
        if self._stopping:
            self._counters.events_dropped += 1
            return
        try:
            body, context = self._read(message)
        except CatgaError as error:
            self._counters.events_refused += 1
            self._refused(error)
            return
        if not endpoint.may_suspend:
            self._counters.events_received += 1
            await self._run(body, context)
            return
        while self._intake.full:
            self._slot = asyncio.get_running_loop().create_future()
            await self._slot
            # A finished task leaves the intake one turn after its last line.
            await asyncio.sleep(0)
        self._counters.events_received += 1
        self._intake.spawn(self._run(body, context))

    def on_dropped(self, _: str) -> None:
        """Count an event that nats-py had no room to keep."""
        self._counters.events_dropped += 1

    async def _run(self, body: Any, context: MessageContext) -> None:
        try:
            await self._endpoint.handle(body, context)
        except asyncio.CancelledError:
            self._counters.events_dropped += 1
            logger().warning(MESSAGE_CANCELLED, message=str(self._type), message_id=context.message_id)
        except Exception as error:
            logger().error(
                MESSAGE_FAILED, message=str(self._type), error=type(error).__name__, exc_info=error
            )
        slot, self._slot = self._slot, None
        if slot is not None and not slot.done():
            slot.set_result(None)


def too_large(what: str, size: int, limit: int) -> CatgaError:
    """Return the error of a message that is larger than the wire takes."""
    return CatgaError(
        f"{what} has {size} bytes and NATS takes {limit} here: send less, or raise max_payload on server and clients",
        code=ErrorCode.SERIALIZATION_FAILED,
        details={"size": size, "limit": limit},
    )


def _expired(message_type: MessageType) -> CatgaError:
    return CatgaError(
        f"{message_type} arrived after its deadline and was not started: give it more time, or check the clocks",
        code=ErrorCode.TIMEOUT,
        details={"outcome": "not_started"},
    )


def _shutting_down(message_type: MessageType, *, started: bool = False) -> CatgaError:
    if started:
        return failed(
            f"{message_type} was cancelled, because its receiver is shutting down", outcome="unknown"
        )
    return failed(
        f"{message_type} was not started, because its receiver is shutting down", outcome="not_started"
    )
