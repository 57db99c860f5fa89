"""Streams with peers that speak the wire format alone: foreign ones, broken ones, hostile ones."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from catga_core.errors import CatgaError, Outcome
from catga_core.interfaces.health import HealthStatus
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually
from tests.nats.support import Counting, Numbers, count, running, stream
from tests.nats.test_permissions import guarded

pytestmark = pytest.mark.nats

BEAT = 0.2
ITEM, END, FAILED, ALIVE = range(4)
GO_ON, LEFT, CANCELLED = range(3)
QUERY = [1, "Numbers", 1, "id", "", None, None, None, None, None, {"last": 3, "pause_after": 0}]


def packed(*values: Any) -> bytes:
    return msgspec.msgpack.encode(values)


async def failure(sender: Any, query: Any = Numbers(3)) -> tuple[list[int], CatgaError]:  # noqa: B008 - immutable
    got: list[int] = []
    with pytest.raises(CatgaError) as raised:
        async with asyncio.timeout(10), aclosing(stream(sender, query)) as items:
            async for item in items:
                got.append(item)
    return got, raised.value


class Responder:
    """A peer that answers each query with the frames it is given, and keeps what the asker says."""

    def __init__(self, peer: Client, *frames: bytes, control: bool = True) -> None:
        self._peer = peer
        self._frames = frames
        self.control = peer.new_inbox() if control else ""
        self.said: list[Any] = []

    async def listen(self, prefix: str) -> None:
        await self._peer.subscribe(f"{prefix}.stream.Numbers", queue="catga", cb=self._answer)
        if self.control:
            await self._peer.subscribe(self.control, cb=self._hear)
        await self._peer.flush()

    async def _answer(self, query: Msg) -> None:
        for frame in self._frames:
            await self._peer.publish(query.reply, frame, reply=self.control)

    async def _hear(self, message: Msg) -> None:
        self.said.append(msgspec.msgpack.decode(message.data))


@pytest.mark.parametrize(
    ("frames", "got", "code", "told"),
    [
        ([b"\xff\x00 secret"], [], "SERIALIZATION_FAILED", "cannot be read"),
        ([b"{}"], [], "SERIALIZATION_FAILED", "cannot be read"),
        ([packed(1)], [], "SERIALIZATION_FAILED", "cannot be read"),
        ([packed("1", ITEM, 1)], [], "SERIALIZATION_FAILED", "cannot be read"),
        ([packed(1, ITEM, 1), packed(2, ITEM, "secret")], [1], "SERIALIZATION_FAILED", "item of the stream"),
        ([packed(1, ITEM, 1), packed(2, 9, None)], [1], "SERIALIZATION_FAILED", "kind 9"),
        ([packed(1, FAILED, "secret")], [], "SERIALIZATION_FAILED", "failure of the stream"),
        ([packed(1, ITEM, 1), packed(3, ITEM, 3)], [1], "TRANSPORT_FAILED", "frame 2 did not arrive"),
        ([packed(1, ITEM, 1), packed(1, ITEM, 1)], [1], "TRANSPORT_FAILED", "frame 2 did not arrive"),
        ([packed(1, ITEM, 1), packed(3, END, None)], [1], "TRANSPORT_FAILED", "frame 2 did not arrive"),
        ([packed(1, ITEM, 1), packed(5, ALIVE, None)], [1], "TRANSPORT_FAILED", "frame 2 did not arrive"),
        ([packed(1 << 63, ITEM, 1)], [], "TRANSPORT_FAILED", "frame 1 did not arrive"),
        ([packed(-1, ITEM, 1)], [], "TRANSPORT_FAILED", "frame 1 did not arrive"),
    ],
    ids=str,
)
async def test_frames_that_break_the_protocol_end_the_stream(
    nats_server_shared: NatsServer, peer: Client, frames: list[bytes], got: list[int], code: str, told: str
) -> None:
    responder = Responder(peer, *frames)
    prefix = f"hostile-{uuid.uuid4().hex}"
    await responder.listen(prefix)
    async with running(nats_server_shared.url, subject_prefix=prefix) as asker:
        items, error = await failure(asker)

        assert (items, error.code) == (got, code)
        assert told in error.message
        assert "secret" not in f"{error.message}{error.details}"
        await eventually(lambda: responder.said[-1:] and responder.said[-1][1] == CANCELLED)
        assert count(asker, "streams_open") == 0
        assert count(asker, "streams_interrupted") == 1


async def test_responder_that_sends_more_than_was_asked_for_is_cut_off(
    nats_server_shared: NatsServer, peer: Client
) -> None:
    flood = [packed(number, ITEM, number) for number in range(1, 1001)]
    responder = Responder(peer, *flood)
    await responder.listen("flood")
    async with running(nats_server_shared.url, subject_prefix="flood", stream_window=16) as asker:
        items = stream(asker, Numbers(3))
        assert await anext(items) == 1
        await eventually(lambda: responder.said[-1:] and responder.said[-1][1] == CANCELLED)

        with pytest.raises(CatgaError) as raised:
            while True:
                await anext(items)

        assert "more than was asked for" in raised.value.message
        assert count(asker, "stream_items_received") <= 17


async def test_items_of_a_responder_without_an_address_are_refused(
    nats_server_shared: NatsServer, peer: Client
) -> None:
    await Responder(peer, packed(1, ITEM, 1), control=False).listen("addressless")
    async with running(nats_server_shared.url, subject_prefix="addressless") as asker:
        got, error = await failure(asker)

        assert (got, error.code) == ([], "TRANSPORT_FAILED")


async def test_foreign_responder_is_understood(nats_server_shared: NatsServer, peer: Client) -> None:
    frames = [packed(1, ALIVE, None), packed(1, ITEM, 10), packed(2, ITEM, 20, "more"), packed(3, END, None)]
    await Responder(peer, *frames).listen("foreign")
    async with (
        running(nats_server_shared.url, subject_prefix="foreign") as asker,
        aclosing(stream(asker, Numbers(3))) as items,
    ):
        assert [item async for item in items] == [10, 20]


class Asker:
    """A peer that asks a stream query and keeps the frames."""

    def __init__(self, peer: Client, prefix: str) -> None:
        self._peer = peer
        self._subject = f"{prefix}.stream.Numbers"
        self.frames: list[Any] = []
        self.address = ""

    async def ask(self, payload: bytes, headers: dict[str, str] | None = None, *, reply: bool = True) -> None:
        inbox = self._peer.new_inbox()
        self._inbox = inbox
        self._subscription = await self._peer.subscribe(inbox, cb=self._hear)
        await self._peer.publish(self._subject, payload, reply=inbox if reply else "", headers=headers)
        await self._peer.flush()

    async def say(self, data: bytes) -> None:
        await eventually(lambda: self.address)
        await self._peer.publish(self.address, data)

    async def leave(self) -> None:
        await self._subscription.unsubscribe()
        await self._peer.flush()

    async def _hear(self, message: Msg) -> None:
        self.address = message.reply or self.address
        self.frames.append(msgspec.msgpack.decode(message.data))

    @property
    def items(self) -> list[Any]:
        return [frame for frame in self.frames if frame[1] != ALIVE]


def query(last: int, pause_after: int = 0) -> bytes:
    return packed(*QUERY[:-1], {"last": last, "pause_after": pause_after})


async def test_foreign_asker_is_answered_within_its_window(
    nats_server_shared: NatsServer, peer: Client
) -> None:
    counting = Counting()
    async with running(nats_server_shared.url, streams=(counting,), subject_prefix="asks") as service:
        asker = Asker(peer, "asks")
        await asker.ask(query(5), {"catga-stream-window": "2"})
        await eventually(lambda: len(asker.items) == 2)
        assert asker.frames[:3] == [[1, ALIVE, None], [1, ITEM, 1], [2, ITEM, 2]]
        assert counting.yielded == 3

        await asker.say(packed(1, GO_ON))
        await eventually(lambda: len(asker.items) == 3)
        await asker.say(packed(3, GO_ON))
        await eventually(lambda: len(asker.items) == 6)

        assert asker.items[3:] == [[4, ITEM, 4], [5, ITEM, 5], [6, END, None]]
        assert count(service, "stream_items_sent") == 5


@pytest.mark.parametrize(("wish", "ended"), [(LEFT, "GeneratorExit"), (CANCELLED, "CancelledError")])
async def test_foreign_asker_ends_a_handler_that_waits_for_credit(
    nats_server_shared: NatsServer, peer: Client, wish: int, ended: str
) -> None:
    counting = Counting()
    async with running(nats_server_shared.url, streams=(counting,), subject_prefix="ends") as service:
        asker = Asker(peer, "ends")
        await asker.ask(query(5), {"catga-stream-window": "1"})
        await eventually(lambda: counting.yielded == 2)

        await asker.say(packed(0, wish))

        await eventually(lambda: counting.ended == [ended])
        await eventually(lambda: count(service, "streams_left") == 1)
        assert count(service, "streams_open") == 0


@pytest.mark.parametrize(
    "said",
    [b"\xff", b"", packed(1), packed("1", 0), packed(99, GO_ON), packed(-1, GO_ON), packed(0, 7)],
    ids=str,
)
async def test_asker_that_breaks_the_protocol_ends_its_stream(
    nats_server_shared: NatsServer, peer: Client, said: bytes
) -> None:
    counting = Counting()
    async with running(nats_server_shared.url, streams=(counting,), subject_prefix="rude") as service:
        asker = Asker(peer, "rude")
        await asker.ask(query(3, pause_after=1))
        await eventually(lambda: counting.yielded == 1)

        await asker.say(said)

        await eventually(lambda: counting.ended == ["CancelledError"])
        await eventually(lambda: asker.frames[-1][1] == FAILED)
        assert count(service, "streams_refused") == count(service, "streams_abandoned") == 1
        assert count(service, "streams_open") == 0


@pytest.mark.parametrize(
    ("payload", "headers"),
    [
        (b"", {}),
        (b"\xff\x00", {}),
        (packed(*QUERY[:-1], {"last": "three"}), {}),
        (packed(*QUERY[:2], 9, *QUERY[3:]), {}),
        (query(3), {"catga-stream-window": "0"}),
        (query(3), {"catga-stream-window": "many"}),
        (query(3), {"catga-stream-window-bytes": "-1"}),
        (query(3), {"catga-stream-heartbeat": "9" * 40}),
    ],
    ids=str,
)
async def test_queries_that_cannot_be_read_are_answered(
    nats_server_shared: NatsServer, peer: Client, payload: bytes, headers: dict[str, str]
) -> None:
    counting = Counting()
    async with running(nats_server_shared.url, streams=(counting,), subject_prefix="broken") as service:
        asker = Asker(peer, "broken")
        await asker.ask(payload, headers or None)
        await eventually(lambda: asker.frames)

        assert asker.frames[0][1] == FAILED
        assert asker.frames[0][2][1] in {"SERIALIZATION_FAILED", "VALIDATION_FAILED"}
        assert counting.ended == []
        assert count(service, "streams_refused") == 1


async def test_query_without_a_reply_subject_is_dropped(nats_server_shared: NatsServer, peer: Client) -> None:
    counting = Counting()
    async with running(nats_server_shared.url, streams=(counting,), subject_prefix="mute") as service:
        await Asker(peer, "mute").ask(query(3), reply=False)
        await eventually(lambda: count(service, "streams_refused") == 1)
        assert counting.yielded == 0


async def test_window_and_heartbeat_of_a_peer_are_kept_within_bounds(
    nats_server_shared: NatsServer, peer: Client
) -> None:
    counting = Counting()
    async with running(nats_server_shared.url, streams=(counting,), subject_prefix="greedy", stream_window=4):
        asker = Asker(peer, "greedy")
        await asker.ask(query(100), {"catga-stream-window": "1000000", "catga-stream-heartbeat": "1"})
        await eventually(lambda: len(asker.items) == 4)
        # One thousand heartbeats in a second would be sent otherwise.
        await eventually(lambda: counting.ended == ["CancelledError"], within=5.0)
        assert len(asker.frames) - len(asker.items) <= 10


async def test_lost_asker_ends_the_handler(nats_server_shared: NatsServer, peer: Client) -> None:
    counting = Counting()
    async with running(nats_server_shared.url, streams=(counting,), subject_prefix="gone") as service:
        asker = Asker(peer, "gone")
        await asker.ask(query(3, pause_after=1), {"catga-stream-heartbeat": "200"})
        await eventually(lambda: counting.yielded == 1)

        await asker.leave()

        await eventually(lambda: counting.ended == ["CancelledError"])
        assert count(service, "streams_abandoned") == 1


async def test_denied_stream_query_fails_at_once_and_names_the_subject() -> None:
    async with (
        guarded({"publish": {"deny": "catga.stream.>"}}) as server,
        running(server.service, streams=(Counting(),)),
        running(server.client) as sender,
    ):
        async with asyncio.timeout(5):
            _, error = await failure(sender)

        assert (error.code, error.outcome, error.retryable) == ("TRANSPORT_FAILED", Outcome.NOT_SENT, False)
        assert error.details["subject"] == "catga.stream.Numbers"
        assert sender.health().status is HealthStatus.DEGRADED


async def test_asker_that_may_not_publish_to_the_responder_fails_with_the_permission() -> None:
    counting = Counting()
    async with (
        guarded({"publish": {"deny": "_INBOX.>"}}) as server,
        running(server.service, streams=(counting,), stream_heartbeat=BEAT),
        running(server.client, stream_heartbeat=BEAT) as sender,
    ):
        _, error = await failure(sender, Numbers(3, pause_after=1))

        assert (error.code, error.retryable) == ("TRANSPORT_FAILED", False)
        assert error.details["permission"] == "publish"
        await eventually(lambda: counting.ended == ["CancelledError"])
