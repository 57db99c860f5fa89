"""Events that arrive: handled up to a limit at a time, and kept waiting in order beyond it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import Any

from catga_core.errors import CatgaError
from catga_core.interfaces.transport import EventEndpoint
from catga_core.log import MESSAGE_CANCELLED, MESSAGE_FAILED, MESSAGE_REFUSED, logger
from catga_core.messages.message_context import MessageContext
from catga_core.runtime import Waiter, being_cancelled, passes_through
from catga_nats import headers as headers_form
from catga_nats.failures import whereabouts
from catga_nats.inbound import Headers, Listener

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
        super().__init__(endpoint.message_type, subject, queue, *shared)
        self._endpoint = endpoint
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[bytes, Headers, int]] = deque()
        self._waiting_bytes = 0
        self._starting = False
        self._last_drop = float("-inf")
        self._emptied = Waiter()

    def deliver(self, _: bytes, __: bytes, data: bytes, headers: Headers, /) -> None:
        """Handle one event in a task of its own; over the limit it waits for a place."""
        if self._waiting or self._intake.full:
            self._keep(data, headers)
        else:
            self._start(data, headers)

    def _start(self, data: bytes, headers: Headers) -> None:
        if self._stopping:
            self._drop()
            return
        try:
            body, context = self._read(data, headers)
        except CatgaError as error:
            self._counters.events_refused += 1
            self._refused(error)
            return
        self._counters.events_received += 1
        self._intake.spawn(self._run(self._endpoint.handle(body, context), context))

    def _keep(self, data: bytes, headers: Headers) -> None:
        size = len(data) if headers is None else len(data) + headers_form.size(headers)
        if len(self._waiting) >= self._max_messages or self._waiting_bytes + size > self._max_bytes:
            self._drop()
            return
        self._waiting.append((data, headers, size))
        self._waiting_bytes += size

    def _drop(self) -> None:
        self._counters.events_dropped += 1
        now = asyncio.get_running_loop().time()
        if now - self._last_drop > _BURST_OVER_AFTER:
            reason = "too many deliveries wait for a handler; details count them all"
            logger().warning(MESSAGE_REFUSED, message=str(self._type), reason=reason)
        self._last_drop = now

    async def _run(self, work: Awaitable[object], context: MessageContext) -> None:
        try:
            await work
        except asyncio.CancelledError as error:
            if not being_cancelled():
                self._broken(error)
            else:
                self._counters.events_dropped += 1
                logger().warning(MESSAGE_CANCELLED, message=str(self._type), message_id=context.message_id)
        except Exception as error:  # noqa: BLE001  # an endpoint never raises; should one, the others go on
            self._broken(error)
        except BaseException as error:
            self._broken(error)
            if passes_through(error):
                raise

    def _broken(self, error: BaseException) -> None:
        self._counters.events_failed += 1
        logger().error(MESSAGE_FAILED, message=str(self._type), error=whereabouts(error))

    def _freed(self) -> None:
        if self._waiting and not self._starting:
            # In the next turn: handlers that are ready go on before one is started that came later.
            self._starting = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._starting = False
        while self._waiting and not self._intake.full:
            data, headers, size = self._waiting.popleft()
            self._waiting_bytes -= size
            self._start(data, headers)
        if not self._waiting:
            self._emptied.wake()

    async def _finish(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and (left := until - loop.time()) > 0:
            await self._emptied.wait(timeout=left)
        left = len(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        for _ in range(left):
            self._drop()
