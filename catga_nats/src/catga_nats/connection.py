"""One connection to NATS that fails fast at the start and comes back by itself for ever after."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from catga_core.clock import SystemClock
from catga_core.errors import CatgaError, ConfigurationError, Outcome, TransportError
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.log import CONNECTION_ERROR, CONNECTION_LOST, CONNECTION_RESTORED, STOP_FAILED, logger
from catga_core.runtime import Worker, background_task
from catga_nats.counters import Counters
from catga_nats.failures import closed, interrupted, stream_interrupted
from catga_nats.mux import RequestMux
from catga_nats.opening import BACKLOG, describe, discard, open_client, reopening
from catga_nats.options import NatsOptions
from catga_nats.permissions import Permissions
from catga_nats.pulse import Pulse
from catga_nats.room import Room
from catga_nats.subscription import Subscription
from catga_nats.subscriptions import Subscriptions, round_trip

if TYPE_CHECKING:
    from catga_nats.client import CatgaClient

_ANSWERS = 8 * BACKLOG  # bytes that may wait to be written before responses wait too
_DEFAULT_LIMIT = 1024 * 1024  # NATS' own, until a server has sent its limit
_SETTLED_WITHIN = 5.0  # seconds after an outage after which "no responders" is believed
_CLOSE_WITHIN = 2.0
_CUT_WITHIN = 1.0  # seconds for it to end after that, and once more after its cancellation
_REAL_TIME = SystemClock()


class NatsConnection:
    """Keeps one nats-py client connected, and a new one in its place should it ever give up.

    Args:
        options: Where and how.
        counters: Where to count losses.
    """

    def __init__(self, options: NatsOptions, counters: Counters) -> None:
        self.client: CatgaClient | None = None
        self._options = options
        self._counters = counters
        self.mux: RequestMux = RequestMux(counters)
        self.permissions: Permissions = Permissions(options.subject_prefix, self.mux, counters)
        # Bytes of the largest message that may be sent; kept here because it is asked for with each message.
        self.payload_limit: int = _DEFAULT_LIMIT
        # Called when another connection was found: what was requested on the former one will not come.
        self.on_return: list[Callable[[], None]] = []
        self._subscriptions = Subscriptions(self.permissions, counters)
        # Where senders wait until they may look again.
        self._room = Room()
        self._closed = False
        self._lost_at: float | None = None
        self._settled_at = float("-inf")
        self._attempts = 0
        self._pulse = Pulse(options.ping_interval, self._room.wake)
        self._watch = Worker("nats pulse", self._beat, every=options.ping_interval, clock=_REAL_TIME)
        self._reopening = reopening(options)
        self._reviver = Worker(
            "nats reconnection",
            self._revive,
            every=None,
            clock=_REAL_TIME,
            first=False,
            retry=self._reopening,
        )

    @property
    def shown(self) -> str:
        """The servers, without credentials."""
        return ", ".join(self._options.server_urls)

    async def start(self) -> None:
        """Return when a server has taken us.

        Raises:
            ConfigurationError: For files that cannot be read.
            CatgaError: `TRANSPORT_FAILED`, with the servers, the cause and the fix, or without permission to subscribe to
                the answers of requests.
        """
        self.client = await open_client(self._options, self)
        self._reviver.start()
        self._read_limit(self.client)
        await self.subscribe([self.mux.subscription])
        self._watch.start()

    # --- while it runs ---

    @property
    def settling(self) -> bool:
        """Whether the connection came back so lately that other processes may not have found theirs yet."""
        # nats-py says it is connected a little before it tells us that it has returned.
        return self._lost_at is not None or time.monotonic() < self._settled_at

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Subscribe on this connection and on whatever connection comes after it.

        Args:
            subscriptions: What to subscribe to; the servers know of it when this returns.

        Raises:
            CatgaError: `TRANSPORT_FAILED`: the server refuses one of them.
        """
        assert self.client is not None  # noqa: S101  # only called after start
        await self._subscriptions.add(self.client, subscriptions)

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Return when the servers send nothing more for a subscription, as far as they answer."""
        self._subscriptions.remove(subscription)
        await subscription.drain()
        await self.flush()

    async def flush(self, timeout: float = 5.0) -> bool:
        """Return when the server has read everything sent so far, or the time is over.

        Args:
            timeout: Seconds.

        Returns:
            Whether the server has read everything.
        """
        return await round_trip(self.client, timeout)

    async def ready(self, size: int, timeout: float) -> CatgaClient:
        """Return the client when it can take a message.

        Args:
            size: The message's bytes.
            timeout: Seconds the message may wait.

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
                raise TransportError(
                    f"the NATS connection is {state}: send between start and stop", outcome=Outcome.NOT_SENT
                )
            left = until - loop.time()
            if client.is_connected:
                if client.pending_data_size <= BACKLOG:
                    return client
                if left <= 0 or (self._pulse.stale_for is not None and not waits):
                    raise TransportError(
                        f"the NATS server at {self.shown} does not read what is sent to it: try again later",
                        outcome=Outcome.NOT_SENT,
                    )
                # A hung server is seen by its pings.
                await self._room.wait(client, size, left)
                continue
            if not waits or left <= 0:
                raise TransportError(
                    f"no connection to NATS at {self.shown} ({self._outage()})", outcome=Outcome.NOT_SENT
                )
            await self._room.wait(None, size, left)

    def has_room(self, client: CatgaClient, size: int, *, small: bool = False) -> bool:
        """Return whether a response fits into what may wait to be written.

        While it reconnects, what is sent stays in nats-py's buffer and is written to the next connection.

        Args:
            client: The client to send it with.
            size: The response's bytes.
            small: Whether it may take the room that is kept for failures.
        """
        if client.is_closed:
            return False
        unsent = client.pending_data_size
        # One that is larger than the whole buffer is sent alone.
        return unsent + size <= (2 * _ANSWERS if small else _ANSWERS) or not unsent

    async def room(self, size: int, timeout: float) -> bool:
        """Return when a response fits into what may wait to be written.

        Args:
            size: The response's bytes.
            timeout: Seconds to wait.

        Returns:
            Whether it fits.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while not self._closed:
            client = self.client
            if client is not None and self.has_room(client, size):
                return True
            left = until - loop.time()
            if left <= 0:
                break
            connected = client is not None and client.is_connected
            await self._room.wait(client if connected else None, size, left)
        return False

    def health(self) -> Health:
        """Return the state as it is now."""
        client = self.client
        details: dict[str, Any] = {
            "servers": list(self._options.server_urls),
            **self._counters.details(),
            "servers_hung": self._pulse.left,
            "requests_waiting": self.mux.pending,
            "streams_open": len(self.mux.channels),
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
        trip = self._pulse.round_trip
        details |= {"server": server, "rtt_ms": None if trip is None else round(trip * 1000, 3)}
        stale = self._pulse.stale_for
        if stale is not None:
            text = f"the server {server} has not answered a ping for {stale:.1f} s"
            return Health(HealthStatus.DEGRADED, text, {**details, "state": "stale"})
        problem = self.permissions.problem
        if problem is not None:
            details |= {"state": "denied", "denied": self.permissions.named}
            return Health(HealthStatus.DEGRADED, problem, details)
        known = "" if trip is None else f", round trip {trip * 1000:.2f} ms"
        return Health(
            HealthStatus.HEALTHY, f"connected to {server}{known}", {**details, "state": "connected"}
        )

    async def close(self, within: float | None = None) -> None:
        """Send what is left, as far as the server takes it, and release everything.

        Args:
            within: Seconds for the last bytes; then the connection is cut. `None` gives it 2.
        """
        within = _CLOSE_WITHIN if within is None else within
        self._closed = True
        self.mux.close()
        self._room.wake()
        try:
            await self._watch.stop(cancel=True)
            await self._reviver.stop(cancel=True)
            self._pulse.forget()
            if self.client is not None:
                await self._close(self.client, within)
        finally:
            # No response arrives any more, and no timer ends the wait for one.
            self.mux.fail_all(closed(self.shown))

    def abandon(self) -> None:
        """Give up the connection without waiting: its event loop is closed, or another one runs it."""
        self._closed = True
        if self.client is not None:
            self.client.abandon()

    async def _close(self, client: CatgaClient, within: float) -> None:
        closing = background_task(self._part(client, within))
        done, _ = await asyncio.wait({closing}, timeout=within)
        if not done:
            client.abort()
            done, _ = await asyncio.wait({closing}, timeout=_CUT_WITHIN)
        if not done:
            closing.cancel()
            done, _ = await asyncio.wait({closing}, timeout=_CUT_WITHIN)
        if not done:
            logger().error(STOP_FAILED, reason="the NATS client does not close", left=1)

    async def _part(self, client: CatgaClient, within: float) -> None:
        await self.flush(within / 2)
        with suppress(Exception):  # a socket that breaks while it is closed is as closed as any
            await client.close()

    # --- losing and finding it ---

    def _outage(self) -> str:
        ago = 0.0 if self._lost_at is None else time.monotonic() - self._lost_at
        return f"reconnecting for {ago:.1f} s"

    def on_lost(self, client: CatgaClient) -> None:
        """Note an outage, once, and end what waits for an answer where the options say so."""
        if self.client is not client or self._lost_at is not None or self._closed:
            return
        self._lost_at = time.monotonic()
        self._attempts = 0
        self.permissions.reset()
        self._room.wake()
        self._counters.connections_lost += 1
        self._pulse.forget()
        logger().warning(CONNECTION_LOST, servers=self.shown)
        # "wait": an answer may still come over the next connection, so those who can wait do (docs/decisions).
        # Frames of a stream may be lost, whatever the options say.
        self.mux.channels.fail_all(stream_interrupted(self.shown))
        if self._options.while_disconnected == "fail":
            self.mux.fail_all(interrupted(self.shown))

    def on_restored(self, client: CatgaClient) -> None:
        """Note the end of an outage."""
        if self.client is not client:
            return
        self._read_limit(client)
        options = self._options
        others_need = options.reconnect_wait + 2 * options.reconnect_jitter + 1.0
        self._settled_at = time.monotonic() + min(others_need, _SETTLED_WITHIN)
        self._room.wake()
        if self._lost_at is not None:
            seconds = round(time.monotonic() - self._lost_at, 3)
            logger().info(CONNECTION_RESTORED, server=client.server_name, after_seconds=seconds)
        self._lost_at = None
        for callback in self.on_return:
            callback()

    def on_refusal(self, text: str) -> None:
        """Note that the server refuses a message or a subscription."""
        self.permissions.on_refusal(text)

    def on_error(self, client: CatgaClient, error: Exception) -> None:
        """Log what is more than the outage that is logged already."""
        if self.client is client and self._lost_at is None and not isinstance(error, OSError):
            logger().warning(CONNECTION_ERROR, error=describe(error))

    def on_closed(self, client: CatgaClient) -> None:
        """Begin to look for another client, unless we closed this one."""
        if self.client is client and not self._closed:
            self._reviver.wake()
            self.on_lost(client)

    def next_server(self, servers: list[Any], info: dict[str, Any]) -> tuple[Any, float]:  # noqa: ARG002
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

    def _read_limit(self, client: CatgaClient) -> None:
        own = self._options.max_payload
        self.payload_limit = client.max_payload if own is None else min(own, client.max_payload)

    async def _revive(self) -> None:
        """Open a new client in place of one that closed itself.

        nats-py closes for good on any error line of the server but two: credentials that expired, say, or a reload of
        the server's users. Such a state may be mended on the server at any time.
        """
        await self._reopening.run(
            self._reopen,
            retryable=lambda error: isinstance(error, CatgaError | ConfigurationError),
            clock=_REAL_TIME,
            failed=interrupted(self.shown),
        )

    async def _reopen(self) -> None:
        client = await open_client(self._options, self)
        try:
            await self._subscriptions.attach(client)
        except asyncio.CancelledError:
            await discard(client)
            raise
        except Exception as error:
            await discard(client)
            logger().warning(CONNECTION_ERROR, error=describe(error))
            raise interrupted(self.shown) from error
        self.client = client
        # Lost since it was opened, it reports its return itself; closed, it never will.
        if client.is_connected:
            self.on_restored(client)
        if client.is_closed:
            raise interrupted(self.shown)

    async def _beat(self) -> None:
        client = self.client
        if client is not None and client.is_connected:
            await self._subscriptions.retry_denied(client)
            await self._pulse.beat(client)
