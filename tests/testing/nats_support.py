"""A client that connects once, and what a test asks about a server and its process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.client import Client

from catga_testing.servers import NatsServer

HELLO = b'CONNECT {"verbose":false}\r\nPING\r\n'


async def _ignore(_: Exception) -> None:
    """Keep nats-py from logging the errors that these tests cause on purpose."""


async def connect(url: str, **options: Any) -> Client:
    """Connect once, without the client's own patience."""
    client = Client()
    try:
        async with asyncio.timeout(5):
            await client.connect(
                url,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                error_cb=_ignore,
                **options,
            )
    except BaseException:
        await client.close()  # a client that was refused keeps its socket
        raise
    return client


async def refuses(server: NatsServer, **options: Any) -> bool:
    """Tell whether the server does not let this client in."""
    try:
        client = await connect(server.url, **options)
    except (nats.errors.Error, OSError):
        return True
    await client.close()
    return False


async def refuses_tcp(port: int) -> bool:
    """Tell whether nobody listens."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


def is_gone(pid: int) -> bool:
    """Tell whether the process ended; a zombie that nobody reaps has ended too."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"
