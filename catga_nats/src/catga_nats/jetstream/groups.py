"""`Groups`: the consumers of keys that this process owns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from catga_core.clock import SystemClock
from catga_core.interfaces.durable_transport import KeyFence
from catga_core.runtime import RetryPolicy, Worker
from catga_nats.connection import NatsConnection
from catga_nats.jetstream.api import ApiError, NoJetStreamError, call
from catga_nats.jetstream.background import Background, log_unreachable
from catga_nats.jetstream.consumers import ConsumerName
from catga_nats.jetstream.group import Group
from catga_nats.jetstream.reader import Reader
from catga_nats.jetstream.received import JetMessage
from catga_nats.jetstream.settling import Settling
from catga_nats.jetstream.source import Source
from catga_nats.jetstream.state import failed, unanswered

_LOOK_SECONDS = 0.25


class Groups:
    """Opens and closes the consumers of groups, and asks the server what of them is still to come.

    Args:
        connection: The connection.
        settling: Gives messages back.
        background: Runs background tasks.
        owned_until: Returns the loop's time until which all groups are surely this process's.
        fence_of: Returns a new fence for a group.
    """

    def __init__(
        self,
        connection: NatsConnection,
        settling: Settling,
        background: Background,
        owned_until: Callable[[], float],
        fence_of: Callable[[tuple[str, int]], KeyFence],
    ) -> None:
        self._connection = connection
        self._settling = settling
        self._background = background
        self._owned_until = owned_until
        self._sources: dict[tuple[str, int], list[tuple[Reader, Source]]] = {}
        self._fence_of = fence_of
        # One for each time that this process owns a group.
        self._fences: dict[tuple[str, int], KeyFence] = {}
        self._worker = Worker(
            "queue messages awaited",
            self._look,
            every=None,
            clock=SystemClock(),
            first=False,
            retry=RetryPolicy(max_attempts=None, delay_seconds=_LOOK_SECONDS, max_delay_seconds=5.0),
            on_error=log_unreachable,
        )

    def start(self) -> None:
        """Begin to look."""
        self._worker.start()

    async def stop(self) -> None:
        """Look no more."""
        await self._worker.stop(cancel=True)

    def owns(self, token: str, group: int) -> bool:
        """Return whether this process takes messages of a group of a queue."""
        return (token, group) in self._sources

    async def open(
        self,
        place: tuple[str, int],
        reader: Reader,
        consumer: ConsumerName,
        give: Callable[[JetMessage], None],
    ) -> Source:
        """Take the messages of a consumer.

        Args:
            place: The queue's word in names, and the group.
            reader: The queue's reader.
            consumer: The consumer.
            give: Hands out a message whose turn it is.

        Raises:
            CatgaError: The server does not answer.
        """
        source = Source(reader.definition.name, consumer, reader.on_message, reader.wake, reader.missing)
        try:
            await self._connection.subscribe([source.subscription])
            info = await self._info(consumer)
        except BaseException:
            self._background.start(self._connection.unsubscribe(source.subscription))
            raise
        fence = self._fences.get(place)
        if fence is None:
            fence = self._fences[place] = self._fence_of(place)
        group = Group(
            give,
            left=info["num_ack_pending"],
            last=info["delivered"]["stream_seq"],
            number=info["delivered"]["consumer_seq"],
            within=reader.definition.lease,
            owned_until=self._owned_until,
            on_pause=self._worker.wake,
            fence=fence,
        )
        self._sources.setdefault(place, []).append((reader, source))
        reader.own(source, group)
        return source

    async def leave(self, place: tuple[str, int]) -> None:
        """Take nothing more of a group; return when the application has settled what it has, or its leases have run out."""
        opened = self._sources.get(place, [])
        withdrawn = [each for reader, source in opened for each in self._withdraw(reader, source)]
        # The server drops a request whose inbox has no subscriber.
        await self.unsubscribe([source for _, source in opened])
        # What has arrived meanwhile.
        withdrawn += [each for reader, source in opened for each in self._withdraw(reader, source)]
        for _, source in opened:
            self._settling.end_waiting(source)
        await self._settling.give_withdrawn(withdrawn)
        for reader, source in opened:
            await reader.emptied(source)
        self.lose(place)

    def lose(self, place: tuple[str, int]) -> None:
        """Forget a group that another process may own."""
        self._fences.pop(place, None)
        for reader, source in self._sources.pop(place, ()):
            self._forget(reader, source)

    def close(self, place: tuple[str, int], source: Source) -> None:
        """Forget one consumer of a group."""
        for each in self._sources.get(place, ()):
            if each[1] is source:
                self._sources[place].remove(each)
                self._forget(*each)
                return

    async def unsubscribe(self, sources: Sequence[Source]) -> None:
        """Return when the server delivers nothing more of some consumers."""
        await asyncio.gather(*(self._connection.unsubscribe(each.subscription) for each in sources))

    def _withdraw(self, reader: Reader, source: Source) -> list[JetMessage]:
        """Take from a source nothing more, and out of it what was never handed out."""
        found = [each for each in reader.disown(source) if not self._settling.waits(each)]
        self._settling.withdraw(found)
        return found

    async def _look(self) -> None:
        """Ask until nothing is awaited any more."""
        while True:
            opened = [each for some in self._sources.values() for each in some]
            waiting = [
                (reader, source)
                for reader, source in opened
                if (group := reader.groups.get(source)) is not None and group.lanes.paused
            ]
            if not waiting:
                return
            await asyncio.gather(*(self._compare(*each) for each in waiting))
            if await self._worker.wait(timeout=_LOOK_SECONDS) and self._worker.stopping:
                return

    async def _compare(self, reader: Reader, source: Source) -> None:
        info = await self._info(source.consumer)
        group, here = reader.groups.get(source), reader.unsettled(source)
        if group is not None and here is not None and group.lanes.paused:
            delivered = info["delivered"]["consumer_seq"]
            group.compare(
                unsettled=info["num_ack_pending"],
                pending=info["num_pending"],
                number=delivered,
                here=here,
                shared=reader.has_redelivered(source),
            )
            reader.wake()

    async def _info(self, consumer: ConsumerName) -> dict[str, Any]:
        try:
            return await call(self._connection, f"CONSUMER.INFO.{consumer.stream}.{consumer.name}")
        except ApiError as error:
            raise failed(error) from error
        except NoJetStreamError as error:
            raise unanswered() from error

    def _forget(self, reader: Reader, source: Source) -> None:
        source.close()
        for each in reader.lose(source):
            self._settling.drop(each)
        self._background.start(self._connection.unsubscribe(source.subscription))
