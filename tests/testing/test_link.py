"""A link breaks the network between a client and a server, and mends it, on request."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest

from catga_testing.servers import Link, ReservedPort
from catga_testing.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that sends back every line and remembers it."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        while line := await reader.readline():
            self.lines.append(line)
            writer.write(line)
            await writer.drain()
        writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    """A running echo server."""
    echo = Echo()
    with ReservedPort() as port:
        server = await asyncio.start_server(echo.serve, "127.0.0.1", port.number)
        echo.url = f"nats://127.0.0.1:{port.number}"
        yield echo
        server.close()


@pytest.fixture
async def link(echo: Echo) -> AsyncIterator[Link]:
    """A link to the echo server."""
    async with Link(echo.url) as link:
        yield link


@pytest.fixture
async def client(link: Link) -> AsyncIterator[Streams]:
    """A connection through the link."""
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    yield reader, writer
    writer.transport.abort()
    await asyncio.wait({asyncio.ensure_future(_closed(writer))})


async def _closed(writer: asyncio.StreamWriter) -> None:
    try:
        await writer.wait_closed()
    except OSError:
        return


async def ask(client: Streams, line: bytes = b"hello\n") -> bytes:
    """Send a line and return the answer, which must come soon."""
    client[1].write(line)
    async with asyncio.timeout(5):
        return await client[0].readline()


async def test_it_forwards_both_ways(client: Streams, echo: Echo, link: Link) -> None:
    answer = await ask(client)

    assert answer == b"hello\n"
    assert echo.lines == [b"hello\n"]
    assert link.connections == 1


async def test_its_url_has_the_targets_scheme_and_its_own_port(link: Link, echo: Echo) -> None:
    assert link.url == f"nats://127.0.0.1:{link.port}"
    assert link.url != echo.url


async def test_cut_breaks_connections_and_refuses_new_ones(client: Streams, link: Link) -> None:
    await ask(client)

    await link.cut()

    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            assert await client[0].read() == b""
    assert link.connections == 0
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", link.port)


async def test_restore_after_cut_accepts_on_the_same_port(link: Link) -> None:
    port = link.port
    await link.cut()

    await link.restore()

    client = await asyncio.open_connection("127.0.0.1", port)
    assert await ask(client) == b"hello\n"
    client[1].close()


async def test_a_stalled_link_delivers_nothing_until_it_is_restored(
    client: Streams, echo: Echo, link: Link
) -> None:
    await ask(client, b"before\n")

    await link.stall()
    client[1].write(b"during\n")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await client[0].readline()
    assert echo.lines == [b"before\n"]
    await link.restore()

    async with asyncio.timeout(5):
        assert await client[0].readline() == b"during\n"


async def test_a_link_stalled_toward_the_client_lets_requests_through(
    client: Streams, echo: Echo, link: Link
) -> None:
    await ask(client, b"before\n")

    await link.stall("to_client")
    client[1].write(b"during\n")

    await eventually(lambda: b"during\n" in echo.lines)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await client[0].readline()
    await link.restore()
    async with asyncio.timeout(5):
        assert await client[0].readline() == b"during\n"


async def test_a_connection_made_while_stalled_works_after_restore(link: Link) -> None:
    await link.stall()
    client = await asyncio.open_connection("127.0.0.1", link.port)
    answer = asyncio.create_task(ask(client))

    await link.restore()

    assert await answer == b"hello\n"
    client[1].close()


async def test_a_closed_end_is_passed_on(client: Streams, link: Link) -> None:
    await ask(client)

    client[1].write_eof()

    async with asyncio.timeout(5):
        assert await client[0].read() == b""
    await eventually(lambda: link.connections == 0)


async def test_a_link_to_a_dead_server_closes_its_clients() -> None:
    with ReservedPort() as nobody:
        async with Link(f"nats://127.0.0.1:{nobody.number}") as link:
            reader, writer = await asyncio.open_connection("127.0.0.1", link.port)

            async with asyncio.timeout(5):
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
            writer.close()


def test_a_target_without_a_port_is_refused() -> None:
    with pytest.raises(ValueError, match="host and port"):
        Link("nats://127.0.0.1")


async def test_slow_link_delivers_everything_later_until_restored(echo: Echo) -> None:
    async with Link(echo.url) as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        await link.slow_down(0.1)
        began = asyncio.get_running_loop().time()
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        # Once on each way.
        assert asyncio.get_running_loop().time() - began >= 0.2
        await link.restore()
        began = asyncio.get_running_loop().time()
        writer.write(b"two\n")
        assert await reader.readline() == b"two\n"
        assert asyncio.get_running_loop().time() - began < 0.1
        assert echo.lines == [b"one\n", b"two\n"]
        writer.close()


async def test_restored_link_waits_for_a_copy_of_its_listener_to_close(echo: Echo) -> None:
    async with Link(echo.url) as link:
        assert link._listener is not None
        # As a process has it that was forked and has not begun its program.
        copy = socket.socket(fileno=os.dup(link._listener.sockets[0].fileno()))
        await link.cut()
        restoring = asyncio.create_task(link.restore())
        done, _ = await asyncio.wait([restoring], timeout=0.05)
        assert not done
        copy.close()
        await restoring
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        writer.close()
