"""The first connection of a client: in time or not at all, and with a cause that a person can act on."""

from __future__ import annotations

import asyncio
import importlib
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from catga_core.errors import CatgaError, Outcome, TransportError
from catga_core.log import CONNECTION_ERROR, logger
from catga_core.runtime import RetryPolicy
from catga_nats.failures import whereabouts
from catga_nats.options import NatsOptions
from catga_nats.signing import connect_arguments

if TYPE_CHECKING:
    from catga_nats.client import CatgaClient

_LEAST_WAIT = 0.1  # seconds between two new clients, whatever the options say
BACKLOG = 2 * 1024 * 1024
"""Bytes that may wait to be written before senders wait too (nats-py's own figure)."""


class Owner(Protocol):
    """Who hears of a client's life once it is connected."""

    def on_error(self, client: CatgaClient, error: Exception) -> None:
        """Something went wrong that the client goes on after."""
        ...

    def on_refusal(self, text: str) -> None:
        """The server has refused one message or subscription, and the connection goes on."""
        ...

    def on_lost(self, client: CatgaClient) -> None:
        """The connection is gone, and the client looks for another."""
        ...

    def on_restored(self, client: CatgaClient) -> None:
        """The client has found another connection."""
        ...

    def on_closed(self, client: CatgaClient) -> None:
        """The client has given up for good."""
        ...

    def next_server(self, servers: list[Any], info: dict[str, Any]) -> tuple[Any, float]:
        """Choose where to try next, and after how many seconds."""
        ...


