"""Messages of one key are handled one after the other, by whichever process owns the key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from catga_nats.jetstream.layout import Layout, group_of, partition_of
from catga_nats.jetstream.queues import JetStreamQueues
from catga_testing.servers import Link
from catga_testing.waiting import eventually
from tests.nats.jetstream.support import Running, events, ids, nothing, queued, receive

pytestmark = pytest.mark.nats


async def publish(queues: JetStreamQueues, key: str, *names: str) -> None:
    for each in names:
        await queues.publish(queued(each, key=key))


async def test_of_one_key_one_message_is_given(running: Running) -> None:
    queues = await running.start()
    ship = events()
    await queues.declare([ship])
    await publish(queues, "a", "a1", "a2", "a3")
    await publish(queues, "b", "b1", "b2")
    got = await receive(queues, ship, 2)
    assert sorted(ids(got)) == ["a1", "b1"]
    assert await nothing(queues, ship)
    await queues.complete(got[0])
    (next_,) = await receive(queues, ship, 1)
    assert ids([next_])[0] == ids(got)[0][0] + "2"
    await queues.retry(next_, delay=0.3, error="no")
    assert await nothing(queues, ship, 0.1)
    (again,) = await receive(queues, ship, 1)
    assert (again.sequence, again.attempt) == (next_.sequence, 2)


async def test_messages_behind_another_keep_their_first_attempt(running: Running) -> None:
    queues = await running.start()
    ship = events(lease=1.0)
    await queues.declare([ship])
    await publish(queues, "a", "a1", "a2")
    (first,) = await receive(queues, ship, 1)
    for _ in range(5):
        assert await nothing(queues, ship, 0.4)
        assert await queues.extend([first])
    await queues.complete(first)
    (second,) = await receive(queues, ship, 1)
    assert (ids([second]), second.attempt) == (["a2"], 1)


async def test_a_discarded_message_lets_the_next_go(running: Running) -> None:
    queues = await running.start()
    ship = events()
    await queues.declare([ship])
    await publish(queues, "a", "a1", "a2")
    (first,) = await receive(queues, ship, 1)
    assert await queues.discard(first)
    assert ids(await receive(queues, ship, 1)) == ["a2"]


async def test_what_a_process_had_comes_first_at_its_successor(running: Running) -> None:
    ship = events(lease=1.0)
    async with Link(running.url) as link:
        first = await running.start(url=link.url)
        await first.declare([ship])
        await publish(first, "a", "a1", "a2")
        (got,) = await receive(first, ship, 1)
        assert ids([got]) == ["a1"]
        # As if it were killed: nothing is given back, and no lease is renewed.
        await link.cut()
        second = await running.start()
        await second.declare([ship])
        await publish(second, "a", "a3")
        seen: list[str] = []
        for _ in range(3):
            (one,) = await receive(second, ship, 1)
            seen += ids([one])
            await second.complete(one)
    assert seen == ["a1", "a2", "a3"]


async def test_processes_share_the_keys_and_hand_them_over(running: Running) -> None:
    ship = events(lease=2.0)
    first = await running.start()
    await first.declare([ship])
    keys = [f"k{each}" for each in range(40)]
    handled: dict[str, list[int]] = {key: [] for key in keys}
    by: dict[str, set[int]] = {key: set() for key in keys}
    active: set[str] = set()
    published = 0

    async def consume(number: int, queues: JetStreamQueues) -> None:
        async def handle(each: object) -> None:
            message = each.message  # type: ignore[attr-defined]
            assert message.key not in active
            active.add(message.key)
            await asyncio.sleep(0.001)
            handled[message.key].append(int(message.data))
            by[message.key].add(number)
            active.discard(message.key)
            await queues.complete(each)  # type: ignore[arg-type]

        while True:
            got = await queues.receive(ship.name, limit=16, timeout=1.0)
            await asyncio.gather(*(handle(each) for each in got))

    async def publish_round() -> None:
        nonlocal published
        for _ in range(5):
            await asyncio.gather(*(first.publish(queued(key=key, data=b"%d" % published)) for key in keys))
            published += 1

    consuming = [asyncio.create_task(consume(1, first))]
    await publish_round()
    second = await running.start()
    await second.declare([ship])
    consuming.append(asyncio.create_task(consume(2, second)))
    async with asyncio.timeout(20):
        while not any(2 in each for each in by.values()):
            await publish_round()
    await publish_round()
    await eventually(lambda: all(len(each) == published for each in handled.values()), within=20)
    # The second one goes; the first has all again.
    consuming[1].cancel()
    await asyncio.gather(consuming[1], return_exceptions=True)
    await second.stop()
    await publish_round()
    await eventually(lambda: all(len(each) == published for each in handled.values()), within=20)
    consuming[0].cancel()
    await asyncio.gather(consuming[0], return_exceptions=True)
    assert all(each == [*range(published)] for each in handled.values())


def test_the_partition_of_a_key_never_changes() -> None:
    # Written down in docs/nats-layout.md; other languages compute it too.
    assert [partition_of(each) for each in ("", "order-1", "käse")] == [52, 61, 41]
    assert {group_of(each, 8) for each in range(64)} == {*range(8)}


def test_every_partition_has_one_consumer() -> None:
    layout = Layout("shop", 7)
    filters: Sequence[str] = [
        each for group in range(7) for each in layout.filters(("a", "a.b"), f"g{group}", command=False)
    ]
    assert len(filters) == len({*filters}) == 128


@pytest.mark.parametrize("handed_out", [False, True])
async def test_a_late_acknowledgement_lets_no_later_message_pass_a_redelivery(
    running: Running, handed_out: bool
) -> None:
    short = events(lease=1.0)
    async with Link(running.url) as link:
        queues = await running.start(url=link.url, order_groups=1, membership_seconds=30.0)
        await queues.declare([short])
        await publish(queues, "k", "m1", "m2")
        reader = queues._intake.reader(short.name)
        (first,) = await receive(queues, short, 1)
        # They request the second message, which waits for the first, and one more.
        assert await nothing(queues, short, 0.0)
        await eventually(lambda: len([*reader.held]) == 2)
        assert await nothing(queues, short, 0.0)
        assert await queues._connection.flush()
        await link.stall("to_server")
        completing = asyncio.create_task(queues.complete(first))
        place = first.sequence
        await eventually(
            lambda: any(each.sequence == place and each is not first for each in reader.held), within=10
        )
        again = await reader.receive(1, 0.0) if handed_out else []
        assert ids(again) == ["m1"] * handed_out
        await link.restore()
        await completing
        for each in again:
            assert await nothing(queues, short, 0.05)
            await queues.complete(each)
        assert ids(await receive(queues, short, 1)) == ["m2"]
