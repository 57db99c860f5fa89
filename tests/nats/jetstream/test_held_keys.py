"""A held key's later messages wait in order until it is released, and come before newer ones."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from catga_nats.jetstream import wire
from catga_nats.jetstream.publishing import Publishing
from catga_nats.jetstream.queues import JetStreamQueues
from catga_nats.jetstream.state import Bucket, Entry
from catga_testing.waiting import eventually
from tests.nats.jetstream.support import Running, events, ids, nothing, queued, receive

pytestmark = pytest.mark.nats


async def publish(queues: JetStreamQueues, *names: str, key: str = "a") -> None:
    for each in names:
        await queues.publish(queued(each, key=key))


async def test_messages_of_a_held_key_come_in_order_after_its_release(running: Running) -> None:
    queues = await running.start()
    ship = events()
    await queues.declare([ship])
    await publish(queues, "a1", "a2", "a3")
    (first,) = await receive(queues, ship, 1)
    assert await queues.discard(first, hold_key=True)
    await publish(queues, "a4")
    await publish(queues, "b1", key="b")
    (other,) = await receive(queues, ship, 1)
    assert ids([other]) == ["b1"]
    await queues.complete(other)
    assert await nothing(queues, ship)
    assert (await queues.stats())[ship.name].held_keys == 1
    assert await queues.release_key(ship.name, "a")
    assert not await queues.release_key(ship.name, "a")
    await publish(queues, "a5")
    seen: list[str] = []
    for _ in range(4):
        (got,) = await receive(queues, ship, 1)
        seen += ids([got])
        await queues.complete(got)
    assert seen == ["a2", "a3", "a4", "a5"]

    async def is_free() -> bool:
        return (await queues.stats())[ship.name].held_keys == 0

    await eventually(is_free, within=10)
    await publish(queues, "a6")
    assert ids(await receive(queues, ship, 1)) == ["a6"]


async def test_another_process_goes_on_with_a_held_key(running: Running) -> None:
    ship = events()
    first = await running.start()
    await first.declare([ship])
    await publish(first, "a1", "a2")
    (got,) = await receive(first, ship, 1)
    await first.discard(got, hold_key=True)
    assert await nothing(first, ship)
    await first.stop()
    second = await running.start()
    await second.declare([ship])
    await publish(second, "a3")
    assert await nothing(second, ship)
    assert await second.release_key(ship.name, "a")
    seen: list[str] = []
    for _ in range(2):
        (got,) = await receive(second, ship, 1)
        seen += ids([got])
        await second.complete(got)
    assert seen == ["a2", "a3"]


async def test_a_released_message_that_fails_again_holds_the_key_again(running: Running) -> None:
    queues = await running.start()
    ship = events()
    await queues.declare([ship])
    await publish(queues, "a1", "a2", "a3")
    (got,) = await receive(queues, ship, 1)
    await queues.discard(got, hold_key=True)
    assert await nothing(queues, ship)
    await queues.release_key(ship.name, "a")
    (got,) = await receive(queues, ship, 1)
    assert ids([got]) == ["a2"]
    await queues.discard(got, hold_key=True)
    assert await nothing(queues, ship, 1.5)
    assert await queues.release_key(ship.name, "a")
    assert ids(await receive(queues, ship, 1)) == ["a3"]


async def test_a_key_that_is_not_held_is_not_released(running: Running) -> None:
    queues = await running.start()
    assert not await queues.release_key("event:shop:ship", "a")


async def test_a_key_is_held_until_all_that_is_being_parked_is_kept(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues = await running.start()
    ship = events()
    await queues.declare([ship])
    await publish(queues, "a1", "a2")
    (first,) = await receive(queues, ship, 1)
    await queues.discard(first, hold_key=True)
    assert await nothing(queues, ship)
    assert await queues.release_key(ship.name, "a")
    (second,) = await receive(queues, ship, 1)
    begun, go_on = asyncio.Event(), asyncio.Event()
    real = Publishing.publish

    async def slow(self: Publishing, subject: bytes, *rest: Any) -> wire.Acknowledged:
        if b".parked." in subject:
            begun.set()
            await go_on.wait()
        return await real(self, subject, *rest)

    monkeypatch.setattr(Publishing, "publish", slow)
    await publish(queues, "a3")
    receiving = asyncio.create_task(receive(queues, ship, 1))
    await asyncio.wait_for(begun.wait(), 10)
    await queues.complete(second)
    # Longer than between two looks at whether everything that was parked is handled.
    await asyncio.wait([receiving], timeout=2.0)
    assert (await queues.stats())[ship.name].held_keys == 1
    go_on.set()
    (third,) = await receiving
    assert ids([third]) == ["a3"]
    await queues.complete(third)


async def test_a_listing_that_is_older_than_a_hold_changes_nothing(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues = await running.start()
    ship = events()
    await queues.declare([ship])
    await publish(queues, "a1")
    (first,) = await receive(queues, ship, 1)
    listed, held = asyncio.Event(), asyncio.Event()
    real = Bucket.list

    async def late(self: Bucket, patterns: Sequence[str]) -> Mapping[str, Entry]:
        found = await real(self, patterns)
        if any(each.startswith("held.") for each in patterns):
            listed.set()
            await held.wait()
        return found

    monkeypatch.setattr(Bucket, "list", late)
    await asyncio.wait_for(listed.wait(), 10)
    assert await queues.discard(first, hold_key=True)
    held.set()
    await publish(queues, "a2")
    assert await nothing(queues, ship)
    assert await queues.release_key(ship.name, "a")
    assert ids(await receive(queues, ship, 1)) == ["a2"]


async def test_more_keys_are_listed_than_the_server_lists_at_once(running: Running) -> None:
    bucket = (await running.start())._state
    await asyncio.gather(*(bucket.put(f"held.q.k{each}", b"held") for each in range(1_100)))
    await asyncio.gather(*(bucket.remove(f"held.q.k{each}") for each in range(20)))

    listed = await bucket.list(["held.q.*", "owner.q"])

    assert len(listed) == 1_080