async def open_client(options: NatsOptions, owner: Owner) -> CatgaClient:
    """Return a connected client.

    Args:
        options: Where and how.
        owner: Who hears of the client once it is returned.

    Raises:
        ConfigurationError: For files that cannot be read.
        CatgaError: `TRANSPORT_FAILED`, with the servers, the cause and the fix.
    """
    # In a thread: it reads files, and imports nats-py and structlog, which takes as long as a hundred messages.
    arguments = await asyncio.to_thread(_prepare, options)
    from catga_nats.client import CatgaClient

    client = CatgaClient(demand_tls=options.wants_tls, on_refusal=owner.on_refusal)
    attempt = _Attempt()
    arguments |= _settings(options) | _callbacks(client, owner, attempt)
    connecting = asyncio.create_task(client.connect(**arguments))
    refused = asyncio.create_task(attempt.refused.wait())
    try:
        await asyncio.wait(
            {connecting, refused}, timeout=options.connect_timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if await attempt.succeeded(connecting):
            return client
    except BaseException:
        await discard(client, connecting)
        raise
    finally:
        refused.cancel()
    await discard(client, connecting)
    raise _unreachable(options, attempt.errors)


def _prepare(options: NatsOptions) -> dict[str, Any]:
    importlib.import_module("catga_nats.client")
    logger()
    return connect_arguments(options)


def describe(error: Exception) -> str:
    """Return an error of nats-py in words."""
    text = str(error) or type(error).__name__
    return text.removeprefix("nats: ").strip("'")


async def discard(client: CatgaClient, connecting: asyncio.Task[Any] | None = None) -> None:
    """Be done with a client that is of no use."""
    if connecting is not None:
        connecting.cancel()
        await asyncio.wait({connecting}, timeout=1.0)
    client.abort()
    with suppress(Exception):
        async with asyncio.timeout(1.0):
            await client.close()


class _Attempt:
    """What went wrong so far."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.refused = asyncio.Event()
        self.over = False

    def note(self, error: Exception) -> None:
        """Keep an error; one that a retry cannot fix ends the attempt."""
        self.errors.append(error)
        if _is_final(error):
            self.refused.set()

    async def succeeded(self, connecting: asyncio.Task[None]) -> bool:
        """Tell whether there is a connection now."""
        if not connecting.done() or self.refused.is_set():
            return False
        try:
            await connecting
        except Exception as error:  # noqa: BLE001  # whatever nats-py raises here is the cause to report
            self.errors.append(error)
            return False
        self.over = True
        return True


def _settings(options: NatsOptions) -> dict[str, Any]:
    return {
        "servers": list(options.server_urls),
        "name": options.name,
        # With more than one server, one that hangs must not use up the time of the others.
        "connect_timeout": options.connect_timeout / len(options.server_urls),
        # Only the first connection uses this wait; later ones ask the owner.
        "reconnect_time_wait": 0.1,
        "max_reconnect_attempts": -1,
        # nats-py's own pings are the second line: ours notice first, and can leave a hung server (abort).
        "ping_interval": options.ping_interval,
        # Our own check (BACKLOG) comes first: nats-py's waits for a hung server without any limit.
        "pending_size": 16 * BACKLOG,
        "flush_timeout": options.connect_timeout,
        # Subjects are checked once where they are made, not by two regular expressions a message.
        "skip_subject_validation": True,
    }


def _callbacks(client: CatgaClient, owner: Owner, attempt: _Attempt) -> dict[str, Any]:
    # What a callback raises ends nats-py's read loop for good, while the client goes on calling itself connected.
    async def on_error(error: Exception) -> None:
        if attempt.over:
            _tell(owner.on_error, client, error)
        else:
            attempt.note(error)

    async def on_disconnected() -> None:
        _tell(owner.on_lost, client)

    async def on_reconnected() -> None:
        _tell(owner.on_restored, client)

    async def on_closed() -> None:
        _tell(owner.on_closed, client)

    def next_server(servers: list[Any], info: dict[str, Any]) -> tuple[Any, float]:
        # nats-py forgets the socket of an attempt that got no answer, without closing it.
        client.abort()
        return owner.next_server(servers, info)

    return {
        "error_cb": on_error,
        "disconnected_cb": on_disconnected,
        "reconnected_cb": on_reconnected,
        "closed_cb": on_closed,
        "reconnect_to_server_handler": next_server,
    }


def _tell(callback: Callable[..., None], *arguments: Any) -> None:
    try:
        callback(*arguments)
    except Exception as error:  # noqa: BLE001  # ours never raise; should one, the connection goes on
        logger().error(CONNECTION_ERROR, error=f"a callback failed: {whereabouts(error)}")


def _unreachable(options: NatsOptions, seen: list[Exception]) -> CatgaError:
    shown = ", ".join(options.server_urls)
    final = next((error for error in seen if _is_final(error)), None)
    if final is None:
        cause = describe(seen[-1]) if seen else "no answer"
        return TransportError(
            f"no NATS server answered within {options.connect_timeout:g} s at {shown} ({cause}): "
            "start a server there, or correct the URL",
            outcome=Outcome.NOT_SENT,
        )
    if _is_auth(final):
        text = (
            f"the NATS server at {shown} refused our credentials ({describe(final)}): check token, "
            "user and password, nkeys_seed or credentials against the server's configuration"
        )
    elif _is_unencrypted(final):
        text = (
            f"the NATS server at {shown} does not encrypt, and the options demand it: "
            "set up TLS on the server, or use nats:// without tls_ options"
        )
    else:
        text = (
            f"no trusted encryption with the NATS server at {shown} ({describe(final)}): "
            "check tls_ca, tls_hostname, tls_cert and tls_key"
        )
    return TransportError(text, outcome=Outcome.NOT_SENT, retryable=False)


# The words below are the NATS protocol's own; nats-py keeps nothing else of them.
def _is_auth(error: Exception) -> bool:
    text = str(error).lower()
    return "authorization violation" in text or "authentication" in text


def _is_unencrypted(error: Exception) -> bool:
    from nats.errors import SecureConnRequiredError

    return isinstance(error, SecureConnRequiredError)


def _is_final(error: Exception) -> bool:
    return _is_auth(error) or _is_unencrypted(error) or isinstance(error, ssl.SSLError)


def reopening(options: NatsOptions) -> RetryPolicy:
    """Return the delays between two new clients: `reconnect_wait`, and up to `reconnect_jitter` more.

    Args:
        options: The options of the connection.
    """
    least = max(options.reconnect_wait, _LEAST_WAIT)
    most = least + options.reconnect_jitter
    return RetryPolicy(
        max_attempts=None,
        delay_seconds=most,
        max_delay_seconds=most,
        jitter=options.reconnect_jitter / most,
    )
