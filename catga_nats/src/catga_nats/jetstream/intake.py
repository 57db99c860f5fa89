"""`Intake`: the readers of the queues of this process, and the groups that it owns of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from catga_core.clock import SystemClock
from catga_core.errors import TransportError
from catga_core.interfaces.durable_transport import KeyFence, QueueDefinition
from catga_core.runtime import Worker
from catga_nats.connection import NatsConnection
from catga_nats.jetstream.attempts import Attempts
from catga_nats.jetstream.background import Background
from catga_nats.jetstream.consumers import ConsumerName, consumers_of
from catga_nats.jetstream.groups import Groups
from catga_nats.jetstream.held import HeldKeys
from catga_nats.jetstream.layout import Layout, consumer_name
from catga_nats.jetstream.options import JetStreamOptions
from catga_nats.jetstream.ownership import Ownership
from catga_nats.jetstream.publishing import Publishing
from catga_nats.jetstream.reader import Reader
from catga_nats.jetstream.received import JetMessage
from catga_nats.jetstream.settling import Settling
from catga_nats.jetstream.source import Source
from catga_nats.jetstream.state import Bucket

if TYPE_CHECKING:
    from catga_nats.client import CatgaClient


class Intake:
    """Receives the messages of the queues of this process.

    Args:
        connection: The connection.
        layout: The names.
        options: The options.
        bucket: Where processes agree.
        publishing: Publishes what is parked.
        missing: Called when the server does not know a stream or a consumer.
    """

    def __init__(
        self,
        connection: NatsConnection,
        layout: Layout,
        options: JetStreamOptions,
        bucket: Bucket,
        publishing: Publishing,
        missing: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._layout = layout
        self._options = options
        self._missing = missing
        self._readers: dict[str, Reader] = {}
        self._by_token: dict[str, Reader] = {}
        self._consumers: dict[tuple[str, int], ConsumerName] = {}
        self._background = Background()
        self.attempts: Attempts = Attempts(bucket)
        self.settling: Settling = Settling(connection, self.reader, self.attempts, self._background)
        self._ownership = Ownership(
            bucket, layout.groups, options.membership_seconds, self._take, self._leave, self._lose, missing
        )
        self._groups = Groups(
            connection,
            self.settling,
            self._background,
            lambda: self._ownership.until,
            self._fence,
        )
        self.held: HeldKeys = HeldKeys(
            connection,
            layout,
            bucket,
            publishing,
            self.settling,
            self._groups,
            self._background,
            options.membership_seconds / 3,
        )
        # Queues whose groups this process takes part in.
        self._taking: set[str] = set()
        self._keeper: Worker | None = None
        self._clock = SystemClock()
        connection.on_return.append(self._connected)

    def start(self) -> None:
        """Begin to renew leases."""
        self._ownership.start()
        self._groups.start()
        self.held.start()

    def reader(self, queue: str) -> Reader:
        """Return the reader of a declared queue.

        Raises:
            TransportError: It is not declared.
        """
        found = self._readers.get(queue)
        if found is None:
            text = f"the queue {queue} is not declared in this process. Declare it first."
            raise TransportError(text, retryable=False)
        return found

    def has(self, queue: str) -> bool:
        """Return whether a queue has a reader here."""
        return queue in self._readers

    @property
    def readers(self) -> Iterator[Reader]:
        """Every reader."""
        return iter(self._readers.values())

    async def open(self, queues: Sequence[QueueDefinition]) -> None:
        """Open readers for queues that are declared at the server.

        Messages with keys are taken from the first `receive` on: who only publishes must not own keys.

        Raises:
            CatgaError: The server does not answer.
        """
        new = [each for each in queues if each.name not in self._readers]
        missing = self._missing
        for queue in new:
            reader = Reader(
                queue,
                self._client,
                self._layout.name_in,
                self._give_back,
                self.settling.acknowledge_again,
                (self._options.max_buffered, self._options.max_buffered_bytes),
                missing,
            )
            token = consumer_name(queue.name)
            self._by_token[token] = reader
            for consumer in consumers_of(self._layout, queue):
                if consumer.ordered:
                    self._consumers[token, int(consumer.slot[1:])] = consumer
                else:
                    source = Source(queue.name, consumer, reader.on_message, reader.wake, missing)
                    reader.sources.append(source)
                    await self._connection.subscribe([source.subscription])
            self._readers[queue.name] = reader
        if new:
            await self._keep(min(each.definition.lease for each in self._readers.values()) / 3)

    async def receive(self, queue: str, limit: int, timeout: float) -> Sequence[JetMessage]:
        """Return messages of a queue, with the numbers of their attempts."""
        reader = self.reader(queue)
        if queue not in self._taking:
            await self._ownership.add([consumer_name(queue)])
            self._taking.add(queue)
        got = await reader.receive(limit, timeout)
        try:
            asked = await self.attempts.number(got)
        except BaseException:
            # Cancelled, or unanswered: the messages are another receiver's.
            self._give_back(got)
            raise
        if not asked:
            return got
        for each in got:
            if not reader.is_known(each):
                # Its lease ran out while the server was asked, so that it is delivered again.
                reader.given_back(each)
        return [each for each in got if not each.gone]

    async def stop(self) -> None:
        """Give back everything."""
        if self._keeper is not None:
            await self._keeper.stop(cancel=True)
        await self.held.stop()
        await self._groups.stop()
        for reader in self._readers.values():
            reader.receives = False
        # First, so that nothing that is given back comes here again.
        await self._groups.unsubscribe(
            [source for reader in self._readers.values() for source in reader.sources]
        )
        # Those that wait for another attempt have made theirs.
        for each in self.settling.stop():
            self.settling.give_back(each)
        for reader in self._readers.values():
            await self.settling.release(list(reader.held))
            for each in reader.held:
                # Another process may have it.
                reader.given_back(each)
        await self._ownership.stop()

    async def close(self) -> None:
        """End everything that runs, without the server: what `stop` has not given back waits for the end of its lease."""
        if self._keeper is not None:
            await self._keeper.stop(cancel=True)
        await self.held.stop()
        await self._groups.stop()
        await self._ownership.close()
        self.settling.stop()
        self._background.cancel()

    # --- groups ---

    async def _take(self, token: str, group: int) -> None:
        reader = self._by_token[token]
        await self.held.load(token, reader, group)
        await self._groups.open((token, group), reader, self._consumers[token, group], self.held.route)

    async def _leave(self, token: str, group: int) -> None:
        await self._groups.leave((token, group))

    def _lose(self, token: str, group: int) -> None:
        self._groups.lose((token, group))

    def _fence(self, place: tuple[str, int]) -> KeyFence:
        # With the bucket's name: another deployment has groups of its own.
        name = f"{self._layout.state_bucket}:{place[0]}-g{place[1]}"
        return KeyFence(name, lambda: self._ownership.confirm(*place))

    # --- inside ---

    def _client(self) -> CatgaClient | None:
        client = self._connection.client
        return client if client is not None and client.takes_more else None

    def _give_back(self, messages: Sequence[JetMessage]) -> None:
        if messages:
            self.settling.withdraw(messages)
            self._background.start(self.settling.give_withdrawn(messages))

    def _connected(self) -> None:
        for reader in self._readers.values():
            reader.connected()

    async def _keep(self, every: float) -> None:
        """Renew the leases of messages that wait here."""
        if self._keeper is not None:
            await self._keeper.stop(cancel=True)
        self._keeper = Worker("queue messages waiting", self._renew, every=every, clock=self._clock)
        self._keeper.start()

    async def _renew(self) -> None:
        now = asyncio.get_running_loop().time()
        for reader in self._readers.values():
            if reader.is_busy(now):
                reader.pause()
            self.settling.extend([each for each in reader.held if not each.given])
