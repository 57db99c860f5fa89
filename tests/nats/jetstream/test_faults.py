"""Servers and consumers are killed, connections cut: what was acknowledged is handled, in the order of its key."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter

import pytest

from catga_core.errors import CatgaError
from catga_core.interfaces.health import HealthStatus
from catga_nats.jetstream.queues import JetStreamQueues
from catga_testing.servers import Link, NatsServer
from catga_testing.waiting import eventually
from tests.nats.jetstream.support import SECONDS, Running, consume, events, ids, nothing, queued, receive

pytestmark = pytest.mark.nats

SHIP = events(lease=2.0)

_CONSUMER = """
import asyncio, sys
from tests.nats.jetstream.support import Running, events, consume
async def main():
    running = Running(sys.argv[1])
    running.prefix = sys.argv[2]
    queues = await running.start()
    queue = events(lease=2.0)
    await queues.declare([queue])
    while True:
        for each in await queues.receive(queue.name, limit=16, timeout=5.0):
            print(each.message.context.message_id, flush=True)
            if each.sequence % 10 == 0:
                await asyncio.sleep(3600)
            await queues.complete(each)
asyncio.run(main())
"""


async def publish_all(queues: JetStreamQueues, count: int, accepted: list[str], **more: str) -> None:
    """Publish, each until it is acknowledged, under one id."""
    for number in range(count):
        message = queued(f"{more.get('key', 'm')}-{number:05}", **more)
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    await queues.publish(message)
                except CatgaError:
                    await asyncio.sleep(0.02)
                else:
                    break
        accepted.append(message.context.message_id)


async def test_a_killed_server_loses_nothing_that_it_acknowledged(server: NatsServer) -> None:
    running = Running(server.url)
    queues = await running.start()
    await queues.declare([SHIP])
    seen: list[str] = []
    accepted: list[str] = []
    consuming = asyncio.create_task(consume(queues, SHIP, seen))
    publishing = asyncio.gather(
        publish_all(queues, 300, accepted),
        *(publish_all(queues, 60, accepted, key=f"k{each}") for each in range(4)),
    )
    for number in range(1, 4):
        await eventually(lambda number=number: len(accepted) > 100 * number, within=SECONDS)  # type: ignore[misc]
        await server.kill()
        await server.restart()
    await publishing
    await eventually(lambda: {*accepted} <= {*seen}, within=20)
    consuming.cancel()
    await asyncio.gather(consuming, return_exceptions=True)
    await running.stop()
    assert len(accepted) == 540
    for key in range(4):
        first = dict.fromkeys(each for each in seen if each.startswith(f"k{key}-"))
        assert list(first) == sorted(first)


async def test_a_killed_server_holds_no_key_again(server: NatsServer) -> None:
    running = Running(server.url)
    queues = await running.start()
    bucket = queues._state
    await bucket.put("held.q.k", b"it is held")
    await bucket.put("held.q.k", b"it is released")
    await bucket.remove("held.q.k")
    await server.kill()
    await server.restart()
    await eventually(lambda: queues.health().status is HealthStatus.HEALTHY, within=SECONDS)
    # Of a key that was deleted instead, the server would have the value before the last one.
    assert await bucket.get("held.q.k") is None
    assert await bucket.list(["held.q.*"]) == {}
    await running.stop()


async def test_a_killed_consumer_loses_nothing(running: Running) -> None:
    queues = await running.start()
    await queues.declare([SHIP])
    accepted: list[str] = []
    await publish_all(queues, 60, accepted)
    consumer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _CONSUMER, running.url, running.prefix, stdout=asyncio.subprocess.PIPE
    )
    assert consumer.stdout is not None
    async with asyncio.timeout(SECONDS):
        by_other = [(await consumer.stdout.readline()).decode().strip() for _ in range(10)]
    consumer.kill()
    await consumer.wait()
    seen: list[str] = []
    attempts: Counter[int] = Counter()
    while len({*by_other, *seen}) < 60 or by_other[-1] not in seen:
        for each in await receive(queues, SHIP, 1):
            seen += ids([each])
            attempts[each.attempt] += 1
            await queues.complete(each)
    assert {*by_other, *seen} == {*accepted}
    assert attempts[2] >= 1


async def test_connections_cut_in_the_middle_of_publishes_and_acknowledgements(running: Running) -> None:
    async with Link(running.url) as link:
        queues = await running.start(url=link.url)
        await queues.declare([SHIP])
        seen: list[str] = []
        accepted: list[str] = []
        consuming = asyncio.create_task(consume(queues, SHIP, seen))
        publishing = asyncio.gather(
            *(publish_all(queues, 100, accepted, key=f"k{each}") for each in range(5))
        )
        for number in range(1, 5):
            await eventually(lambda number=number: len(accepted) > 80 * number, within=SECONDS)  # type: ignore[misc]
            await link.stall("to_client")
            await asyncio.sleep(0.02)
            await link.cut()
            await link.restore()
        await publishing
        await eventually(lambda: {*accepted} <= {*seen}, within=20)
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)
    assert len(accepted) == 500
    for key in range(5):
        # A message may come twice; none overtakes one of its key that was not handled yet.
        first = dict.fromkeys(each for each in seen if each.startswith(f"k{key}-"))
        assert list(first) == sorted(first)
    assert len(seen) < 2 * len({*seen})


async def test_an_acknowledgement_that_is_lost_leaves_the_outcome_unknown(running: Running) -> None:
    async with Link(running.url) as link:
        queues = await running.start(url=link.url)
        await queues.declare([SHIP])
        await link.stall("to_client")
        publishing = asyncio.ensure_future(queues.publish(queued("m1")))
        await asyncio.sleep(0.05)
        await link.cut()
        with pytest.raises(CatgaError) as raised:
            await publishing
        assert raised.value.details["outcome"] == "unknown"
        await link.restore()
        accepted: list[str] = []
        message = queued("m1")
        async with asyncio.timeout(SECONDS):
            while not accepted:
                try:
                    await queues.publish(message)
                    accepted.append("m1")
                except CatgaError:
                    await asyncio.sleep(0.02)
        await queues.publish(queued("m2"))
        assert sorted(ids(await receive(queues, SHIP, 2))) == ["m1", "m2"]


async def test_a_publish_that_waits_is_sent_again_over_the_next_connection(running: Running) -> None:
    async with Link(running.url) as link:
        queues = await running.start(url=link.url, while_disconnected="wait", request_timeout=60.0)
        await queues.declare([SHIP])
        await link.stall("to_client")
        publishing = [asyncio.create_task(queues.publish(queued(f"m{each}"))) for each in range(3)]
        await eventually(lambda: queues._connection.mux.pending == len(publishing), within=SECONDS)
        await link.cut()
        await link.restore()
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*publishing)
        assert sorted(ids(await receive(queues, SHIP, 3))) == ["m0", "m1", "m2"]
        assert await nothing(queues, SHIP)


async def test_a_publish_outlives_the_death_of_its_server(server: NatsServer) -> None:
    running = Running(server.url)
    queues = await running.start(while_disconnected="wait", request_timeout=60.0)
    await queues.declare([SHIP])
    await server.stop()
    publishing = asyncio.create_task(queues.publish(queued("m1")))
    await eventually(lambda: queues._connection.mux.pending == 1, within=SECONDS)
    await server.kill()
    await server.restart()
    async with asyncio.timeout(SECONDS):
        await publishing
    assert ids(await receive(queues, SHIP, 1)) == ["m1"]
    await running.stop()


async def test_a_publish_that_is_cancelled_is_not_sent_again(running: Running) -> None:
    async with Link(running.url) as link:
        queues = await running.start(url=link.url, while_disconnected="wait", request_timeout=60.0)
        await queues.declare([SHIP])
        await link.stall("to_server")
        publishing = asyncio.create_task(queues.publish(queued("m1")))
        await eventually(lambda: queues._connection.mux.pending == 1, within=SECONDS)
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        await link.cut()
        await link.restore()
        async with asyncio.timeout(SECONDS):
            await queues.publish(queued("m2"))
        assert ids(await receive(queues, SHIP, 1)) == ["m2"]
        assert await nothing(queues, SHIP)


@pytest.mark.parametrize("mode", ["fail", "wait"])
async def test_a_publish_that_waits_ends_with_the_stop(running: Running, mode: str) -> None:
    async with Link(running.url) as link:
        queues = await running.start(url=link.url, while_disconnected=mode, request_timeout=60.0)
        await queues.declare([SHIP])
        await link.stall("to_client")
        publishing = asyncio.create_task(queues.publish(queued("m1")))
        await eventually(lambda: queues._connection.mux.pending == 1, within=SECONDS)
        await queues.stop()
        with pytest.raises(CatgaError) as raised:
            async with asyncio.timeout(SECONDS):
                await publishing
    assert raised.value.details["outcome"] == "unknown"
