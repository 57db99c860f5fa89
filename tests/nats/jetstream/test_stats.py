"""What an operator sees of queues over JetStream."""

from __future__ import annotations

import pytest

from tests.nats.jetstream.support import Running, events, queued, receive

pytestmark = pytest.mark.nats


async def test_the_messages_of_a_renamed_handler_are_seen(running: Running) -> None:
    former = await running.start()
    await former.declare([events("pack"), events("ship")])
    for each in range(3):
        await former.publish(queued(f"m{each}", key=f"k{each}" if each else None))
    (done,) = await receive(former, events("pack"), 1)
    await former.complete(done)
    await former.stop()
    renamed = await running.start()
    await renamed.declare([events("ship"), events("send")])
    left = (await renamed.stats())["event:shop:pack"]
    assert (left.ready, left.oldest_at is not None) == (2, True)


async def test_the_queues_of_another_service_are_its_own(running: Running) -> None:
    other = await running.start()
    await other.declare([events("ship")])
    await other.publish(queued("m1"))
    web = await running.start()
    assert await web.stats() == {}
