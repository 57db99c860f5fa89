"""Streams of answers between the containers of one process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from catga_core.errors import (
    CatgaError,
    ConcurrencyLimitError,
    InternalError,
    Outcome,
    RequestTimeoutError,
    TransportError,
)
from catga_core.interfaces.transport import StreamEndpoint
from catga_core.log import MESSAGE_FAILED, logger, traceback_of
from catga_core.messages.bodies import BodyCodec
from catga_core.messages.message_context import MessageContext
from catga_core.pipeline import failure_of
from catga_core.runtime.cancellation import being_cancelled, cancelled_itself, passes_through
from catga_core.runtime.credit import Credit
from catga_core.runtime.deliveries import cancelled_by_handler
from catga_core.runtime.home_loop import HomeLoop
from catga_core.runtime.intake import Intake
from catga_core.runtime.item_buffer import END, ItemBuffer
from catga_core.runtime.stream_pump import StreamPump

_WINDOW = 64  # items that a handler may be ahead of its asker


class LocalStream:
    """One stream, between the task that asks and the task that handles.

    Args:
        query: The stream query.
        context: Its context.
    """

    def __init__(self, query: Any, context: MessageContext) -> None:
        self.query: Any = query
        self.context: MessageContext = context
        self.buffer: ItemBuffer[Any] = ItemBuffer()
        self.pump: StreamPump = StreamPump(self._send)
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._credit = Credit(_WINDOW, 1)

    async def items(self, name: str, left: float | None) -> AsyncGenerator[Any, None]:
        """Yield the items to the one who asks.

        Args:
            name: The stream query's name.
            left: Seconds until the deadline, `None` for none.

        Raises:
            CatgaError: `TIMEOUT` after the deadline, and what the handler failed with.
        """
        loop = asyncio.get_running_loop()
        ends_at = None if left is None else loop.time() + left
        try:
            while True:
                wait = None if ends_at is None else ends_at - loop.time()
                if wait is not None and wait <= 0:
                    raise late(name)
                try:
                    item = await self.buffer.take(wait)
                except TimeoutError:
                    raise late(name) from None
                if item is END:
                    return
                self._credit.free(self.buffer.consumed)
                try:
                    yield item
                except GeneratorExit:
                    self.pump.leave()
                    raise
        finally:
            self.pump.cancel()
            if not self.closed.done():
                self.closed.set_result(None)

    async def _send(self, item: Any) -> None:
        if self._credit.full:
            await self._credit.wait(None)
        self._credit.spend()
        self.buffer.put(item)


class StreamListener:
    """One stream endpoint on the bus, and the streams it is answering.

    Args:
        endpoint: What handles the stream queries.
        limit: How many it may answer at the same time.
        bodies: The format and the upcasters of its container.
    """

    def __init__(self, endpoint: StreamEndpoint, limit: int, bodies: BodyCodec) -> None:
        self.endpoint: StreamEndpoint = endpoint
        self.bodies: BodyCodec = bodies
        self.home: HomeLoop = HomeLoop()
        self.home.enter()
        self.intake: Intake[LocalStream] = Intake(limit, self._begin, self._failed, self._refuse)

    @property
    def running(self) -> int:
        """How many streams it has accepted and not finished."""
        return self.intake.running

    def open(self, query: Any, context: MessageContext) -> LocalStream:
        """Answer a stream query in a task of the listener."""
        stream = LocalStream(query, context)
        self.intake.put(stream)
        return stream

    async def drain(self, timeout: float) -> None:
        """Finish every stream within so many seconds, then cancel the rest.

        Args:
            timeout: Seconds.
        """
        for stream in await self.intake.drain(timeout):
            text = f"{self.endpoint.message_type.name} was not started: the container that handles it stops"
            stream.buffer.end(TransportError(text, outcome=Outcome.NOT_STARTED))

    def _begin(self, stream: LocalStream) -> Coroutine[Any, Any, None] | None:
        return None if stream.pump.stopped else self._run(stream)

    def _failed(self, stream: LocalStream, error: BaseException) -> None:
        self._log(stream, error)
        stream.buffer.end(self._broken())

    def _refuse(self, waiting: deque[LocalStream]) -> None:
        while waiting:
            name = self.endpoint.message_type.name
            waiting.popleft().buffer.end(ConcurrencyLimitError(name, self.intake.limit))

    async def _run(self, stream: LocalStream) -> None:
        name = self.endpoint.message_type.name
        failed: CatgaError | None = None
        try:
            await stream.pump.run(self.endpoint.stream(stream.query, stream.context))
        except asyncio.CancelledError as error:
            if not being_cancelled() or cancelled_by_handler():
                self._log(stream, error)
                failed = cancelled_itself(name)
            else:
                text = f"{name} was cancelled: the container that handled it stops"
                failed = TransportError(text, outcome=Outcome.UNKNOWN)
        except CatgaError as error:
            failed = error
        except Exception as error:  # noqa: BLE001 - an endpoint raises nothing else; should it, its asker gets an answer
            self._log(stream, error)
            failed = self._broken()
        except BaseException as error:
            self._log(stream, error)
            stream.buffer.end(failure_of(error, name).error)
            if passes_through(error):
                raise
        stream.buffer.end(failed)

    def _broken(self) -> CatgaError:
        return InternalError(
            f"{self.endpoint.message_type.name} failed inside its receiver: see the receiver's log"
        )

    def _log(self, stream: LocalStream, error: BaseException) -> None:
        logger().error(
            MESSAGE_FAILED,
            message=str(self.endpoint.message_type),
            message_id=stream.context.message_id,
            error=type(error).__name__,
            stack=traceback_of(error),
        )


def late(name: str) -> CatgaError:
    """Return the error for a stream that did not end before its deadline."""
    return RequestTimeoutError(
        f"The stream of {name} did not finish before its deadline. Retry with a longer timeout.",
        outcome=Outcome.UNKNOWN,
    )
