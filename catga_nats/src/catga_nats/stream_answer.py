"""`StreamAnswer`: one open stream on the side of its handler."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from catga_core.clock import Clock
from catga_core.errors import CatgaError
from catga_core.messages import MessageType
from catga_core.messages.message_context import MessageContext
from catga_core.messages.stream_frames import StreamFrames, Wish
from catga_core.runtime.credit import Credit
from catga_core.runtime.stream_pump import StreamPump
from catga_nats.channels import unreachable
from catga_nats.connection import NatsConnection
from catga_nats.counters import Counters
from catga_nats.failures import stream_late, stream_lost, too_large, unsent
from catga_nats.heartbeat import Heartbeat
from catga_nats.stream_headers import Flow


class StreamAnswer:
    """Sends the items of one handler's stream as its asker consumes them, and ends it when they are not wanted any more.

    Args:
        message_type: The stream query's type.
        peer: Where the asker listens.
        context: The query's context.
        clock: What deadlines are compared with.
        patience: Seconds that an item may wait for the server where the query has no deadline.
        connection: How to reach the asker.
        frames: Reads and writes frames.
        flow: How much may be out.
        counters: Where to count.
    """

    def __init__(
        self,
        message_type: MessageType,
        peer: bytes,
        context: MessageContext,
        clock: Clock,
        patience: float,
        connection: NatsConnection,
        frames: StreamFrames,
        flow: Flow,
        counters: Counters,
    ) -> None:
        self._type = message_type
        self._context = context
        self._clock = clock
        self._patience = patience
        self._connection = connection
        self._frames = frames
        self._counters = counters
        self._credit = Credit(flow.items, flow.size)
        self._pump = StreamPump(self._send)
        self._heartbeat = Heartbeat(flow.heartbeat, self._tell, self._silent)
        self._failed: CatgaError | None = None
        self._address = b""
        self.subject: bytes = b""
        self.peer: bytes = peer

    async def run(self, items: AsyncGenerator[Any, None]) -> None:
        """Send every item; returns when the handler has ended, for whatever reason.

        Args:
            items: The handler's stream.

        Raises:
            CatgaError: The asker or the connection is lost, or has broken the protocol.
            BaseException: What the handler failed with.
        """
        self._address = self._connection.mux.address()
        self._connection.mux.channels.add(self._address, self)
        self._heartbeat.start()
        # The asker learns where to send what it has consumed.
        self._tell()
        try:
            await self._pump.run(items)
        finally:
            self._heartbeat.stop()
            self._connection.mux.channels.forget(self._address)
        if self._failed is not None:
            self._counters.streams_abandoned += 1
            raise self._failed
        if self._pump.stopped:
            self._counters.streams_left += 1

    def end(self, error: CatgaError | None) -> None:
        """Tell the asker that the stream has ended, without waiting.

        Args:
            error: What it failed with, `None` for a stream that is complete.
        """
        connection, frames, number = self._connection, self._frames, self._credit.sent + 1
        data = frames.encode_end(number, error)
        if len(data) > connection.payload_limit:
            what = f"the failure of the stream of {self._type}"
            data = frames.encode_end(number, too_large(what, len(data), connection.payload_limit))
        client = connection.client
        if client is not None and connection.has_room(client, len(data), small=True):
            client.send(self.peer, b"", data, None)
        else:
            self._counters.replies_lost += 1

    # --- what the asker says ---

    def deliver(self, reply: bytes, data: bytes, headers: Mapping[str, str] | None, /) -> None:  # noqa: ARG002
        """Take one frame of the asker."""
        if unreachable(data, headers):
            self.fail(stream_lost(self._type, "its asker is gone"))
            return
        try:
            control = self._frames.decode_control(data)
        except CatgaError as error:
            self._counters.streams_refused += 1
            self.fail(error)
            return
        self._heartbeat.heard()
        if not self._credit.free(control.consumed):
            self._counters.streams_refused += 1
            self.fail(stream_lost(self._type, "its asker has consumed more than was sent"))
        elif control.wish == Wish.LEFT:
            self._pump.leave()
        elif control.wish == Wish.CANCELLED:
            self._pump.cancel()

    def fail(self, error: CatgaError, /) -> None:
        """End the handler's stream: the asker cannot be reached any more."""
        if not self._pump.stopped:
            self._failed = error
            self._pump.cancel()

    def _silent(self, seconds: float) -> None:
        self.fail(stream_lost(self._type, f"its asker gave no sign of life for {seconds:.3g} s"))

    # --- what is sent ---

    async def _send(self, item: Any) -> None:
        credit, connection = self._credit, self._connection
        data = self._frames.encode_item(self._type, credit.sent + 1, item)
        size = len(data)
        if size > connection.payload_limit:
            raise too_large(f"an item of the stream of {self._type}", size, connection.payload_limit)
        if credit.full:
            try:
                await credit.wait(self._left())
            except TimeoutError:
                raise stream_late(self._type) from None
        client = connection.client
        if client is None or not client.offer(self.peer, data):
            left = self._left()
            if not await connection.room(size, self._patience if left is None else left):
                raise unsent(self._type)
            client = connection.client
            if client is None:
                raise unsent(self._type)
            client.send(self.peer, b"", data, None)
        credit.spend(size)
        self._counters.stream_items_sent += 1

    def _left(self) -> float | None:
        deadline = self._context.deadline
        return None if deadline is None else max(0.0, deadline - self._clock.time())

    def _tell(self) -> None:
        connection = self._connection
        client = connection.client
        data = self._frames.encode_alive(self._credit.sent + 1)
        if client is not None and client.is_connected and connection.has_room(client, len(data), small=True):
            client.send(self.peer, self._address, data, None)
