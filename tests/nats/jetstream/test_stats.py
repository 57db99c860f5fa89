"""What an operator sees of queues over JetStream."""

from __future__ import annotations

from typing import Any

import pytest

from catga_core.interfaces.durable_transport import QueueDefinition, event_queue
from catga_core.messages import MessageKind
from catga_nats.jetstream.looking import Looking
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


async def test_the_queues_of_another_service_are_its_own(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await running.start()
    theirs = event_queue("bills", "charge")
    names = ("orders.placed",)
    await other.declare([QueueDefinition(theirs, MessageKind.EVENT, names, "charge", 16, 3.0)])
    await other.publish(queued("m1"))
    web = await running.start()
    await web.declare([events("ship")])
    asked: list[str] = []
    ask = Looking._ask

    async def asking(self: Looking, what: str, body: dict[str, Any] | None) -> dict[str, Any]:
        asked.append(what)
        return await ask(self, what, body)

    monkeypatch.setattr(Looking, "_ask", asking)
    assert [*await web.stats()] == ["event:shop:ship"]
    assert not [each for each in asked if "bills" in each]
