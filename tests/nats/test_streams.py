"""Streams of answers over a server: lost processes, lost connections, slow readers."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import textwrap
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from catga_core.errors import CatgaError, ErrorCode, Outcome
from catga_nats import NatsTransport
from catga_testing.servers import Link, NatsServer
from catga_testing.waiting import eventually
from tests.nats.support import Blobs, Counting, Flooding, Numbers, count, running, stream

pytestmark = pytest.mark.nats

BEAT = 0.2
QUICK: dict[str, Any] = {"reconnect_wait": 0.05, "reconnect_jitter": 0.05, "stream_heartbeat": BEAT}
IN_TIME = 3 * BEAT + 2.0  # three heartbeats, on a busy machine

SERVICE = textwrap.dedent(
    """
    import asyncio, sys
    from catga_core import CatgaOptions, StreamQuery, add_catga
    from catga_nats import NatsOptions, add_nats_catga

    class Numbers(StreamQuery[int], frozen=True):
        last: int
        pause_after: int = 0

    async def numbers(query: Numbers):
        try:
            for number in range(1, query.last + 1):
                yield number
                if number == query.pause_after:
                    await asyncio.Event().wait()
        finally:
            print("ended", flush=True)

    numbers.__annotations__["return"] = __import__("collections.abc").abc.AsyncIterator[int]

    async def main() -> None:
        catga = add_catga(CatgaOptions(service_name="numbers"))
        add_nats_catga(catga, NatsOptions(sys.argv[1], subject_prefix=sys.argv[2], stream_heartbeat=0.2))
        catga.add_handlers(numbers)
        async with catga.running():
            print("ready", flush=True)
            await asyncio.sleep(60)

    asyncio.run(main())
    """
)


@asynccontextmanager
async def responder(server: NatsServer, prefix: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A process that answers `Numbers`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVICE, server.url, prefix, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def failing(sender: NatsTransport, query: Any, **given: Any) -> tuple[list[Any], CatgaError]:
    """Return the items of a stream that fails, and its error."""
    got: list[Any] = []
    with pytest.raises(CatgaError) as raised:
        async with asyncio.timeout(15), aclosing(stream(sender, query, **given)) as items:
            async for item in items:
                got.append(item)
    return got, raised.value


async def test_killed_responder_ends_its_streams_with_an_error(nats_server_shared: NatsServer) -> None:
    async with (
        responder(nats_server_shared, "killed") as process,
        running(nats_server_shared.url, subject_prefix="killed", **QUICK) as asker,
    ):
        items = stream(asker, Numbers(9, pause_after=2), timeout=None)
        assert [await anext(items), await anext(items)] == [1, 2]
        process.kill()
        began = time.monotonic()

        with pytest.raises(CatgaError) as raised:
            await anext(items)

        assert time.monotonic() - began < IN_TIME
        assert raised.value.code == ErrorCode.TRANSPORT_FAILED
        assert (raised.value.outcome, raised.value.retryable) == (Outcome.UNKNOWN, True)
        assert count(asker, "streams_interrupted") == 1
        assert count(asker, "streams_open") == 0


async def test_responder_that_hangs_is_found_by_its_heartbeats(nats_server_shared: NatsServer) -> None:
    async with (
        responder(nats_server_shared, "hung") as process,
        running(nats_server_shared.url, subject_prefix="hung", **QUICK) as asker,
    ):
        items = stream(asker, Numbers(9, pause_after=1), timeout=None)
        assert await anext(items) == 1
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        try:
            with pytest.raises(CatgaError) as raised:
                await anext(items)
            assert BEAT < time.monotonic() - began < IN_TIME
            assert raised.value.code == ErrorCode.TRANSPORT_FAILED
            assert "sign of life" in raised.value.message
        finally:
            process.send_signal(signal.SIGCONT)
        # It learns that its items are not wanted any more.
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), IN_TIME) == b"ended\n"


@pytest.mark.parametrize("while_disconnected", ["fail", "wait"])
async def test_lost_connection_of_the_asker_ends_both_sides(
    nats_server_shared: NatsServer, while_disconnected: str
) -> None:
    counting = Counting()
    url, prefix = nats_server_shared.url, f"cut-{while_disconnected}"
    async with (
        running(url, streams=(counting,), subject_prefix=prefix, **QUICK) as service,
        Link(url) as link,
        running(link.url, subject_prefix=prefix, while_disconnected=while_disconnected, **QUICK) as asker,
    ):
        items = stream(asker, Numbers(9, pause_after=1), timeout=None)
        assert await anext(items) == 1

        await link.cut()
        with pytest.raises(CatgaError) as raised:
            async with asyncio.timeout(IN_TIME):
                await anext(items)
        await eventually(lambda: counting.ended == ["CancelledError"], within=IN_TIME)

        assert (raised.value.code, raised.value.retryable) == (ErrorCode.TRANSPORT_FAILED, True)
        assert count(service, "streams_abandoned") == 1
        await link.restore()
        await eventually(lambda: asker.health().details["state"] == "connected")
        await eventually(lambda: _collect(asker, Numbers(3)), within=IN_TIME)


async def _collect(sender: NatsTransport, query: Any) -> list[Any]:
    async with aclosing(stream(sender, query)) as items:
        return [item async for item in items]


async def test_lost_connection_of_the_responder_ends_both_sides(nats_server_shared: NatsServer) -> None:
    counting = Counting()
    url = nats_server_shared.url
    async with (
        Link(url) as link,
        running(link.url, streams=(counting,), subject_prefix="lost", **QUICK),
        running(url, subject_prefix="lost", **QUICK) as asker,
    ):
        items = stream(asker, Numbers(9, pause_after=1), timeout=None)
        assert await anext(items) == 1

        await link.cut()
        with pytest.raises(CatgaError) as raised:
            async with asyncio.timeout(IN_TIME):
                await anext(items)

        assert raised.value.code == ErrorCode.TRANSPORT_FAILED
        await eventually(lambda: counting.ended == ["CancelledError"], within=IN_TIME)


async def test_network_that_loses_everything_is_noticed_on_both_sides(
    nats_server_shared: NatsServer,
) -> None:
    counting = Counting()
    url = nats_server_shared.url
    async with (
        running(url, streams=(counting,), subject_prefix="stalled", **QUICK) as service,
        Link(url) as link,
        running(link.url, subject_prefix="stalled", **QUICK) as asker,
    ):
        items = stream(asker, Numbers(100_000), timeout=None)
        assert await anext(items) == 1

        await link.stall()
        try:
            got, error = [1], None
            with pytest.raises(CatgaError) as raised:
                async with asyncio.timeout(IN_TIME):
                    while True:
                        got.append(await anext(items))
            error = raised.value
            await eventually(lambda: len(counting.ended) == 1, within=IN_TIME)
        finally:
            await link.restore()

        assert got == list(range(1, len(got) + 1))
        assert error.code == ErrorCode.TRANSPORT_FAILED
        assert count(service, "streams_abandoned") == 1


async def test_server_that_is_restarted_ends_the_stream(nats_server: NatsServer) -> None:
    counting = Counting()
    async with (
        running(nats_server.url, streams=(counting,), **QUICK),
        running(nats_server.url, while_disconnected="wait", **QUICK) as asker,
    ):
        items = stream(asker, Numbers(9, pause_after=1), timeout=None)
        assert await anext(items) == 1

        await nats_server.kill()
        with pytest.raises(CatgaError) as raised:
            async with asyncio.timeout(IN_TIME):
                await anext(items)
        await nats_server.restart()

        assert raised.value.code == ErrorCode.TRANSPORT_FAILED
        await eventually(lambda: counting.ended == ["CancelledError"])
        await eventually(lambda: asker.health().details["state"] == "connected")
        # Nobody answers yet, perhaps; the query waits for a responder.
        assert await _collect(asker, Numbers(3)) == [1, 2, 3]


async def test_slow_reader_of_ten_thousand_items_bounds_the_handler(nats_server_shared: NatsServer) -> None:
    counting = Counting()
    url = nats_server_shared.url
    async with (
        running(url, streams=(counting,), subject_prefix="slow", **QUICK) as service,
        running(url, subject_prefix="slow", stream_window=32, **QUICK) as asker,
    ):
        consumed = 0
        async with asyncio.timeout(60), aclosing(stream(asker, Numbers(10_000), timeout=None)) as items:
            async for number in items:
                consumed += 1
                assert number == consumed
                # The handler waits with one more item for the credit to send it.
                assert counting.yielded <= consumed + 32 + 1
                if number % 1000 == 1:
                    # The handler gets as far as it may.
                    await asyncio.sleep(0.05)

        assert consumed == 10_000
        assert counting.ended == ["finished"]
        assert count(service, "stream_items_sent") == count(asker, "stream_items_received") == 10_000


async def test_large_items_are_bounded_by_their_bytes(nats_server_shared: NatsServer) -> None:
    flooding = Flooding()
    url = nats_server_shared.url
    async with (
        running(url, streams=(flooding,), subject_prefix="large", **QUICK),
        running(url, subject_prefix="large", stream_window_bytes=1_000_000, **QUICK) as asker,
    ):
        received = 0
        async with asyncio.timeout(30), aclosing(stream(asker, Blobs(60, 300_000), timeout=None)) as items:
            async for item in items:
                received += 1
                assert len(item) == 300_000
                await asyncio.sleep(0.005)
                # Less than 1,000,000 bytes and one item, and one that waits.
                assert flooding.yielded <= received + 4 + 1
        assert received == 60


async def test_item_that_is_too_large_fails_its_stream(nats_server_shared: NatsServer) -> None:
    url = nats_server_shared.url
    async with running(url, streams=(Flooding(),), subject_prefix="huge", **QUICK) as both:
        got, error = await failing(both, Blobs(2, 2_000_000))

        assert (got, error.code) == ([], ErrorCode.SERIALIZATION_FAILED)
        assert await _collect(both, Blobs(2, 10)) == [bytes(10)] * 2


async def test_stream_that_is_given_up_before_its_first_frame_ends_the_handler(
    nats_server_shared: NatsServer,
) -> None:
    counting = Counting()
    url = nats_server_shared.url
    async with (
        running(url, streams=(counting,), subject_prefix="early", stream_heartbeat=30.0),
        Link(url) as link,
        running(link.url, subject_prefix="early", stream_heartbeat=30.0) as asker,
    ):
        await link.stall("to_client")
        asking = asyncio.create_task(failing(asker, Numbers(9, pause_after=1)))
        await eventually(lambda: counting.yielded == 1)
        asking.cancel()
        await asyncio.wait([asking])
        assert counting.ended == []
        assert count(asker, "streams_open") == 0

        await link.restore()

        await eventually(lambda: counting.ended == ["CancelledError"])


async def test_responder_of_an_idle_stream_without_a_deadline_is_not_given_up(
    nats_server_shared: NatsServer,
) -> None:
    counting = Counting()
    url = nats_server_shared.url
    async with running(
        url, streams=(counting,), subject_prefix="idle", request_timeout=0.3, stream_heartbeat=0.1
    ) as both:
        items = stream(both, Numbers(3, pause_after=1), timeout=None)
        assert await anext(items) == 1
        waiting = asyncio.ensure_future(anext(items))
        done, _ = await asyncio.wait([waiting], timeout=1.0)
        assert not done
        counting.open.set()
        assert [await waiting, await anext(items)] == [2, 3]
        with pytest.raises(StopAsyncIteration):
            await anext(items)


async def test_reader_that_takes_its_time_is_not_given_up(nats_server_shared: NatsServer) -> None:
    counting = Counting()
    url = nats_server_shared.url
    async with running(url, streams=(counting,), subject_prefix="idle-reader", stream_heartbeat=0.1) as both:
        items = stream(both, Numbers(300), timeout=None)
        assert await anext(items) == 1
        # Ten heartbeats, while the handler waits for credit.
        ended = asyncio.ensure_future(asyncio.Event().wait())
        await asyncio.wait([ended], timeout=1.0)
        ended.cancel()

        assert [number async for number in items] == list(range(2, 301))
        assert counting.ended == ["finished"]


@pytest.mark.parametrize("seed", [1, 2])
async def test_streams_over_a_broken_network_lose_no_item_in_silence(
    nats_server_shared: NatsServer, seed: int
) -> None:
    """Twenty readers, connections cut and stalled at random: each stream is whole, or fails, or was left."""
    chance = random.Random(seed)
    counting = Counting()
    counting.open.set()
    url, prefix = nats_server_shared.url, f"chaos-{seed}"
    quick = {**QUICK, "stream_heartbeat": 0.1, "reconnect_wait": 0.02, "reconnect_jitter": 0.02}
    whole = failed = 0
    over = asyncio.Event()

    async def read(asker: NatsTransport) -> None:
        nonlocal whole, failed
        last, leaves_after = chance.randint(0, 400), chance.choice([10, 1000])
        got: list[int] = []
        try:
            async with aclosing(stream(asker, Numbers(last), timeout=chance.choice([None, 5.0]))) as items:
                async for item in items:
                    got.append(item)
                    if len(got) == leaves_after:
                        break
                else:
                    assert len(got) == last
                    whole += 1
        except CatgaError as error:
            assert error.code in {"TRANSPORT_FAILED", "TIMEOUT", "HANDLER_NOT_FOUND"}  # noqa: PT017 - some fail
            failed += 1
            # Without a connection it fails at once, and would keep the loop from finding one.
            await asyncio.sleep(0.005)
        assert got == list(range(1, len(got) + 1))

    async def keep_reading(asker: NatsTransport) -> None:
        while not over.is_set():
            await read(asker)

    async with (
        Link(url) as to_asker,
        Link(url) as to_service,
        running(to_service.url, streams=(counting,), limit=1000, subject_prefix=prefix, **quick) as service,
        running(to_asker.url, subject_prefix=prefix, stream_window=16, **quick) as asker,
    ):
        readers = [asyncio.create_task(keep_reading(asker)) for _ in range(20)]
        for _ in range(8):
            received = count(service, "stream_items_sent")
            await eventually(lambda: count(service, "stream_items_sent") > received)  # noqa: B023 - in the round
            link = chance.choice([to_asker, to_service])
            await (link.cut() if chance.random() < 0.5 else link.stall())
            await asyncio.sleep(chance.random() * 0.5)
            await link.restore()
        over.set()
        async with asyncio.timeout(20):
            await asyncio.gather(*readers)

        assert whole
        assert failed
        await eventually(lambda: count(service, "streams_open") == count(asker, "streams_open") == 0)
        assert len(counting.ended) == count(service, "streams_received")
