"""`Declarations`: what this process needs at the server, declared again where it vanishes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from catga_core.clock import SystemClock
from catga_core.interfaces.durable_transport import QueueDefinition
from catga_core.log import JETSTREAM_DECLARED_AGAIN, logger
from catga_core.runtime import RetryPolicy, Worker
from catga_nats.connection import NatsConnection
from catga_nats.jetstream.agreement import agree_on_groups
from catga_nats.jetstream.background import log_unreachable
from catga_nats.jetstream.consumers import declare_consumers
from catga_nats.jetstream.layout import Layout
from catga_nats.jetstream.options import JetStreamOptions
from catga_nats.jetstream.schedules import declare_schedules
from catga_nats.jetstream.state import Bucket
from catga_nats.jetstream.streams import declare_streams, server_schedules, wanted_streams

_AT_MOST_EVERY = 1.0  # seconds
# A stream that is created while the server still removes the one of that name answers requests and takes no messages (2.15.1).
_REMOVED_WITHIN = 0.3


class Declarations:
    """Declares the streams, and the consumers of this process's queues.

    A server that lost its disk, or keeps its streams in memory, comes back without them; a tool may delete them. An event whose
    queue has no consumer is not kept, so that they are declared again as soon as they are missed.

    Args:
        connection: The connection.
        layout: The names.
        options: The options.
        state: Where processes agree.
        on_return: Called when nothing is missing any more.

    Attributes:
        server_schedules: Whether the server publishes commands whose time has come.
    """

    def __init__(
        self,
        connection: NatsConnection,
        layout: Layout,
        options: JetStreamOptions,
        state: Bucket,
        on_return: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._layout = layout
        self._options = options
        self._state = state
        self._on_return = on_return
        self._queues: dict[str, QueueDefinition] = {}
        self.server_schedules: bool = True
        self._turns = asyncio.Lock()
        retry = RetryPolicy(max_attempts=None, delay_seconds=_AT_MOST_EVERY, max_delay_seconds=15.0)
        self._worker = Worker(
            "jetstream declarations",
            self._again,
            every=None,
            clock=SystemClock(),
            first=False,
            retry=retry,
            on_error=log_unreachable,
        )

    async def prepare(self) -> None:
        """Declare the streams, and decide who publishes commands whose time has come.

        Raises:
            ConfigurationError: The server cannot keep them, or they exist with other settings.
            CatgaError: The connection fails.
            ApiError: JetStream refuses.
            NoJetStreamError: JetStream does not answer.
        """
        # Decided once: this process enqueues accordingly, also when it has to declare the streams again.
        self.server_schedules = await server_schedules(self._connection, self._layout, self._options)
        await self._declare_streams()

    def start(self) -> None:
        """Begin to declare again what vanishes."""
        self._worker.start()

    async def stop(self) -> None:
        """Declare nothing any more."""
        await self._worker.stop(cancel=True)

    def covers(self, queue: QueueDefinition) -> bool:
        """Return whether a queue is declared, with all messages that it takes."""
        known = self._queues.get(queue.name)
        return known is not None and {*queue.messages} <= {*known.messages}

    def __contains__(self, queue: str) -> bool:
        """Return whether a queue is declared."""
        return queue in self._queues

    @property
    def queues(self) -> list[QueueDefinition]:
        """The queues that are declared."""
        return list(self._queues.values())

    async def declare(self, queues: Sequence[QueueDefinition]) -> list[QueueDefinition]:
        """Declare the consumers of queues, and return the queues that have some; `add` keeps them declared.

        Raises:
            ConfigurationError: A consumer exists with other settings, or cannot be declared.
            CatgaError: The connection fails.
            ApiError: JetStream refuses.
            NoJetStreamError: JetStream does not answer.
        """
        async with self._turns:
            return (await declare_consumers(self._connection, self._layout, queues))[0]

    def add(self, queues: Sequence[QueueDefinition]) -> None:
        """Keep queues declared from here on."""
        self._queues.update({each.name: each for each in queues})

    def missing(self) -> None:
        """Declare again what is missing: the server does not know a stream or a consumer."""
        self._worker.wake()

    async def _declare_streams(self) -> tuple[list[str], list[str]]:
        """Declare the streams; return the streams and the consumers that were created."""
        wanted = wanted_streams(self._layout, self._options, server_schedules=self.server_schedules)
        streams, consumers = await declare_streams(self._connection, wanted), list[str]()
        if not self.server_schedules:
            consumers = await declare_schedules(self._connection, self._layout, self._options)
        await agree_on_groups(self._state, self._options.order_groups)
        return streams, consumers

    async def _again(self) -> None:
        await asyncio.sleep(_REMOVED_WITHIN)
        async with self._turns:
            streams, consumers = await self._declare_streams()
            consumers += (await declare_consumers(self._connection, self._layout, self.queues))[1]
        if streams or consumers:
            logger().error(
                JETSTREAM_DECLARED_AGAIN,
                streams=streams,
                consumers=len(consumers),
                hint="They were missing while this process ran. What was in the streams is lost; find out what removed them.",
            )
        # Another process may have declared them again.
        self._on_return()
        await asyncio.sleep(_AT_MOST_EVERY)
