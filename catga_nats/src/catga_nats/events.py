"""Events that arrive: handled up to a limit at a time, and kept waiting in order beyond it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Mapping
from typing import Any

from catga_core.errors import CatgaError
from catga_core.identifiers import new_id
from catga_core.interfaces.endpoints import Undecoded, keep_undecoded_of, validates
from catga_core.interfaces.transport import EventEndpoint
from catga_core.log import MESSAGE_CANCELLED, MESSAGE_FAILED, MESSAGE_REFUSED, logger
from catga_core.messages.message_context import MessageContext
from catga_core.runtime import being_cancelled, cancelled_by_handler
from catga_nats import headers as headers_form
from catga_nats.failures import whereabouts
from catga_nats.inbound import Arrived, Headers, Listener

_BURST_OVER_AFTER = 5.0  # seconds without a drop after which the next one is news again


class EventListener(Listener):
    """Hands each delivery of one type of event to this service's handlers.

    Args:
        endpoint: What handles it.
        max_messages: How many deliveries may wait for a place.
        max_bytes: The same in bytes, headers included.
        shared: As for every listener.
    """

    def __init__(
        self,
        endpoint: EventEndpoint,
        max_messages: int,
        max_bytes: int,
        subject: str,
        queue: str,
        *shared: Any,
    ) -> None:
        super().__init__(endpoint.message_type, subject, queue, *shared, lenient=validates(endpoint))
        self._endpoint = endpoint
        self._keep = keep_undecoded_of(endpoint)
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._bytes = 0  # of what has arrived and is not started
        self._last_drop = float("-inf")

    def deliver(self, _: bytes, __: bytes, data: bytes, headers: Headers, /) -> None:
        """Handle one event concurrently with the others; over the limit it waits for a place."""
        if self._stopping:
            self._drop()
            return
        self._bytes += len(data) if headers is None else _size(data, headers)
        self._intake.put((b"", data, headers))

    def _begin(self, message: Arrived, /) -> Coroutine[Any, Any, object] | None:
        _, data, headers = message
        self._bytes -= len(data) if headers is None else _size(data, headers)
        try:
            body, context = self._read(data, headers)
        except CatgaError as error:
            self._counters.events_refused += 1
            refused = self._undecoded(data, headers)
            self._refused(error, refused.context.message_id if refused.format else None)
            return None if self._keep is None else self._keep(refused, error)
        self._counters.events_received += 1
        return self._endpoint.handle(body, context)

    def _undecoded(self, data: bytes, headers: Headers) -> Undecoded:
        """Return what can be read of an event without its body."""
        format = self._serializer.name
        try:
            if headers is not None and headers_form.is_headers_form(headers):
                context = headers_form.decode(headers)
                return Undecoded(*headers_form.shape(self._type, headers), format, data, context)
            envelope = self._codec.peek(data)
            return Undecoded(envelope.name, envelope.version, format, envelope.body, envelope.context())
        except CatgaError:
            unknown = new_id()
            return Undecoded(self._type.name, self._type.version, "", data, MessageContext(unknown, unknown))

    def _overflowed(self, waiting: deque[Arrived], /) -> None:
        while waiting and (len(waiting) > self._max_messages or self._bytes > self._max_bytes):
            self._abandon(waiting.pop())

    def _abandon(self, message: Arrived, /) -> None:
        _, data, headers = message
        self._bytes -= len(data) if headers is None else _size(data, headers)
        self._drop()

    def _drop(self) -> None:
        self._counters.events_dropped += 1
        now = asyncio.get_running_loop().time()
        if now - self._last_drop > _BURST_OVER_AFTER:
            reason = "too many deliveries wait for a handler; details count them all"
            logger().warning(MESSAGE_REFUSED, message=str(self._type), reason=reason)
        self._last_drop = now

    def _failed(self, message: Arrived, error: BaseException, /) -> None:
        if isinstance(error, asyncio.CancelledError) and being_cancelled() and not cancelled_by_handler():
            self._counters.events_dropped += 1
            _, context = self._read(*message[1:])
            logger().warning(MESSAGE_CANCELLED, message=str(self._type), message_id=context.message_id)
            return
        # An endpoint never raises; should one, the others go on.
        self._counters.events_failed += 1
        logger().error(MESSAGE_FAILED, message=str(self._type), error=whereabouts(error))


def _size(data: bytes, headers: Mapping[str, str]) -> int:
    return len(data) + headers_form.size(headers)
