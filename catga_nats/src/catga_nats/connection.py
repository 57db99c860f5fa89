"""One connection to NATS that fails fast at the start and comes back by itself for ever after."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from catga_core.errors import CatgaError, ConfigurationError
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.log import CONNECTION_ERROR, CONNECTION_LOST, CONNECTION_RESTORED, logger
from catga_nats.counters import Counters
from catga_nats.failures import failed, interrupted
from catga_nats.mux import RequestMux
from catga_nats.options import NatsOptions
from catga_nats.signing import connect_arguments
from catga_nats.subscription import Subscription

if TYPE_CHECKING:
    from catga_nats.client import CatgaClient

BACKLOG = 2 * 1024 * 1024
"""Bytes that may wait to be written before senders wait too (nats-py's own figure)."""

_STALE_AFTER = 1.0  # seconds after which an unanswered ping is worth telling
_SETTLED_WITHIN = 5.0  # seconds after an outage when "nobody listens" is believed at the latest
_CLOSE_WITHIN = 2.0  # seconds for the last bytes before the connection is cut


class NatsConnection:
    """Keeps one nats-py client connected, and a new one in its place should it ever give up.

    Parameters:
        options: where and how.
        counters: where to count losses.
    """

    def __init__(self, options: NatsOptions, counters: Counters) -> None:
        self.client: CatgaClient | None = None
        self._options = options
        self._counters = counters
        self.mux = RequestMux(counters)
        self._subscriptions: list[Subscription] = []
        self._connected = asyncio.Event()
        self._closed = False
        self._lost_at: float | None = None
        self._settled_at = float("-inf")
        self._attempts = 0
        self._rtt: float | None = None
        self._ping: asyncio.Task[float] | None = None
        self._ping_sent: float | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._reviver: asyncio.Task[None] | None = None
        self._arguments: dict[str, Any] = {}

    @property
    def shown(self) -> str:
        """The servers, without credentials."""
        return ", ".join(self._options.server_urls)

    @property
    def payload_limit(self) -> int:
        """Bytes of the largest message that may be sent."""
        server = 1024 * 1024 if self.client is None else self.client.max_payload
        return server if self._options.max_payload is None else min(server, self._options.max_payload)

    @property
    def buffer(self) -> int:
        """Bytes that may wait to be written before even answers are dropped."""
        return 8 * BACKLOG

    async def start(self) -> None:
        """Return when a server has taken us.

        Raises:
            ConfigurationError: for files that cannot be read.
            CatgaError: `TRANSPORT_FAILED`, with the servers, the cause and the mend.
        """
        self._arguments = await asyncio.to_thread(connect_arguments, self._options)
        self.client = await self._open()
        self._connected.set()
        await self.subscribe(self.mux.subscription)
        self._watcher = asyncio.create_task(self._watch())

    async def _open(self) -> CatgaClient:
        from catga_nats.client import CatgaClient

        client = CatgaClient(demand_tls=self._options.wants_tls)
        attempt = _Attempt()
        connecting = asyncio.create_task(client.connect(**self._connect_arguments(client, attempt)))
        refused = asyncio.create_task(attempt.refused.wait())
        try:
            await asyncio.wait(
                {connecting, refused},
                timeout=self._options.connect_timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if await attempt.succeeded(connecting):
                return client
        except BaseException:
            await _discard(client, connecting)
            raise
        finally:
            refused.cancel()
        await _discard(client, connecting)
        raise self._unreachable(attempt.errors)

    def _connect_arguments(self, client: CatgaClient, attempt: _Attempt) -> dict[str, Any]:
        options = self._options

        async def on_error(error: Exception) -> None:
            if self.client is client:
                self._on_error(error)
            else:
                attempt.note(error)

        async def on_disconnected() -> None:
            if self.client is client:
                self._note_lost()

        async def on_reconnected() -> None:
            self._note_restored()

        async def on_closed() -> None:
            if self.client is client and not self._closed:
                self._note_lost()
                self._reviver = asyncio.create_task(self._revive())

        return {
            "servers": list(options.server_urls),
            "name": options.name,
            "error_cb": on_error,
            "disconnected_cb": on_disconnected,
            "reconnected_cb": on_reconnected,
            "closed_cb": on_closed,
            # With more than one server, one that hangs must not use up the time of the others.
            "connect_timeout": options.connect_timeout / len(options.server_urls),
            # Only the first connection uses this wait; later ones ask _next_server.
            "reconnect_time_wait": 0.1,
            "max_reconnect_attempts": -1,
            "reconnect_to_server_handler": self._next_server,
            # nats-py's own pings are the second line: ours notice first, and can leave a hung server (abort).
            "ping_interval": options.ping_interval,
            # Our own check (BACKLOG) comes first: nats-py's waits for a hung server without any limit.
            "pending_size": 16 * BACKLOG,
            "flush_timeout": options.connect_timeout,
            # Subjects are checked once where they are made, not by two regular expressions a message.
            "skip_subject_validation": True,
            **self._arguments,
        }

    def _unreachable(self, seen: list[Exception]) -> CatgaError:
        options = self._options
        final = next((error for error in seen if _is_final(error)), None)
        if final is None:
            cause = _describe(seen[-1]) if seen else "no answer"
            return failed(
                f"no NATS server answered within {options.connect_timeout:g} s at {self.shown} ({cause}): "
                "start a server there, or correct the URL",
                outcome="not_sent",
            )
        if _is_auth(final):
            mend = (
                "check token, user and password, nkeys_seed or credentials against the server's configuration"
            )
            text = f"the NATS server at {self.shown} refused our credentials ({_describe(final)}): {mend}"
        elif _is_unencrypted(final):
            text = (
                f"the NATS server at {self.shown} does not encrypt, and the options demand it: "
                "set up TLS on the server, or use nats:// without tls_ options"
            )
        else:
            text = (
                f"no trusted encryption with the NATS server at {self.shown} ({_describe(final)}): "
                "check tls_ca, tls_hostname, tls_cert and tls_key"
            )
        return failed(text, outcome="not_sent", retryable=False)

    # --- while it runs ---

    @property
    def settling(self) -> bool:
        """Whether the connection came back so lately that other processes may not have found theirs yet."""
        return asyncio.get_running_loop().time() < self._settled_at

    async def subscribe(self, subscription: Subscription) -> None:
        """Listen, and listen again on whatever connection comes after this one."""
        assert self.client is not None  # noqa: S101  # only called after start
        self._subscriptions.append(subscription)
        await subscription.attach(self.client)

    async def flush(self, timeout: float = 5.0) -> None:
        """Return when the server has read everything sent so far, or there is no telling.

        Parameters:
            timeout: seconds.
        """
        client = self.client
        if client is not None and client.is_connected:
            from nats.errors import Error

            with suppress(Error, OSError):
                await client.flush(timeout)  # type: ignore[arg-type]

    async def ready(self, timeout: float) -> CatgaClient:
        """Return the client when it can take a message.

        Parameters:
            timeout: seconds the message may wait.

        Raises:
            CatgaError: `TRANSPORT_FAILED`: closed, disconnected (at once, or after the timeout, as the options say),
                or a server that does not take what is sent.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        waits = self._options.while_disconnected == "wait"
        while True:
            client = self.client
            if client is None or self._closed:
                state = "closed" if self._closed else "not started"
                raise failed(
                    f"the NATS connection is {state}: send between start and stop", outcome="not_sent"
                )
            left = until - loop.time()
            if client.is_connected:
                if client.pending_data_size <= BACKLOG:
                    return client
                if left <= 0 or (self._stale_for() is not None and not waits):
                    raise failed(
                        f"the NATS server at {self.shown} does not read what is sent to it: try again later",
                        outcome="not_sent",
                    )
                # The flusher needs a turn or two; a hung server is seen by its pings.
                await asyncio.sleep(0.001)
                continue
            if not waits or left <= 0:
                raise failed(f"no connection to NATS at {self.shown} ({self._outage()})", outcome="not_sent")
            self._connected.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._connected.wait()

    def health(self) -> Health:
        """Return the state as it is now."""
        client = self.client
        details: dict[str, Any] = {
            "servers": list(self._options.server_urls),
            **self._counters.details(),
            "requests_waiting": self.mux.pending,
        }
        if self._closed:
            return Health(HealthStatus.UNHEALTHY, "closed", {**details, "state": "closed"})
        if client is None:
            return Health(HealthStatus.UNHEALTHY, "not connected yet", {**details, "state": "new"})
        details["unsent_bytes"] = client.pending_data_size
        if not client.is_connected:
            text = f"no connection to {self.shown} ({self._outage()})"
            return Health(HealthStatus.UNHEALTHY, text, {**details, "state": "reconnecting"})
        url = client.connected_url
        server = client.server_name or (url.netloc.rpartition("@")[2] if url else "")
        details |= {"server": server, "rtt_ms": None if self._rtt is None else round(self._rtt * 1000, 3)}
        stale = self._stale_for()
        if stale is not None:
            text = f"the server {server} has not answered a ping for {stale:.1f} s"
            return Health(HealthStatus.DEGRADED, text, {**details, "state": "stale"})
        known = "" if self._rtt is None else f", round trip {self._rtt * 1000:.2f} ms"
        return Health(
            HealthStatus.HEALTHY, f"connected to {server}{known}", {**details, "state": "connected"}
        )

    async def close(self) -> None:
        """Send what is left, as far as the server takes it, and release everything."""
        self._closed = True
        self.mux.close()
        self._connected.set()
        for task in (self._watcher, self._reviver, self._ping):
            if task is not None:
                task.cancel()
        client = self.client
        if client is None:
            return
        closing = asyncio.create_task(self._close(client))
        done, _ = await asyncio.wait({closing}, timeout=_CLOSE_WITHIN)
        if not done:
            client.abort()
            done, _ = await asyncio.wait({closing}, timeout=1.0)
            closing.cancel()
            await asyncio.wait({closing})

    async def _close(self, client: CatgaClient) -> None:
        await self.flush(_CLOSE_WITHIN / 2)
        with suppress(Exception):  # a socket that breaks while it is closed is as closed as any
            await client.close()

    # --- losing and finding it ---

    def _outage(self) -> str:
        since = self._lost_at
        ago = 0.0 if since is None else asyncio.get_running_loop().time() - since
        return f"reconnecting for {ago:.1f} s"

    def _note_lost(self) -> None:
        if self._lost_at is not None or self._closed:
            return
        self._lost_at = asyncio.get_running_loop().time()
        self._attempts = 0
        self._connected.clear()
        self._counters.connections_lost += 1
        self._forget_ping()
        logger().warning(CONNECTION_LOST, servers=self.shown)
        # "wait": an answer may still come over the next connection, so those who can wait do (docs/decisions).
        if self._options.while_disconnected == "fail":
            self.mux.fail_all(interrupted(self.shown))

    def _note_restored(self) -> None:
        since, self._lost_at = self._lost_at, None
        options = self._options
        self._settled_at = (
            asyncio.get_running_loop().time() + options.reconnect_wait + 2 * options.reconnect_jitter + 1
        )
        self._connected.set()
        if since is not None and self.client is not None:
            seconds = round(asyncio.get_running_loop().time() - since, 3)
            logger().info(CONNECTION_RESTORED, server=self.client.server_name, after_seconds=seconds)

    def _on_error(self, error: Exception) -> None:
        # One line tells that the connection was lost; each failed attempt after it would only repeat that.
        if self._lost_at is None and not isinstance(error, OSError):
            logger().warning(CONNECTION_ERROR, error=_describe(error))

    def _next_server(self, servers: list[Any], _: dict[str, Any]) -> tuple[Any, float]:
        """Choose where nats-py tries next, and after how many seconds."""
        count = len(servers)
        attempt, self._attempts = self._attempts, self._attempts + 1
        jitter = random.random() * self._options.reconnect_jitter  # noqa: S311  # spreads load, guards nothing
        # The first round tries every server soon; each round after it waits. nats-py would always take the first one.
        if attempt < count:
            wait = jitter * 0.1
        else:
            wait = (self._options.reconnect_wait if attempt % count == 0 else 0.0) + jitter
        return servers[attempt % count], wait

    async def _revive(self) -> None:
        """Open a new client in place of one that closed itself.

        nats-py closes for good on any error line of the server but two: credentials that expired, say, or a reload of
        the server's users. Such a state may be mended on the server at any time.
        """
        wait = self._options.reconnect_wait
        while not self._closed:
            await asyncio.sleep(wait + random.random() * self._options.reconnect_jitter)  # noqa: S311
            wait = max(wait, 0.1)
            try:
                self._arguments = await asyncio.to_thread(connect_arguments, self._options)
                client = await self._open()
            except (CatgaError, ConfigurationError):
                continue
            self.client = client
            for subscription in self._subscriptions:
                await subscription.attach(client)
            self._note_restored()
            return

    # --- a server that hangs ---

    def _stale_for(self) -> float | None:
        if self._ping_sent is None:
            return None
        age = asyncio.get_running_loop().time() - self._ping_sent
        return age if age > _STALE_AFTER else None

    def _forget_ping(self) -> None:
        if self._ping is not None:
            self._ping.cancel()
        self._ping = self._ping_sent = None

    async def _watch(self) -> None:
        interval = self._options.ping_interval
        loop = asyncio.get_running_loop()
        while True:
            client = self.client
            if client is not None and client.is_connected:
                ping = self._ping = asyncio.create_task(client.rtt(timeout=1 << 20))
                self._ping_sent = loop.time()
                await asyncio.wait({ping}, timeout=interval)
                if ping.done():
                    if not ping.cancelled() and ping.exception() is None:
                        self._rtt = ping.result()
                elif self._ping is ping:
                    self._counters.servers_hung += 1
                    logger().warning(
                        CONNECTION_ERROR,
                        error=f"no answer to a ping within {interval:g} s: leaving this server",
                    )
                    client.abort()
                if self._ping is ping:
                    self._forget_ping()
            await asyncio.sleep(interval)


class _Attempt:
    """What went wrong while a first connection is tried."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.refused = asyncio.Event()

    def note(self, error: Exception) -> None:
        """Keep an error; one that trying again cannot mend ends the attempt."""
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
        return True


async def _discard(client: CatgaClient, connecting: asyncio.Task[Any]) -> None:
    connecting.cancel()
    client.abort()
    with suppress(Exception):
        await asyncio.wait({connecting}, timeout=1.0)
    with suppress(Exception):
        async with asyncio.timeout(1.0):
            await client.close()


def _describe(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text.removeprefix("nats: ").strip("'")


# The words below are the NATS protocol's own; nats-py keeps nothing else of them.
def _is_auth(error: Exception) -> bool:
    text = str(error).lower()
    return "authorization violation" in text or "authentication" in text


def _is_unencrypted(error: Exception) -> bool:
    from nats.errors import SecureConnRequiredError

    return isinstance(error, SecureConnRequiredError)


def _is_final(error: Exception) -> bool:
    import ssl

    return _is_auth(error) or _is_unencrypted(error) or isinstance(error, ssl.SSLError)
