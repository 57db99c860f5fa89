"""`Reader`: the messages of one queue in this process, from their arrival until they are settled."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from catga_core.interfaces.durable_transport import QueueDefinition
from catga_core.messages.delivery import Priority
from catga_nats.jetstream import wire
from catga_nats.jetstream.group import Group
from catga_nats.jetstream.received import Delivery, JetMessage
from catga_nats.jetstream.source import Source

if TYPE_CHECKING:
    from catga_nats.client import CatgaClient

_LOOK_AGAIN = 1.0  # seconds after which a waiting receiver looks for requests that were lost
_LATER = 0.01  # seconds after the end of a lease at which it is surely seen to be over
_KNOWN = 10_000  # settled messages that are remembered, for a delivery that was under way
SAFE = 0.9
"""The part of a lease within which a message is surely this process's: the server counts from before it arrives."""


class Reader:
    """Requests, keeps and hands out the messages of one queue.

    Args:
        definition: The queue.
        client: Returns the connected client, `None` while there is none.
        name_in: Returns the wire name in a subject.
        give_back: Gives messages back that the application has not seen, and forgets them.
        done_again: Called with a message that was delivered again although it is settled.
        max_buffered: How many messages may wait behind earlier ones of their keys, and how many bytes may be here for that.
        missing: Called when the server does not know a consumer.
    """

    def __init__(
        self,
        definition: QueueDefinition,
        client: Callable[[], CatgaClient | None],
        name_in: Callable[[str], str],
        give_back: Callable[[Sequence[JetMessage]], None],
        done_again: Callable[[JetMessage], None],
        max_buffered: tuple[int, int],
        missing: Callable[[], None],
    ) -> None:
        self.definition: QueueDefinition = definition
        self.missing: Callable[[], None] = missing
        self.sources: list[Source] = []
        self.groups: dict[Source, Group] = {}
        self._client = client
        self._name_in = name_in
        self._give_back = give_back
        self._done_again = done_again
        self._max_buffered, self._max_bytes = max_buffered
        self._bytes = 0
        self._ready: dict[Priority, deque[JetMessage]] = {each: deque() for each in Priority}
        self._held: dict[tuple[Source, int], JetMessage] = {}
        # With their ids: a server that lost its last messages counts on from an earlier place.
        self._settled: dict[tuple[str, int], str] = {}
        self._waiter: asyncio.Future[None] | None = None
        # Set when a message is forgotten, where somebody waits for that.
        self._forgotten: asyncio.Future[None] | None = None
        self.receives: bool = False
        self._receiving = False
        self._received_at = 0.0

    # --- handing out ---

    async def receive(self, limit: int, timeout: float) -> list[JetMessage]:
        """Return messages; none after the timeout. If the caller is cancelled, none is handed out.

        Args:
            limit: How many at most.
            timeout: Seconds.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        self.receives = self._receiving = True
        try:
            while True:
                taken = self._take(limit)
                self._pump(limit - len(taken))
                left = until - loop.time()
                if taken or left <= 0:
                    return taken
                waiter = self._waiter = loop.create_future()
                await asyncio.wait([waiter], timeout=min(left, _LOOK_AGAIN))
                self._waiter = None
        except asyncio.CancelledError:
            self.pause()
            raise
        finally:
            self._receiving = False
            self._received_at = loop.time()

    def pause(self) -> None:
        """Let other processes have what waits here; messages with keys are this process's alone, and stay."""
        self.receives = False
        self._give_back([each for each in self.held if not each.given and not each.source.ordered])

    def is_busy(self, now: float) -> bool:
        """Return whether no receiver has asked for messages for a third of the lease: all handlers are busy."""
        return self.receives and not self._receiving and now > self._received_at + self.definition.lease / 3

    def _take(self, limit: int) -> list[JetMessage]:
        taken: list[JetMessage] = []
        for waiting in self._ready.values():
            while waiting and len(taken) < limit:
                message = waiting.popleft()
                if message.gone:
                    continue
                if not self.is_known(message):
                    # This process stood still: another one may have it, and the server delivers it again.
                    self._forget(message)
                    continue
                message.given = True
                taken.append(message)
        return taken

    def _pump(self, free: int) -> None:
        client = self._client()
        if client is None or not self.receives:
            return
        now = asyncio.get_running_loop().time()
        wanted = free - sum(len(each) for each in self._ready.values())
        for source in self.sources:
            source.check(now)
            wanted -= max(0, source.outstanding - 1)
        room = self._max_buffered - sum(each.lanes.size for each in self.groups.values())
        if self._bytes >= self._max_bytes:
            room = 0
        # What was requested takes room too; but each group may request one, so that none waits for another's slow key.
        spare = room - sum(each.outstanding for each in self.groups)
        for source in self.sources:
            group = self.groups.get(source)
            if group is not None and not group.takes_more(room):
                continue
            if not source.may_pull(now):
                continue
            count = self._count(source, 0 if group is None else group.awaited, wanted)
            if group is not None and not group.awaited:
                count = min(count, spare if source.outstanding else max(1, spare))
                spare -= count
            if count > 0:
                source.pull(client, count)
                wanted -= count
        # What did not fit into this round comes in the next one.

    def _count(self, source: Source, awaited: int, wanted: int) -> int:
        """Return how many messages to request of a source."""
        if awaited > source.outstanding:
            # The server does not tell how many it delivers again, only how many are new.
            return awaited - source.outstanding
        if not source.outstanding:
            # One request always waits at the server, so that a message comes at once.
            return max(1, min(wanted, source.pending))
        if wanted >= self.definition.concurrency // 2:
            # Not for each free slot, so that a request is not sent for every single message.
            return min(wanted, source.pending)
        return 0

    @property
    def refused(self) -> str | None:
        """Why the server serves no messages of a consumer; `None` where it serves all."""
        return next((f"{each.consumer.name}: {each.refused}" for each in self.sources if each.refused), None)

    # --- what comes from the server ---

    def on_message(
        self,
        source: Source,
        delivery: Delivery,
        subject: bytes,
        reply: bytes,
        data: bytes,
        headers: Mapping[str, str] | None,
    ) -> None:
        """Take a message of a source."""
        shown = subject.decode(errors="replace")
        place = f"{source.consumer.stream}:{delivery.sequence}"
        read = wire.decode(headers, data, name=self._name_in(shown), place=place)
        message = JetMessage(source, read, delivery, reply)
        message.expires_at = asyncio.get_running_loop().time() + SAFE * self.definition.lease
        group = message.group = self.groups.get(source)
        if group is not None:
            group.delivered(delivery)
        message_id = read.context.message_id
        if self._settled.get((source.consumer.name, delivery.sequence)) == message_id:
            self._done_again(message)
            return
        known = self._held.get((source, delivery.sequence))
        if known is not None and known.message.context.message_id != message_id:
            # The server has lost that one.
            self._forget(known)
            if group is not None:
                group.ended(known)
            known = None
        if known is not None and not (known.given and known.is_abandoned):
            # Delivered again while it is here: a renewal was lost, and this process goes on with it.
            known.reply, known.count, known.expires_at = reply, delivery.count, message.expires_at
            return
        if known is not None:
            self._forget(known)
        if group is None and (source.ordered or not self.receives):
            self._give_back([message])
            return
        self._held[source, delivery.sequence] = message
        self._bytes += len(message.message.data)
        if group is None:
            self.give(message)
        else:
            group.add(message)
            if group.awaited > source.outstanding:
                self.wake()

    def give(self, message: JetMessage) -> None:
        """Hand a message to the next one who receives."""
        self._ready[message.message.priority].append(message)
        self.wake()

    def wake(self) -> None:
        """Let the one who waits look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def connected(self) -> None:
        """Request messages again: what was requested was lost with the former connection."""
        for source in self.sources:
            source.forget()
        self.wake()

    # --- the groups that this process owns ---

    def own(self, source: Source, group: Group) -> None:
        """Take messages with keys from a source."""
        self.sources.append(source)
        self.groups[source] = group
        self.wake()

    def disown(self, source: Source) -> list[JetMessage]:
        """Take nothing more from a source; return its messages that the application does not have."""
        if source in self.sources:
            self.sources.remove(source)
        return [each for each in self.held if each.source is source and not each.given]

    def lose(self, source: Source) -> list[JetMessage]:
        """Forget everything of a source; return its messages."""
        self.disown(source)
        self.groups.pop(source, None)
        lost = [each for each in self.held if each.source is source]
        for each in lost:
            self._forget(each)
        return lost

    async def emptied(self, source: Source) -> None:
        """Return when the application has settled all messages of a source, except those that it has abandoned."""
        loop = asyncio.get_running_loop()
        while True:
            left = [each for each in self._held.values() if each.source is source and not each.is_abandoned]
            if not left:
                return
            forgotten = self._forgotten = self._forgotten or loop.create_future()
            ends = min(each.expires_at for each in left)
            await asyncio.wait([forgotten], timeout=max(0.0, ends - loop.time()) + _LATER)

    # --- what becomes of them ---

    @property
    def held(self) -> Iterator[JetMessage]:
        """The messages that are here."""
        return iter(tuple(self._held.values()))

    def holds(self, message: JetMessage) -> bool:
        """Return whether a message is here, even if its lease has expired."""
        return not message.gone and self._held.get((message.source, message.sequence)) is message

    def is_known(self, message: JetMessage) -> bool:
        """Return whether a message is here and is surely this process's."""
        source = message.source
        # As `holds`: this is asked three times for each message.
        if message.gone or self._held.get((source, message.sequence)) is not message:
            return False
        now = asyncio.get_running_loop().time()
        if now > message.expires_at:
            return False
        if not source.ordered:
            return True
        group = self.groups.get(source)
        return group is not None and group.is_owned(now)

    def unsettled(self, source: Source) -> int | None:
        """Return how many messages of a source are here; `None` while the server may have settled one of them."""
        here = [each for each in self._held.values() if each.source is source]
        return None if any(each.confirming for each in here) else len(here)

    def has_redelivered(self, source: Source) -> bool:
        """Return whether a message of a source is here that was delivered before, to another process perhaps."""
        return any(each.source is source and each.count > 1 for each in self._held.values())

    def settled(self, message: JetMessage) -> None:
        """Forget a message that the server will not deliver again."""
        self._forget(message)
        self._settled[message.source.consumer.name, message.sequence] = message.message.context.message_id
        if len(self._settled) > _KNOWN:
            del self._settled[next(iter(self._settled))]
        group = self.groups.get(message.source)
        again = self._held.get((message.source, message.sequence))
        if again is not None and not again.given:
            # Delivered again while its acknowledgement was under way, and not handed out since.
            self._forget(again)
            if group is not None:
                group.ended(again)
        if group is not None:
            group.ended(message)

    def given_back(self, message: JetMessage) -> None:
        """Forget a message that the server delivers again; later ones of its key wait for it."""
        self._forget(message)

    def _forget(self, message: JetMessage) -> None:
        message.gone = True
        if self._held.get((message.source, message.sequence)) is message:
            del self._held[message.source, message.sequence]
            self._bytes -= len(message.message.data)
        if self._forgotten is not None:
            self._forgotten.set_result(None)
            self._forgotten = None
