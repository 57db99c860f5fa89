"""A network connection that a test can break."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import urlsplit

from catga_testing.servers.ports import LOOPBACK, ReservedPort

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

Direction = Literal["both", "to_server", "to_client"]

_CHUNK = 64 * 1024
_PORT_WITHIN = 5.0


class Link:
    """A loopback address that forwards to a server, until the test cuts or stalls it.

    Clients that connect to `url` instead of to the server's own address see a network that fails on request. A cluster must
    be told not to `advertise` its own addresses, or clients go around the link.
    """

    def __init__(self, target: str, *, tls: ssl.SSLContext | None = None) -> None:
        """Describe a link; `start` or `async with` opens it.

        Args:
            target: The server's URL, such as `nats://127.0.0.1:4222`.
            tls: The server's side of TLS, which clients then have to speak with the link, as with a proxy before a server that
                does not encrypt; `Certificates.server_context` makes one.

        """
        address = urlsplit(target)
        if address.hostname is None or address.port is None:
            message = f"a link's target is a URL with host and port, not {target!r}"
            raise ValueError(message)
        # "redis" and "rediss" name the same server, without and with TLS.
        self._scheme = "rediss" if tls is not None and address.scheme == "redis" else address.scheme
        self._tls = tls
        self._target = (address.hostname, address.port)
        self._port: ReservedPort | None = None
        self._listener: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._to_server, self._to_client = asyncio.Event(), asyncio.Event()
        self._delay = 0.0

    @property
    def port(self) -> int:
        """The port that clients connect to; it stays the same until `close`."""
        if self._port is None:
            message = "the link is not open"
            raise RuntimeError(message)
        return self._port.number

    @property
    def url(self) -> str:
        """What clients connect to; the target's scheme with the link's own address."""
        return f"{self._scheme}://{LOOPBACK}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections go through the link now."""
        return len(self._connections)

    async def start(self) -> None:
        """Open the link: connections are accepted and forwarded.

        Raises:
            RuntimeError: It is open.

        """
        if self._port is not None:
            message = "the link is open already"
            raise RuntimeError(message)
        self._port = ReservedPort()
        await self.restore()

    async def cut(self) -> None:
        """Break every connection and refuse new ones, until `restore`; bytes on their way are lost."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def stall(self, direction: Direction = "both") -> None:
        """Stop forwarding without closing anything, until `restore`, like a network that loses every packet.

        Args:
            direction: Which way. With `to_client` the server gets requests, and its answers do not arrive.

        """
        for gate in self._gates(direction):
            gate.clear()

    async def slow_down(self, seconds: float) -> None:
        """Deliver everything later, in both directions, until `restore`; nothing is lost.

        Args:
            seconds: How much later.

        """
        self._delay = seconds

    async def restore(self) -> None:
        """Work again: what was held back is delivered without delay, and after `cut` new connections are accepted."""
        self._delay = 0.0
        for gate in self._gates("both"):
            gate.set()
        if self._listener is None:
            self._listener = await self._listen()

    async def _listen(self) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + _PORT_WITHIN
        while True:
            try:
                return await asyncio.start_server(self._serve, LOOPBACK, self.port, ssl=self._tls)
            except OSError as error:
                # A process that another thread is starting has a copy of the closed listener until it runs its program.
                if error.errno != errno.EADDRINUSE or loop.time() >= ends_at:
                    raise
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Break every connection and give the port back; closing twice is harmless."""
        await self.cut()
        if self._port is not None:
            self._port.close()
            self._port = None

    async def __aenter__(self) -> Self:
        """Open the link."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the link."""
        await self.close()

    def _gates(self, direction: Direction) -> Iterable[asyncio.Event]:
        if direction != "to_client":
            yield self._to_server
        if direction != "to_server":
            yield self._to_client

    # Not a coroutine: a cancelled one would be reported as an error by asyncio's streams.
    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._forward(reader, writer))
        self._connections[task] = [writer]
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        for writer in self._connections.pop(task):
            # Aborted, not closed: what is still buffered must not arrive after a cut.
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._to_server.wait()
        with contextlib.suppress(OSError):
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
            task = asyncio.current_task()
            if task is not None:
                self._connections[task].append(upstream_writer)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, upstream_writer, self._to_server))
                pumps.create_task(self._pump(upstream_reader, writer, self._to_client))

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await gate.wait()
                writer.write(data)
                await writer.drain()
        # A stalled network does not deliver the news of a closed connection either.
        await gate.wait()
        with contextlib.suppress(OSError):
            if writer.can_write_eof():
                writer.write_eof()
