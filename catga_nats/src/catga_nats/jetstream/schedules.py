"""Commands for a later time wait in the stream itself, until the server or a process publishes them to their queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Any

from catga_core.clock import Clock, SystemClock
from catga_core.errors import CatgaError, ConfigurationError
from catga_core.runtime import RetryPolicy, Worker, background_task
from catga_nats.connection import NatsConnection
from catga_nats.jetstream import wire
from catga_nats.jetstream.api import call
from catga_nats.jetstream.background import log_unreachable
from catga_nats.jetstream.consumers import ConsumerName
from catga_nats.jetstream.layout import Layout
from catga_nats.jetstream.options import JetStreamOptions
from catga_nats.jetstream.publishing import Publishing
from catga_nats.jetstream.received import Delivery
from catga_nats.jetstream.source import Source
from catga_nats.jetstream.streams import consumer_config, differences, nanoseconds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AT_ONCE = 256  # publishes under way
_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 1.0
_LONGEST_DELAY = 3600.0
_LEASE = 30.0


def schedule_headers(target: bytes, due_at: float) -> dict[str, str]:
    """Return the headers that have the server publish a message later.

    Args:
        target: The subject to publish it to.
        due_at: When, seconds since the Unix epoch.
    """
    # Rounded up: it must not come before its time.
    at = _EPOCH + timedelta(microseconds=ceil(Fraction(due_at) * 1_000_000))
    text = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {"Nats-Schedule": f"@at {text}", "Nats-Schedule-Target": target.decode()}


def schedules_consumer(layout: Layout) -> ConsumerName:
    """Return the consumer of the commands that wait for their time."""
    return ConsumerName(layout.commands_stream, "schedules", "any")


async def declare_schedules(
    connection: NatsConnection, layout: Layout, options: JetStreamOptions
) -> list[str]:
    """Create the consumer of the commands that wait for their time, where there is none.

    Args:
        connection: The connection.
        layout: The names.
        options: The options.

    Returns:
        The consumers that were created.

    Raises:
        ConfigurationError: It exists with other settings.
        CatgaError: The connection fails.
        ApiError: JetStream refuses.
        NoJetStreamError: JetStream does not answer.
    """
    consumer = schedules_consumer(layout)
    config: dict[str, Any] = {
        "name": consumer.name,
        "durable_name": consumer.name,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        # One that is published twice is known by its id, which the server forgets after the window.
        "ack_wait": nanoseconds(min(_LEASE, options.duplicate_window_seconds / 3)),
        "max_deliver": -1,
        "max_ack_pending": -1,
        "filter_subject": f"{layout.schedules}.>",
    }
    found = await consumer_config(connection, consumer.stream, consumer.name)
    if found is None:
        body = {"stream_name": consumer.stream, "config": config}
        await call(connection, f"CONSUMER.CREATE.{consumer.stream}.{consumer.name}", body)
        return [consumer.name]
    if problems := differences(f"the consumer {consumer.name} of scheduled commands", config, found):
        raise ConfigurationError(problems)
    return []


class OwnSchedules:
    """Publishes commands whose time has come, for a server without schedules.

    Each command waits in the stream. The server hands it to some process, which gives it back until its time, and then publishes it
    under an id of its own and removes it: after a crash between the two it is published again, and known by that id.

    Args:
        connection: The connection.
        layout: The names.
        publishing: Publishes to the queues.
        clock: The container's clock.
        missing: Called when the server does not know the consumer.
    """

    def __init__(
        self,
        connection: NatsConnection,
        layout: Layout,
        publishing: Publishing,
        clock: Clock,
        missing: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._layout = layout
        self._publishing = publishing
        self._clock = clock
        self._under_way: set[asyncio.Task[None]] = set()
        self._starting: asyncio.Task[None] | None = None
        self._running = False
        self._source = Source("", schedules_consumer(layout), self._on_message, self._wake, missing)
        retry = RetryPolicy(max_attempts=None, delay_seconds=_AGAIN_SECONDS, max_delay_seconds=15.0)
        self._worker = Worker(
            "jetstream schedules",
            self._turn,
            every=_LOOK_SECONDS,
            clock=SystemClock(),
            retry=retry,
            on_error=log_unreachable,
        )
        connection.on_return.append(self._connected)

    async def start(self) -> None:
        """Begin, once.

        Raises:
            CatgaError: The server does not answer.
        """
        if self._running:
            return
        starting = self._starting = self._starting or background_task(self._start())
        try:
            await asyncio.shield(starting)
        except CatgaError:
            # The next caller tries again; several may have waited for this one.
            if self._starting is starting:
                self._starting = None
            raise

    async def stop(self) -> None:
        """Take nothing more, and finish what is being published."""
        if not self._running:
            return
        await self._worker.stop(cancel=True)
        await self._connection.unsubscribe(self._source.subscription)
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def close(self) -> None:
        """End everything that runs: what was not published is handed to another process after its lease."""
        await self._worker.stop(cancel=True)
        for each in tuple(self._under_way):
            each.cancel()

    async def _start(self) -> None:
        await self._connection.subscribe([self._source.subscription])
        self._worker.start()
        self._running = True

    async def _turn(self) -> None:
        client = self._connection.client
        source, now = self._source, asyncio.get_running_loop().time()
        source.check(now)
        wanted = _AT_ONCE - len(self._under_way) - source.outstanding
        # Requested in batches, so that a request is not sent for every single command.
        if client is not None and client.takes_more and source.may_pull(now) and wanted >= _AT_ONCE // 2:
            source.pull(client, wanted)

    def _on_message(
        self,
        source: Source,
        delivery: Delivery,
        subject: bytes,
        reply: bytes,
        data: bytes,
        headers: Mapping[str, str] | None,
    ) -> None:
        shown = subject.decode(errors="replace")
        place = f"{source.consumer.stream}:{delivery.sequence}"
        known = headers or {}
        message = wire.decode(known, data, name=self._layout.name_in(shown), place=place)
        left = message.due_at - self._clock.time()
        if left > 0:
            self._give_back(reply, min(left, _LONGEST_DELAY))
            self._wake()
            return
        target = self._layout.command(message.name, message.key, message.priority, message.context.message_id)
        sent = {key: value for key, value in known.items() if not key.startswith("Nats-")}
        sent[wire.MESSAGE_ID] = f"{known.get(wire.MESSAGE_ID, place)}:due"
        task = background_task(self._publish(target, data, sent, message.name, reply))
        self._under_way.add(task)
        task.add_done_callback(self._ended)

    async def _publish(
        self, target: bytes, data: bytes, headers: dict[str, str], name: str, reply: bytes
    ) -> None:
        try:
            await self._publishing.publish(target, data, headers, name)
        except CatgaError:
            self._give_back(reply, _AGAIN_SECONDS)
        else:
            self._send(reply, b"+ACK")

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._wake()

    def _give_back(self, reply: bytes, delay: float) -> None:
        # Rounded up: an early one would only be given back again.
        self._send(reply, b'-NAK {"delay":%d}' % ceil(delay * 1e9))

    def _send(self, reply: bytes, word: bytes) -> None:
        client = self._connection.client
        if client is not None and client.takes_more:
            client.send(reply, b"", word, None)

    def _wake(self) -> None:
        if self._source.outstanding + len(self._under_way) <= _AT_ONCE // 2:
            self._worker.wake()

    def _connected(self) -> None:
        self._source.forget()
        self._worker.wake()
