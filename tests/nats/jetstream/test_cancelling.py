"""A command that is due is cancelled as long as no process was given it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from catga_core.interfaces.durable_transport import QueueDefinition
from catga_core.messages.delivery import Priority
from catga_nats.jetstream.queues import JetStreamQueues
from catga_nats.jetstream.received import JetMessage
from catga_testing.servers import NatsServer
from tests.nats.jetstream.support import Running, commands, events, ids, nothing, queued, receive

pytestmark = pytest.mark.nats

BILL = "orders.bill"


@pytest.fixture(params=["server", "framework"])
async def running(jetstream_shared: NatsServer, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """Starts transports whose commands are published by the server, and by themselves."""
    running = Running(jetstream_shared.url, schedules=request.param)
    yield running
    await running.stop()


@pytest.mark.parametrize("declared", [True, False], ids=["a consumer", "no consumer"])
@pytest.mark.parametrize("more", [{}, {"key": "a"}, {"priority": Priority.LOW}], ids=["plain", "key", "low"])
async def test_a_due_command_that_no_process_was_given_is_cancelled(
    running: Running, more: dict[str, Any], declared: bool
) -> None:
    queues = await running.start()
    bill = commands()
    if declared:
        await queues.declare([bill])
    for each in ("m1", "m2", "m3"):
        await queues.enqueue(queued(each, name=BILL, **more))

    assert await queues.cancel(bill.name, "m2")

    assert not await queues.cancel(bill.name, "m2")
    assert not await queues.cancel(events().name, "m1")
    assert await queues.get(bill.name, "m2") is None
    await queues.declare([bill])
    assert ids(await _all(queues, bill, 2)) == ["m1", "m3"]
    await queues.enqueue(queued("m2", name=BILL, **more))
    assert ids(await _all(queues, bill, 1)) == ["m2"]
    assert await nothing(queues, bill)


async def test_a_command_that_a_process_was_given_is_not_cancelled(running: Running) -> None:
    queues, other = await running.start(), await running.start()
    bill = commands()
    await queues.declare([bill])
    for each in ("m1", "m2", "m3"):
        await queues.enqueue(queued(each, name=BILL))
    (got,) = await receive(queues, bill, 1)

    assert not await other.cancel(bill.name, "m1")
    # The process may have requested one more.
    assert await other.cancel(bill.name, "m3")

    await queues.retry(got, delay=0.0, error="not yet")
    assert not await other.cancel(bill.name, "m1")
    assert sorted(ids(await _all(queues, bill, 2))) == ["m1", "m2"]
    assert not await other.cancel(bill.name, "m1")
    await queues.enqueue(queued("m1", name=BILL))
    assert await nothing(queues, bill)


async def _all(queues: JetStreamQueues, queue: QueueDefinition, count: int) -> list[JetMessage]:
    got: list[JetMessage] = []
    for _ in range(count):
        (message,) = await receive(queues, queue, 1)
        await queues.complete(message)
        got.append(message)
    return got
