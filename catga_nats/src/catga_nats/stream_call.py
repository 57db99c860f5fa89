"""`StreamCall`: one open stream on the side of the one who asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from catga_core.clock import Clock
from catga_core.errors import CatgaError
from catga_core.messages import MessageType
from catga_core.messages.stream_frames import Frame, Kind, StreamFrames, Wish
from catga_core.runtime.item_buffer import END, ItemBuffer
from catga_nats.channels import unreachable
from catga_nats.connection import NatsConnection
from catga_nats.counters import Counters
from catga_nats.failures import stream_late, stream_lost, too_large
from catga_nats.heartbeat import Heartbeat
from catga_nats.stream_headers import Flow

_LATE_WITHIN = 30.0  # seconds in which a stream is ended that was given up before its first frame


class StreamCall:
    """Receives the items of one stream, tells what was consumed, and ends the handler when its items are not wanted any more.

    Args:
        message_type: The stream query's type.
        subject: Where the query is sent.
        connection: How to reach the responder.
        frames: Reads and writes frames.
        flow: How much may be out.
        counters: Where to count.

    Attributes:
        address: Where the responder sends its frames.
        unroutable: Whether the server has said that no process handles the query.
    """

    def __init__(
        self,
        message_type: MessageType,
        subject: bytes,
        connection: NatsConnection,
        frames: StreamFrames,
        flow: Flow,
        counters: Counters,
    ) -> None:
        self._type = message_type
        self._connection = connection
        self._frames = frames
        self._flow = flow
        self._counters = counters
        self._buffer: ItemBuffer[Any] = ItemBuffer()
        self._heartbeat = Heartbeat(flow.heartbeat, self._tell, self._silent)
        self._expected = 1
        self._told = (0, 0)  # items and bytes that the responder knows to be consumed
        self._done = False  # whether the responder has nothing left to end
        self.subject: bytes = subject
        self.peer: bytes = b""
        self.address: bytes = connection.mux.address()
        self.unroutable: bool = False
        loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        connection.mux.channels.add(self.address, self)
        self._heartbeat.start()

    # --- what arrives ---

    def deliver(self, reply: bytes, data: bytes, headers: Mapping[str, str] | None, /) -> None:
        """Take one frame of the responder."""
        if self._buffer.ended or self.closed.done():
            self._end_late(reply)
            return
        if unreachable(data, headers):
            self._unreachable()
            return
        self._heartbeat.heard()
        if reply and not self.peer:
            self.peer = reply
            self._open()
        try:
            self._take(data)
        except CatgaError as error:
            self.fail(error)

    def fail(self, error: CatgaError, /) -> None:
        """End the stream after the items that have arrived."""
        if not self._buffer.ended:
            self._counters.streams_interrupted += 1
            self._end(error)
            self._cancel()

    def _take(self, data: bytes) -> None:
        limit = self._connection.payload_limit
        if len(data) > limit:
            raise too_large(f"a frame of the stream of {self._type}", len(data), limit)
        frame = self._frames.decode(self._type.result, data)
        if frame.number != self._expected:
            text = f"frame {self._expected} did not arrive, but frame {frame.number}"
            raise stream_lost(self._type, text)
        if frame.kind == Kind.ITEM:
            self._put(frame, len(data))
        elif frame.kind != Kind.ALIVE:
            self._done = True
            self._end(frame.value)

    def _put(self, frame: Frame[Any], size: int) -> None:
        buffer, flow = self._buffer, self._flow
        if not self.peer:
            raise stream_lost(self._type, "its responder sent an item and no address for what was consumed")
        if len(buffer) >= flow.items or (len(buffer) and buffer.size >= flow.size):
            raise stream_lost(self._type, "its responder sent more than was asked for")
        self._expected += 1
        self._counters.stream_items_received += 1
        buffer.put(frame.value, size)

    def _unreachable(self) -> None:
        if self.peer:
            self.fail(stream_lost(self._type, "its responder is gone"))
        else:
            self.unroutable = self._done = True
            self._end(None)

    def _silent(self, seconds: float) -> None:
        self.fail(stream_lost(self._type, f"its responder gave no sign of life for {seconds:.3g} s"))

    def _open(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    def _end(self, error: CatgaError | None) -> None:
        self._buffer.end(error)
        self._heartbeat.stop()
        self._open()

    # --- what is consumed ---

    async def opened(self, deadline: float | None, clock: Clock) -> None:
        """Return when the responder, or the server, has said anything about the query.

        Args:
            deadline: In seconds since the epoch, `None` for none.
            clock: What it is compared with.

        Raises:
            CatgaError: `TIMEOUT` at the deadline.
        """
        left = None if deadline is None else max(0.0, deadline - clock.time())
        try:
            async with asyncio.timeout(left):
                await self._opened
        except TimeoutError:
            raise stream_late(self._type) from None

    async def items(self, deadline: float | None, clock: Clock) -> AsyncGenerator[Any, None]:
        """Yield the items in their order.

        Args:
            deadline: In seconds since the epoch, `None` for none.
            clock: What it is compared with.

        Raises:
            CatgaError: `TIMEOUT` at the deadline, and what the stream failed with.
        """
        buffer, flow = self._buffer, self._flow
        items, size = max(1, flow.items // 2), max(1, flow.size // 2)
        wish = Wish.CANCELLED
        left: float | None = None
        try:
            while True:
                if deadline is not None and (left := deadline - clock.time()) <= 0:
                    raise stream_late(self._type)
                try:
                    item = await buffer.take(left)
                except TimeoutError:
                    raise stream_late(self._type) from None
                if item is END:
                    return
                told, told_size = self._told
                if buffer.consumed - told >= items or buffer.consumed_size - told_size >= size:
                    self._tell()
                try:
                    yield item
                except GeneratorExit:
                    wish = Wish.LEFT
                    raise
        finally:
            self.close(wish)

    def close(self, wish: Wish = Wish.CANCELLED) -> None:
        """Take no more frames, and have the handler ended where the stream has not.

        Args:
            wish: Why no more items are wanted.
        """
        if self.closed.done():
            return
        self.closed.set_result(None)
        self._heartbeat.stop()
        if self.peer or self._done:
            self._forget()
            if not self._done:
                self._tell(wish)
        else:
            # The responder's first frame, which tells its address, may still be on its way.
            self._connection.mux.channels.retire(self.address)
            asyncio.get_running_loop().call_later(_LATE_WITHIN, self._forget)

    def _end_late(self, reply: bytes) -> None:
        if reply and not self.peer:
            self.peer = reply
            self._cancel()
            if self.closed.done():
                self._forget()

    def _cancel(self) -> None:
        if self.peer:
            self._tell(Wish.CANCELLED)
            self._done = True

    def _forget(self) -> None:
        self._connection.mux.channels.forget(self.address)

    def _tell(self, wish: Wish = Wish.GO_ON) -> None:
        connection, peer = self._connection, self.peer
        client = connection.client
        if not peer or client is None or not client.is_connected:
            return
        consumed = self._buffer.consumed
        data = self._frames.encode_control(consumed, wish)
        # Where there is no room the next sign of life says it, and a responder that hears nothing ends.
        if connection.has_room(client, len(data), small=True):
            client.send(peer, self.address if wish is Wish.GO_ON else b"", data, None)
            self._told = (consumed, self._buffer.consumed_size)
