"""What arrives: read, checked against limits, handed to its handler, and answered whatever happens."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any

from catga_core.clock import Clock
from catga_core.errors import CatgaError
from catga_core.interfaces.endpoints import validates
from catga_core.interfaces.transport import RequestEndpoint
from catga_core.log import MESSAGE_CANCELLED, MESSAGE_FAILED, MESSAGE_REFUSED, logger
from catga_core.messages import MessageType
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure
from catga_core.messages.serialization import EnvelopeCodec, misfit
from catga_core.messages.serializer import Serializer
from catga_core.pipeline import failure_of
from catga_core.runtime import (
    Intake,
    being_cancelled,
    cancelled_by_handler,
    cancelled_itself,
    passes_through,
)
from catga_nats import headers as headers_form
from catga_nats.connection import NatsConnection
from catga_nats.counters import Counters
from catga_nats.failures import (
    busy,
    expired,
    internal,
    shortened,
    shutting_down,
    too_large,
    unsent,
    whereabouts,
)
from catga_nats.replies import Replies, Response
from catga_nats.subscription import Subscription

Headers = Mapping[str, str] | None
Arrived = tuple[bytes, bytes, Headers]
"""Reply subject, payload and headers of a message."""


class Listener(ABC):
    """What the listeners for requests and for events have in common.

    Args:
        message_type: What arrives here.
        subject: Where it arrives.
        queue: The queue group.
        connection: Where to answer.
        codec: The array form of the envelope.
        serializer: The bodies of the headers form.
        limit: How many messages may be handled at the same time.
        counters: Where to count.
        lenient: Whether the endpoint validates what breaks constraints only.
    """

    def __init__(
        self,
        message_type: MessageType,
        subject: str,
        queue: str,
        connection: NatsConnection,
        codec: EnvelopeCodec,
        serializer: Serializer,
        limit: int,
        counters: Counters,
        *,
        lenient: bool,
    ) -> None:
        self.subscription: Subscription = Subscription(subject, queue, self.deliver)
        self._type = message_type
        self._connection = connection
        self._codec = codec
        self._serializer = serializer
        self._counters = counters
        self._intake = Intake(limit, self._begin, self._failed, self._overflowed)
        self._stopping = False
        self._lenient = lenient

    @abstractmethod
    def deliver(self, subject: bytes, reply: bytes, data: bytes, headers: Headers, /) -> None:
        """Take one message; it neither raises nor waits."""

    def _read(self, data: bytes, headers: Headers) -> tuple[Any, MessageContext]:
        """Return the body and the context of a message, in whichever form it came.

        Raises:
            CatgaError: `SERIALIZATION_FAILED`, or `VALIDATION_FAILED` for a body that breaks its types or constraints.
        """
        if len(data) > self._connection.payload_limit:
            raise too_large(str(self._type), len(data), self._connection.payload_limit)
        if headers is not None and headers_form.is_headers_form(headers):
            context = headers_form.decode(headers)
            decode = self._codec.bodies.decoder(self._type, *headers_form.shape(self._type, headers))
            try:
                return decode(data), context
            except Exception as error:
                if headers_form.shape(self._type, headers) != (self._type.name, self._type.version):
                    raise misfit(self._type, error) from error
                return self._codec.misread(self._type, data, error, lenient=self._lenient), context
        envelope = self._codec.decode(self._type, data, lenient=self._lenient)
        return envelope.body, envelope.context()

    def _refused(self, error: CatgaError, message_id: str | None = None) -> None:
        logger().warning(
            MESSAGE_REFUSED,
            message=str(self._type),
            code=error.code,
            reason=error.message,
            message_id=message_id,
        )

    async def drain(self, timeout: float) -> None:
        """Take no more; return when all that had arrived was handled, or cancelled and answered after the timeout.

        Args:
            timeout: Seconds.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        draining = loop.create_task(self.subscription.drain())
        await asyncio.wait({draining}, timeout=timeout)
        # The server may be delivering a message while another of its threads reads our leaving: one more round trip.
        await self._connection.flush(max(0.01, min(1.0, until - loop.time())))
        # What arrives all the same is answered with an error that allows another try.
        self._stopping = True
        for message in await self._intake.drain(max(0.0, until - loop.time())):
            self._abandon(message)
        draining.cancel()

    @abstractmethod
    def _begin(self, message: Arrived, /) -> Coroutine[Any, Any, object] | None:
        """Return what handles one message, `None` where it is refused."""

    @abstractmethod
    def _failed(self, message: Arrived, error: BaseException, /) -> None:
        """Take a message whose handling raised."""

    @abstractmethod
    def _overflowed(self, waiting: deque[Arrived], /) -> None:
        """Remove the messages that may not wait for others to finish."""

    @abstractmethod
    def _abandon(self, message: Arrived, /) -> None:
        """Answer or drop a message that is not started because of a shutdown."""


