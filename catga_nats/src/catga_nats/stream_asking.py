"""Asks stream queries of other processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

from catga_core.clock import Clock, SystemClock
from catga_core.errors import CatgaError
from catga_core.log import MESSAGE_FAILED, logger
from catga_core.messages import MessageType
from catga_core.messages.message_context import MessageContext
from catga_core.messages.serialization import EnvelopeCodec
from catga_core.messages.stream_frames import StreamFrames
from catga_core.runtime import RetryPolicy
from catga_nats import headers as headers_form
from catga_nats.connection import NatsConnection
from catga_nats.counters import Counters
from catga_nats.failures import (
    returning,
    stream_late,
    too_large,
    too_late,
    unhandled,
    unsendable,
    whereabouts,
)
from catga_nats.options import NatsOptions
from catga_nats.stream_call import StreamCall
from catga_nats.stream_headers import flow_of
from catga_nats.subjects import Subjects

_FAR = 1e12  # seconds since the epoch; a deadline beyond it, infinity say, is none
_REAL_TIME = SystemClock()
# Delays of a query that reaches no responder shortly after an outage.
_RETURNING = RetryPolicy(max_attempts=None, delay_seconds=0.05, max_delay_seconds=0.05)


class _NoRespondersYetError(Exception):
    """The query reached no responder, and one may be back soon."""


class StreamAsking:
    """Opens streams over a connection.

    Args:
        options: Those of the transport.
        clock: What deadlines are compared with.
        codec: Encodes the queries.
        counters: Where to count.
        connected: Returns the connection, or raises why there is none.
    """

    def __init__(
        self,
        options: NatsOptions,
        clock: Clock,
        codec: EnvelopeCodec,
        counters: Counters,
        connected: Callable[[], NatsConnection],
    ) -> None:
        self._options = options
        self._clock = clock
        self._codec = codec
        self._counters = counters
        self._connected = connected
        self._flow = flow_of(options)
        self.frames: StreamFrames = StreamFrames(codec.bodies)
        self.subjects: Subjects = Subjects(options.subject_prefix, "stream")
        self._calls: set[StreamCall] = set()

    async def items(
        self, message_type: MessageType, query: Any, context: MessageContext
    ) -> AsyncGenerator[Any, None]:
        """Ask one process and yield the items as they come.

        Raises:
            CatgaError: When it cannot be asked, and what the stream fails with.
        """
        deadline = context.deadline
        if deadline is not None and not deadline < _FAR:
            deadline = None
        call = await self._ask(message_type, query, context, deadline)
        try:
            async with aclosing(call.items(deadline, self._clock)) as items:
                async for item in items:
                    yield item
        finally:
            call.close()

    async def settle(self, timeout: float) -> None:
        """Wait until the open streams were read to their ends, or left.

        Args:
            timeout: Seconds.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while waiting := [call.closed for call in self._calls if not call.closed.done()]:
            left = until - loop.time()
            if left <= 0:
                return
            await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def _ask(
        self, message_type: MessageType, query: Any, context: MessageContext, deadline: float | None
    ) -> StreamCall:
        try:
            return await self._ask_once(message_type, query, context, deadline)
        except _NoRespondersYetError as error:
            patience = self._patience(message_type, deadline)
            try:
                return await _RETURNING.run(
                    partial(self._ask_once, message_type, query, context, deadline),
                    retryable=lambda failed: isinstance(failed, _NoRespondersYetError),
                    clock=_REAL_TIME,
                    within=patience,
                    failed=error,
                )
            except _NoRespondersYetError:
                raise stream_late(message_type) from None
        except CatgaError:
            raise
        except Exception as error:
            # A class's own code may raise anything when it is encoded.
            logger().error(MESSAGE_FAILED, message=str(message_type), error=whereabouts(error))
            raise unsendable(message_type, error) from error

    async def _ask_once(
        self, message_type: MessageType, query: Any, context: MessageContext, deadline: float | None
    ) -> StreamCall:
        connection = self._connected()
        patience = self._patience(message_type, deadline)
        subject = self.subjects[message_type.name]
        payload, headers = self._pack(message_type, query, context, deadline)
        size = len(payload) + headers_form.size(headers)
        if size > connection.payload_limit:
            raise too_large(str(message_type), size, connection.payload_limit)
        client = connection.client
        if client is None or not client.takes_more:
            client = await connection.ready(size, patience)
        call = StreamCall(message_type, subject, connection, self.frames, self._flow, self._counters)
        self._calls.add(call)
        call.closed.add_done_callback(lambda _: self._calls.discard(call))
        client.send(subject, call.address, payload, headers)
        self._counters.streams_asked += 1
        try:
            await call.opened(deadline, self._clock)
        except BaseException:
            call.close()
            raise
        if call.unroutable:
            call.close()
            raise self._unroutable(connection, subject)
        if call.peer:
            connection.permissions.answered(subject, call.address, handled=True)
        return call

    def _patience(self, message_type: MessageType, deadline: float | None) -> float:
        if deadline is None:
            return self._options.request_timeout
        left = deadline - self._clock.time()
        # Also for a clock that shows no number.
        if not left > 0:
            raise too_late(message_type)
        return left

    def _pack(
        self, message_type: MessageType, query: Any, context: MessageContext, deadline: float | None
    ) -> tuple[bytes, dict[str, str]]:
        flow = self._flow.headers()
        if self._options.envelope == "body":
            return self._codec.encode(message_type, query, context, deadline), flow
        payload = self._codec.bodies.encode(message_type, query)
        return payload, {**headers_form.encode(message_type, context, deadline), **flow}

    def _unroutable(self, connection: NatsConnection, subject: bytes) -> Exception:
        shown = subject.decode()
        if not connection.settling:
            return unhandled(shown, handled_before=connection.permissions.was_handled(subject))
        if self._options.while_disconnected == "wait":
            return _NoRespondersYetError()
        return returning(connection.shown, shown)
