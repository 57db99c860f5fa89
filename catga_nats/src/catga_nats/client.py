"""nats-py's client with what it lacks. Every private part of nats-py that Catga touches is touched here or in `parser`.

This module imports nats-py; it is itself imported when a connection starts, so that `import catga_nats` stays cheap.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from socket import SHUT_RDWR
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.errors import Error, SecureConnRequiredError
from nats.protocol.parser import Parser

from catga_core.errors import ConfigurationError
from catga_nats.opening import BACKLOG
from catga_nats.parser import RAISED, Deliver, FastParser, not_taken, plain_headers

# Error lines after which the server keeps the connection; nats-py would close it after the second.
_REFUSALS = ("permissions violation", "maximum subscriptions exceeded")
_ERROR_LINE = re.compile(rb"-ERR '?([^\r\n]*?)'?\r\n", re.IGNORECASE)


def _fits() -> bool:
    """Tell whether this nats-py is built as the one the short ways were written for."""
    client: Any = Client()
    taken: list[tuple[Any, list[str]]] = [
        (Client._process_msg, ["self", "sid", "subject", "reply", "data", "headers"]),  # noqa: SLF001
        (Parser.parse, ["self", "data"]),
    ]
    return (
        all([*inspect.signature(function).parameters] == names for function, names in taken)
        and isinstance(getattr(client, "_pending", None), list)
        and isinstance(getattr(client, "_ps", None), Parser)
        and all(
            hasattr(client, name)
            for name in ("_pending_data_size", "_flush_queue", "_process_headers", "_status")
        )
        and all(hasattr(Parser(), name) for name in ("buf", "state"))
    )


FITS = _fits()


class CatgaClient(Client):
    """A connection with short ways in and out, that survives a late pong, can leave a hung server, and can insist on
    encryption.

    The short ways: a message goes from the parser to its receiver without a queue, a task and three coroutines in
    between, and to the socket's buffer without four coroutines. Measured with 64 requests in flight, three processes on
    one CPU: 1.07 of raw nats-py's rate without them, 1.57 with them. With a nats-py that is built
    differently they are left out and everything still works (`FITS`).

    Args:
        demand_tls: Whether to refuse a server that does not encrypt, before any credentials are sent.
        on_refusal: Takes the text of an error line after which the connection goes on: a permission that is missing.
    """

    def __init__(self, *, demand_tls: bool, on_refusal: Callable[[str], None]) -> None:
        self._on_refusal = on_refusal
        self._joining: Any = None
        super().__init__()
        self._demand_tls = demand_tls
        self._fast = FITS
        self._sinks: dict[bytes, Deliver] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._written: asyncio.Future[None] | None = None
        if self._fast:
            self._ps = FastParser(self, self._sinks)
            # Not an override: a nats-py that calls it in another way must not meet ours.
            self._process_msg = self._deliver  # type: ignore[method-assign]
        if demand_tls and not hasattr(Client, "_connect_command"):
            raise ConfigurationError(
                "encryption cannot be demanded of this version of nats-py: install nats-py 2.16, or use nats:// without tls_"
            )

    # nats-py declares an attribute.
    @property
    def _transport(self) -> Any:
        """The transport of the connection, `None` without one."""
        return self._joining

    @_transport.setter
    def _transport(self, transport: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        # nats-py writes by writelines(), which pauses no writer in some releases of CPython, 3.13.0 among them: asyncio would
        # take all that is sent to a server that does not read, and nothing would wait for room. write() pauses.
        self._joining = transport
        if isinstance(transport, TcpTransport):
            write = transport.write
            transport.writelines = lambda payload: write(b"".join(payload))  # type: ignore[method-assign,no-untyped-call]

    @property
    def server_name(self) -> str:
        """What the server calls itself, empty before the first connection."""
        return str(self._server_info.get("server_name", ""))

    @property
    def server_version(self) -> str:
        """The server's version, empty before the first connection."""
        return str(self._server_info.get("version", ""))

    @property
    def takes_more(self) -> bool:
        """Whether there is a connection, and room in the buffer before it."""
        if self._fast:
            return self._status == Client.CONNECTED and self._pending_data_size <= BACKLOG
        return self.is_connected and self.pending_data_size <= BACKLOG

    async def listen(self, subject: str, queue: str, deliver: Deliver) -> Subscription:
        """Subscribe.

        Args:
            subject: Where to listen.
            queue: The queue group, empty for none.
            deliver: Takes each message; limits are its own affair.
        """

        async def on_message(message: Msg) -> None:
            try:
                deliver(message.subject.encode(), message.reply.encode(), message.data, message.headers)
            except RAISED as error:  # it would end this subscription
                not_taken(message.subject.encode(), error)

        if self._fast:
            # The id that `subscribe` takes next: what arrives before it returns must find its way as well.
            self._sinks[b"%d" % (self._sid + 1)] = deliver
        return await self.subscribe(
            subject, queue=queue, cb=on_message, pending_msgs_limit=0, pending_bytes_limit=0
        )

    async def subscribe_again(self, subscription: Subscription) -> None:
        """Send a subscription again that the server has refused or dropped; its messages go where they did."""
        await self._send_subscribe(subscription)

    def send(self, subject: bytes, reply: bytes, payload: bytes, headers: Mapping[str, str] | None) -> None:
        """Put a message into the buffer that is written to the socket in this turn of the loop.

        Whether there is a connection, and room in the buffer, is for the caller to ask.

        Args:
            subject: Checked by the caller.
            reply: Empty for none.
            payload: Within the server's limit.
            headers: Names and values as the protocol wants them, `None` for none.
        """
        if not self._fast:
            task = asyncio.get_running_loop().create_task(
                self.publish(subject.decode(), payload, reply.decode(), dict(headers) if headers else None)
            )
            self._sending.add(task)
            task.add_done_callback(self._sent)
            return
        # One piece, not three: the pieces of a turn are joined before they are written.
        if headers is None:
            command = b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(payload), payload)
        else:
            lines = "".join([f"{key}: {value}\r\n" for key, value in headers.items()])
            block = f"NATS/1.0\r\n{lines}\r\n".encode()
            total = len(block) + len(payload)
            command = b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject, reply, len(block), total, block, payload)
        self._pending.append(command)
        self._pending_data_size += len(command)
        queue = self._flush_queue
        if queue is not None and queue.empty():
            queue.put_nowait(asyncio.get_running_loop().create_future())

    def offer(self, subject: bytes, payload: bytes) -> bool:
        """Put a message without a reply subject into the buffer, as `send` does, where `takes_more` holds.

        One call in the place of three for each event, and of four for each response.

        Args:
            subject: Checked by the caller.
            payload: Within the server's limit.

        Returns:
            Whether it is in the buffer.
        """
        if not self._fast or self._status != Client.CONNECTED or self._pending_data_size > BACKLOG:
            return False
        command = b"PUB %b %d\r\n%b\r\n" % (subject, len(payload), payload)
        self._pending.append(command)
        self._pending_data_size += len(command)
        queue = self._flush_queue
        if queue is not None and queue.empty():
            queue.put_nowait(asyncio.get_running_loop().create_future())
        return True

    async def written(self) -> None:
        """Return when the socket has taken more of the buffer; without a connection, wait for the next one."""
        if not self._fast:
            with suppress(Error, OSError):
                await self.flush()
            return
        queue = self._flush_queue
        if queue is None:
            return
        # One for all who wait: nats-py's own flushes must find a place in the queue.
        written = self._written
        if written is None or written.done():
            written = self._written = asyncio.get_running_loop().create_future()
            try:
                await queue.put(written)
            except BaseException:
                written.cancel()
                raise
        await asyncio.wait([written])

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # The connection went away in between; who waits for an answer has a deadline.
            self.stats["errors_received"] += 1

    def abort(self) -> None:
        """Cut the connection without a word; nats-py notices and looks for another server.

        Closing it politely waits until the peer has read everything, and a hung peer (or a cut network) never does:
        nats-py's own way of leaving such a server waits for ever as soon as there is unsent data.
        """
        stream = getattr(getattr(self, "_transport", None), "_io_writer", None)
        if stream is not None:
            stream.transport.abort()

    def abandon(self) -> None:
        """Close the socket from outside of the event loop."""
        stream = getattr(getattr(self, "_transport", None), "_io_writer", None)
        socket = None if stream is None else stream.get_extra_info("socket")
        if socket is not None:
            with suppress(OSError):
                socket.shutdown(SHUT_RDWR)

    async def _deliver(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any) -> None:
        sink = self._sinks.get(b"%d" % sid)
        if sink is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        known: Mapping[str, str] | None = None
        if headers:
            known = plain_headers(bytes(headers)) or await self._process_headers(headers)
        try:
            sink(subject, reply, data, known)
        except RAISED as error:  # it would end nats-py's read loop, and all subscriptions with it
            not_taken(subject, error)

    async def _process_pong(self) -> None:
        # nats-py sets the result of a ping that has timed out or was cancelled, which raises InvalidStateError and
        # ends its read loop for good while it goes on calling itself connected.
        pongs: Any = getattr(self, "_pongs", None)
        if pongs and pongs[0].done():
            del pongs[0]
            self._pings_outstanding = 0
            return
        await super()._process_pong()

    async def _process_err(self, err_msg: str) -> None:
        if not any(each in err_msg.lower() for each in _REFUSALS):
            await super()._process_err(err_msg)
            return
        # nats-py has made the text small, and subjects are not; its parser still holds the line.
        line = _ERROR_LINE.match(bytes(getattr(self._ps, "buf", b"")))
        text = line[1].decode(errors="replace") if line is not None else err_msg.strip("'")
        try:
            self._on_refusal(text)
        except Exception as error:  # noqa: BLE001  # ours never raises; should it, the read loop goes on
            not_taken(b"-ERR", error)

    def _connect_command(self) -> bytes:
        # Whether to encrypt is the server's word in nats-py, whatever the URL says. A server in the middle that takes
        # that word away would be sent our credentials in the clear.
        if self._demand_tls:
            stream = getattr(getattr(self, "_transport", None), "_io_writer", None)
            if stream is None or stream.get_extra_info("ssl_object") is None:
                raise SecureConnRequiredError
        return super()._connect_command()