class RequestListener(Listener):
    """Handles one type of request and answers each one.

    Args:
        endpoint: What handles it.
        clock: What deadlines are compared with.
        patience: Seconds that a response may wait to be sent where the request has no deadline.
        shared: As for every listener.
    """

    def __init__(
        self,
        endpoint: RequestEndpoint,
        clock: Clock,
        patience: float,
        subject: str,
        queue: str,
        *shared: Any,
    ) -> None:
        super().__init__(endpoint.message_type, subject, queue, *shared, lenient=validates(endpoint))
        self._endpoint = endpoint
        self._clock = clock
        self._patience = patience
        self._answer_name = headers_form.answer_of(endpoint.message_type)
        self._replies = Replies(self._type, self._connection, clock, self._counters)

    def deliver(self, _: bytes, reply: bytes, data: bytes, headers: Headers, /) -> None:
        """Handle one request concurrently with the others."""
        if self._stopping:
            self._abandon((reply, data, headers))
        else:
            self._intake.put((reply, data, headers))

    def _begin(self, message: Arrived, /) -> Coroutine[Any, Any, object] | None:
        reply, data, headers = message
        try:
            body, context = self._read(data, headers)
        except CatgaError as error:
            self._counters.requests_refused += 1
            self._refused(error)
            self._answer(reply, headers, Failure(error))
            return None
        deadline = context.deadline
        if deadline is not None and deadline <= self._clock.time():
            self._counters.requests_expired += 1
            self._answer(reply, headers, Failure(expired(self._type)))
            return None
        self._counters.requests_received += 1
        return self._run(reply, headers, self._endpoint.handle(body, context), context)

    def _failed(self, message: Arrived, error: BaseException, /) -> None:
        # Not by its handler, which `_run` answers for.
        reply, _, headers = message
        self._answer(reply, headers, self._broken(error))

    def _overflowed(self, waiting: deque[Arrived], /) -> None:
        while waiting:
            reply, _, headers = waiting.popleft()
            self._counters.requests_limited += 1
            self._answer(reply, headers, Failure(busy(self._type, self._intake.limit)))

    def _abandon(self, message: Arrived, /) -> None:
        reply, _, headers = message
        self._counters.requests_abandoned += 1
        self._answer(reply, headers, Failure(shutting_down(self._type, started=False)))

    async def _run(
        self, reply: bytes, headers: Headers, work: Awaitable[CatgaResult[Any]], context: MessageContext
    ) -> None:
        result: CatgaResult[Any]
        try:
            result = await work
        except asyncio.CancelledError as error:
            if not being_cancelled() or cancelled_by_handler():
                result = self._cancelled_itself(error)
            else:
                self._counters.requests_abandoned += 1
                logger().warning(MESSAGE_CANCELLED, message=str(self._type), message_id=context.message_id)
                result = Failure(shutting_down(self._type, started=True))
        except Exception as error:  # noqa: BLE001  # an endpoint never raises; should one, its sender gets an answer
            result = self._broken(error)
        except BaseException as error:
            # What ends the program is raised on; the sender does not wait for its deadline.
            self._broken(error)
            result = failure_of(error, str(self._type))
            if passes_through(error):
                self._answer(reply, headers, result)
                raise
        response = self._encode(reply, headers, result)
        if response is not None and not self._replies.send(response):
            instead = self._encode(reply, headers, Failure(unsent(self._type)))
            assert instead is not None  # noqa: S101  # as the response before it
            await self._replies.send_later(response, instead, context.deadline, self._patience)

    def _cancelled_itself(self, error: BaseException) -> CatgaResult[Any]:
        self._counters.requests_failed += 1
        logger().error(MESSAGE_FAILED, message=str(self._type), error=whereabouts(error))
        return Failure(cancelled_itself(str(self._type)))

    def _broken(self, error: BaseException) -> CatgaResult[Any]:
        self._counters.requests_failed += 1
        logger().error(MESSAGE_FAILED, message=str(self._type), error=whereabouts(error))
        return Failure(internal(self._type))

    def _answer(self, reply: bytes, headers: Headers, result: CatgaResult[Any]) -> None:
        """Answer without waiting; only for what is small."""
        response = self._encode(reply, headers, result)
        if response is not None and not self._replies.send(response):
            self._replies.drop(response)

    def _encode(self, reply: bytes, headers: Headers, result: CatgaResult[Any]) -> Response | None:
        if not reply:
            return None
        foreign = headers is not None and headers_form.is_headers_form(headers)
        data, own = self._encoded(result, foreign=foreign)
        size = len(data) if own is None else len(data) + headers_form.size(own)
        limit = self._connection.payload_limit
        if size > limit:
            error = too_large(f"the answer to {self._type}", size, limit)
            self._refused(error)
            instead = shortened(result.error) if isinstance(result, Failure) else error
            data, own = self._encoded(Failure(instead), foreign=foreign)
            size = len(data) if own is None else len(data) + headers_form.size(own)
        return Response(reply, data, own, size)

    def _encoded(self, result: CatgaResult[Any], *, foreign: bool) -> tuple[bytes, dict[str, str] | None]:
        if foreign:
            own, data = headers_form.encode_result(result, self._codec.bodies, self._type)
            return data, own
        return self._codec.encode_result(result, self._type.result, subject=self._answer_name), None
