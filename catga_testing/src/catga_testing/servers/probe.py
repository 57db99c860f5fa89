"""Questions to a server that need no client library."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

from catga_testing.servers.ports import LOOPBACK

_TIMEOUT_SECONDS = 0.5


def server_info(port: int) -> dict[str, Any] | None:
    """Return what a NATS server on this loopback port says of itself, or `None` when none answers."""
    try:
        with (
            socket.create_connection((LOOPBACK, port), timeout=_TIMEOUT_SECONDS) as connection,
            connection.makefile("rb") as stream,
        ):
            verb, _, info = stream.readline().partition(b" ")
    except OSError:
        return None
    return json.loads(info) if verb == b"INFO" else None


def monitor(port: int, path: str) -> dict[str, Any] | None:
    """Return the answer of a server's monitoring page, or `None` when it does not answer with success."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return json.loads(body) if answer.status == http.client.OK else None
