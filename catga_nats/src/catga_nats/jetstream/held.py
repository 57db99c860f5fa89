"""`HeldKeys`: keys with a message in the dead letters. Their later messages wait, in order, in a stream of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from catga_core.clock import SystemClock
from catga_core.errors import CatgaError
from catga_core.runtime import Worker
from catga_nats.connection import NatsConnection
from catga_nats.jetstream import wire
from catga_nats.jetstream.api import ApiError, NoJetStreamError, call
from catga_nats.jetstream.background import Background, log_unreachable
from catga_nats.jetstream.consumers import ConsumerName, parked_consumer
from catga_nats.jetstream.groups import Groups
from catga_nats.jetstream.layout import Layout, consumer_name, group_of, partition_of, token
from catga_nats.jetstream.publishing import Publishing
from catga_nats.jetstream.reader import Reader
from catga_nats.jetstream.received import JetMessage
from catga_nats.jetstream.settling import Settling
from catga_nats.jetstream.source import Source
from catga_nats.jetstream.state import Bucket, failed, unanswered


class _Kept(msgspec.Struct):
    key: str
    released: bool


class _Held(msgspec.Struct, eq=False):
    """A held key, as this process knows it.

    Args:
        released: Whether its parked messages are to be handed out.
        revision: The revision in the bucket that this is known from.
        writing: Whether it is being written, so that what is read may be older.
        parked: How many messages this process began to park.
        parking: How many of them are not kept in the stream yet, or not known to be.
        source: Where its parked messages come from.
    """

    released: bool
    revision: int = 0
    writing: bool = False
    parked: int = 0
    parking: int = 0
    source: Source | None = None


_AT_ONCE = 64  # keys that are asked for at a time

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Kept).decode


class HeldKeys:
    """Parks the messages of held keys, and hands them out again, before newer ones, when their key is released.

    Only the owner of a key parks its messages and hands them out.

    Args:
        connection: The connection.
        layout: The names.
        bucket: Where held keys are kept.
        publishing: Publishes into the stream of parked messages.
        settling: Settles what was parked.
        groups: The consumers that this process owns.
        background: Runs background tasks.
        seconds: Seconds between two looks at which keys were released.
    """

    def __init__(
        self,
        connection: NatsConnection,
        layout: Layout,
        bucket: Bucket,
        publishing: Publishing,
        settling: Settling,
        groups: Groups,
        background: Background,
        seconds: float,
    ) -> None:
        self._connection = connection
        self._layout = layout
        self._bucket = bucket
        self._publishing = publishing
        self._settling = settling
        self._groups = groups
        self._background = background
        self._readers: dict[str, Reader] = {}
        self._keys: dict[tuple[str, str], _Held] = {}
        self._worker = Worker(
            "held keys", self._turn, every=seconds, clock=SystemClock(), first=False, on_error=log_unreachable
        )

    def start(self) -> None:
        """Begin to look for released keys."""
        self._worker.start()

    async def stop(self) -> None:
        """Look no more."""
        await self._worker.stop(cancel=True)

    async def load(self, queue: str, reader: Reader, group: int) -> None:
        """Learn which keys of a group are held, before it is taken: as the leader knows them, since others may be behind.

        Args:
            queue: The queue's word in names.
            reader: Its reader.
            group: The group.

        Raises:
            CatgaError: They cannot be read.
        """
        self._readers[queue] = reader
        known = self._known(queue)
        others = {each for each, key in known.items() if self._group(queue, key)[1] != group}
        places = {*await self._bucket.names(f"held.{queue}.*"), *known}
        await self._learn(queue, {each: known.get(each) for each in places - others})

    def route(self, message: JetMessage) -> None:
        """Hand out a message whose turn it is, or park it where its key is held."""
        queue = consumer_name(message.queue)
        held = self._keys.get((queue, message.message.key or ""))
        if held is None:
            self._readers[queue].give(message)
            return
        held.parked += 1
        held.parking += 1
        self._background.start(self._park(message, held))

    async def hold(self, message: JetMessage) -> None:
        """Hold the key of a message that goes to the dead letters.

        Raises:
            CatgaError: It is not known to be held.
        """
        queue, key = consumer_name(message.queue), message.message.key or ""
        held = self._keys.setdefault((queue, key), _Held(released=False))
        held.released, held.writing = False, True
        try:
            written = await self._bucket.put(_place(queue, key), _encode(_Kept(key, released=False)))
            held.revision = max(held.revision, written or 0)
        finally:
            held.writing = False

    def discarded(self, message: JetMessage) -> None:
        """Take no more of the parked messages of a key that is held again."""
        queue, key = consumer_name(message.queue), message.message.key or ""
        held = self._keys.get((queue, key))
        if held is not None and held.source is message.source:
            self._groups.close(self._group(queue, key), message.source)
            held.source = None

    async def release(self, queue: str, key: str) -> bool:
        """Have the owner of a key hand out its messages; return whether it was held.

        Raises:
            CatgaError: It is not known to be released.
        """
        place = _place(consumer_name(queue), key)
        while (entry := await self._bucket.get(place)) is not None:
            if _decode(entry.value).released:
                return False
            released = _encode(_Kept(key, released=True))
            if await self._bucket.put(place, released, last=entry.revision) is not None:
                self._worker.wake()
                return True
        return False

    async def _turn(self) -> None:
        for queue in tuple(self._readers):
            await self._look(queue)
        for (queue, key), held in tuple(self._keys.items()):
            if not held.released or not self._groups.owns(*self._group(queue, key)):
                held.source = None
            elif held.source is None or held.source not in self._readers[queue].groups:
                await self._hand_out(queue, key, held)
            else:
                await self._finish(queue, key, held)

    async def _hand_out(self, queue: str, key: str, held: _Held) -> None:
        reader, place = self._readers[queue], self._group(queue, key)
        consumer, config = parked_consumer(self._layout, reader.definition, key, place[1])
        body = {"stream_name": consumer.stream, "config": config}
        await self._ask(f"CONSUMER.CREATE.{consumer.stream}.{consumer.name}", body)
        held.source = await self._groups.open(place, reader, consumer, reader.give)

    async def _finish(self, queue: str, key: str, held: _Held) -> None:
        """Hold a key no more when everything that was parked is handled."""
        source, parked = held.source, held.parked
        if held.parking:
            # What is not in the stream yet is not counted there.
            return
        assert source is not None  # noqa: S101  # as the caller has seen
        consumer: ConsumerName = source.consumer
        info = await self._ask(f"CONSUMER.INFO.{consumer.stream}.{consumer.name}")
        if info["num_pending"] or info["num_ack_pending"] or held.parked != parked or not held.released:
            return
        if self._keys.get((queue, key)) is not held:
            return
        # From here on, messages of the key are handed out as they come: all that were parked are handled.
        held.writing = True
        del self._keys[queue, key]
        self._groups.close(self._group(queue, key), source)
        await self._bucket.remove(_place(queue, key))
        with suppress(CatgaError):
            await self._ask(f"CONSUMER.DELETE.{consumer.stream}.{consumer.name}")

    async def _park(self, message: JetMessage, held: _Held) -> None:
        """Move a message into the stream of parked ones: first kept there, then acknowledged here."""
        headers = wire.encode(message.message)
        headers[wire.MESSAGE_ID] = f"{message.source.consumer.name}.{message.sequence}"
        subject = self._layout.parked_subject(message.queue, message.message.key or "")
        try:
            await self._publishing.publish(
                subject.encode(), message.message.data, headers, message.message.name
            )
            await self._settling.complete(message)
        except CatgaError:
            self._settling.retry(message, 1.0)
        finally:
            held.parking -= 1

    async def _look(self, queue: str) -> None:
        """Learn what has changed. A listing may be older than what is known, so that a difference is asked for at the leader."""
        listed = await self._bucket.list([f"held.{queue}.*"])
        found = {each: entry.revision for each, entry in listed.items()}
        keys = self._known(queue)
        known = {each: self._keys[queue, key].revision for each, key in keys.items()}
        await self._learn(queue, {each: keys.get(each) for each, _ in found.items() ^ known.items()})

    async def _learn(self, queue: str, keys: Mapping[str, str | None]) -> None:
        """Read held keys at the leader.

        Args:
            queue: The queue's word in names.
            keys: Where each is kept, and the key where it is known.
        """
        places = sorted(keys)
        for start in range(0, len(places), _AT_ONCE):
            some = places[start : start + _AT_ONCE]
            await asyncio.gather(*(self._read(queue, each, keys[each]) for each in some))

    async def _read(self, queue: str, place: str, key: str | None) -> None:
        before = None if key is None else self._keys.get((queue, key))
        revision = 0 if before is None else before.revision
        entry = await self._bucket.get(place)
        if entry is not None:
            kept = _decode(entry.value)
            held = self._keys.setdefault((queue, kept.key), _Held(kept.released, entry.revision))
            if not held.writing and entry.revision >= held.revision:
                held.released, held.revision = kept.released, entry.revision
            return
        if key is None or before is None or self._keys.get((queue, key)) is not before:
            return
        if before.writing or before.revision != revision:
            # Held since the question was asked.
            return
        if before.parked and self._groups.owns(*self._group(queue, key)):
            # The key is released, but some of its messages may be parked: they come first.
            before.released = True
        else:
            del self._keys[queue, key]

    def _known(self, queue: str) -> dict[str, str]:
        return {_place(queue, key): key for each, key in self._keys if each == queue}

    def _group(self, queue: str, key: str) -> tuple[str, int]:
        return queue, group_of(partition_of(key), self._layout.groups)

    async def _ask(self, what: str, body: dict[str, Any] | None = None) -> dict[str, int]:
        try:
            return await call(self._connection, what, body)
        except ApiError as error:
            raise failed(error) from error
        except NoJetStreamError as error:
            raise unanswered() from error


def _place(queue: str, key: str) -> str:
    return f"held.{queue}.{token(key)}"
