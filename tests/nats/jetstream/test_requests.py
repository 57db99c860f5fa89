"""How messages are requested: no faster than the server serves them, and no more than there is room for."""

from __future__ import annotations

import asyncio

import pytest

from catga_core.errors import CatgaError
from catga_core.interfaces.health import HealthStatus
from catga_nats.jetstream.api import call
from catga_nats.jetstream.declaring import Declarations
from catga_nats.jetstream.layout import Layout, group_of, partition_of
from catga_nats.jetstream.source import Source
from catga_testing.waiting import eventually
from tests.nats.jetstream.support import SECONDS, Running, events, ids, nothing, queued, receive

pytestmark = pytest.mark.nats


async def test_a_refused_request_is_not_repeated_at_once(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[str] = []
    real = Source.pull

    def pull(self: Source, *rest: object) -> None:
        requests.append(self.consumer.name)
        real(self, *rest)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(Source, "pull", pull)
    # As if the consumer could not be declared again.
    monkeypatch.setattr(Declarations, "missing", lambda _: None)
    queues = await running.start(order_groups=1)
    ship = events()
    await queues.declare([ship])
    assert await nothing(queues, ship)
    assert queues.health().status is HealthStatus.HEALTHY
    (source, *_) = queues._intake.reader(ship.name).sources
    requests.clear()
    await call(queues._connection, f"CONSUMER.DELETE.{source.consumer.stream}.{source.consumer.name}")
    assert await nothing(queues, ship, 2.0)
    assert 1 <= requests.count(source.consumer.name) <= 10
    health = queues.health()
    assert health.status is HealthStatus.DEGRADED
    assert source.consumer.name in health.description
    other = await running.start(order_groups=1)
    await other.declare([ship])
    await other.publish(queued("m1"))
    assert ids(await receive(queues, ship, 1)) == ["m1"]
    assert queues.health().status is HealthStatus.HEALTHY


async def test_a_place_that_the_server_gives_to_another_message_is_not_settled(running: Running) -> None:
    queues = await running.start(order_groups=1)
    ship = events()
    await queues.declare([ship])
    await queues.publish(queued("m1"))
    (first,) = await receive(queues, ship, 1)
    await queues.complete(first)
    # A server that lost its disk.
    await call(queues._connection, f"STREAM.DELETE.{Layout(running.prefix, 1).events_stream}")
    other = await running.start(order_groups=1)
    await other.declare([ship])
    await other.publish(queued("m2"))
    (second,) = await receive(queues, ship, 1)
    assert (second.sequence, ids([second])) == (first.sequence, ["m2"])


async def test_the_groups_of_a_queue_share_the_room_for_messages_that_wait(running: Running) -> None:
    queues = await running.start(order_groups=4, max_buffered=4)
    ship = events()
    await queues.declare([ship])
    by_group = {group_of(partition_of(f"k{each}"), 4): f"k{each}" for each in range(100)}
    for key in by_group.values():
        for number in range(10):
            await queues.publish(queued(f"{key}-{number}", key=key))
    got = await receive(queues, ship, 4)
    assert await nothing(queues, ship)
    # Each group may have requested one before there was no room.
    assert len([*queues._intake.reader(ship.name).held]) <= 4 + 4
    seen = ids(got)
    for each in got:
        await queues.complete(each)
    while len(seen) < 40:
        for each in await receive(queues, ship, 1):
            seen += ids([each])
            await queues.complete(each)
    for key in by_group.values():
        assert [each for each in seen if each.startswith(f"{key}-")] == [f"{key}-{n}" for n in range(10)]


async def test_one_that_failed_comes_again_though_there_is_no_room(running: Running) -> None:
    queues = await running.start(order_groups=1, max_buffered=1)
    ship = events()
    await queues.declare([ship])
    for number in range(3):
        await queues.publish(queued(f"a{number}", key="a"))
    (first,) = await receive(queues, ship, 1)
    assert await nothing(queues, ship)
    await queues.retry(first, delay=0.0, error="not yet")
    (again,) = await receive(queues, ship, 1)
    assert (ids([again]), again.attempt) == (["a0"], 2)


async def test_an_acknowledgement_that_no_consumer_takes_is_none(running: Running) -> None:
    queues = await running.start(order_groups=1)
    ship = events(lease=30.0)
    await queues.declare([ship])
    for each in ("m1", "m2"):
        await queues.publish(queued(each, key="k"))
    (first,) = await receive(queues, ship, 1)
    assert await nothing(queues, ship, 0.0)
    await eventually(lambda: len([*queues._intake.reader(ship.name).held]) == 2)
    # As while the consumer's peers choose a leader: the server answers at once that nobody listens.
    name = first.source.consumer
    await call(queues._connection, f"CONSUMER.DELETE.{name.stream}.{name.name}")
    with pytest.raises(CatgaError) as raised:
        await queues.complete(first)
    assert raised.value.details["outcome"] == "unknown"
    assert await nothing(queues, ship)


async def test_a_receiver_that_waits_goes_on_requesting(running: Running) -> None:
    queues = await running.start(order_groups=1)
    ship = events()
    await queues.declare([ship])
    loop = asyncio.get_running_loop()
    receiving = asyncio.create_task(queues.receive(ship.name, limit=1, timeout=SECONDS))
    reader = queues._intake.reader(ship.name)
    await eventually(lambda: reader._waiter is not None)
    # After a process stood still, a wake-up and the renewal of leases come in one turn of the loop.
    reader.wake()
    assert not reader.is_busy(loop.time() + 60)
    await queues.publish(queued("m1"))
    assert ids(await receiving) == ["m1"]
    assert reader.is_busy(loop.time() + 60)


async def test_what_waits_behind_a_key_is_bounded_in_bytes(running: Running) -> None:
    queues = await running.start(order_groups=1, max_buffered_bytes=10_000)
    ship = events()
    await queues.declare([ship])
    for number in range(60):
        await queues.publish(queued(f"m{number:02}", key="k", data=b"." * 5_000))
    seen: list[str] = []
    async with asyncio.timeout(SECONDS):
        while len(seen) < 60:
            for each in await queues.receive(ship.name, limit=16, timeout=1.0):
                # Two of them, and what free handlers had requested before.
                assert len([*queues._intake.reader(ship.name).held]) <= 2 + 16
                seen += ids([each])
                await queues.complete(each)
    assert seen == sorted(seen)
