"""Commands wait at the server until their time, can be found there, and be cancelled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from catga_core.errors import MessageIdConflictError
from catga_core.interfaces.queue import QueueFilter, QueueState
from catga_nats.jetstream.received import JetMessage
from catga_nats.jetstream.schedules import OwnSchedules, schedule_headers
from catga_nats.jetstream.state import Bucket
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually
from tests.nats.jetstream.support import Running, commands, events, ids, nothing, queued, receive

pytestmark = pytest.mark.nats

BILL = "orders.bill"


@pytest.fixture(params=["server", "framework"])
async def running(jetstream_shared: NatsServer, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """Starts transports whose commands are published by the server, and by themselves."""
    running = Running(jetstream_shared.url, schedules=request.param)
    yield running
    await running.stop()


async def test_a_command_comes_at_its_time_whoever_runs_then(running: Running) -> None:
    first = await running.start()
    due = time.time() + 1.5
    await first.enqueue(queued("m1", name=BILL, due_at=due, key="a"))
    await first.stop()
    second = await running.start()
    bill = commands()
    await second.declare([bill])
    (got,) = await receive(second, bill, 1)
    assert time.time() >= due - 0.01
    assert (ids([got]), got.message.due_at, got.message.key) == (["m1"], due, "a")
    await second.complete(got)
    assert (await second.stats())[bill.name].scheduled == 0


async def test_an_id_is_scheduled_once(running: Running) -> None:
    queues = await running.start()
    bill = commands()
    await queues.declare([bill])
    for _ in range(2):
        await queues.enqueue(queued("m1", name=BILL, due_at=time.time() + 1.0))
    assert (await queues.stats())[bill.name].scheduled == 1
    assert ids(await receive(queues, bill, 1)) == ["m1"]
    assert await nothing(queues, bill, 1.5)


async def test_a_repetition_after_the_duplicate_window_postpones_nothing(running: Running) -> None:
    queues = await running.start(duplicate_window_seconds=0.2)
    bill = commands()
    await queues.declare([bill])
    due = time.time() + 1.5
    await queues.enqueue(queued("m1", name=BILL, due_at=due, fingerprint="orders.bill@1#aa"))
    await asyncio.sleep(0.5)  # the server's window, which no clock moves

    await queues.enqueue(queued("m1", name=BILL, due_at=due + 60, fingerprint="orders.bill@1#aa"))
    with pytest.raises(MessageIdConflictError):
        await queues.enqueue(queued("m1", name=BILL, due_at=due + 60, fingerprint="orders.bill@1#bb"))

    (got,) = await receive(queues, bill, 1)
    assert got.message.due_at == due


async def test_a_cancelled_command_never_comes(running: Running) -> None:
    queues = await running.start()
    bill = commands()
    await queues.declare([bill])
    await queues.enqueue(queued("m1", name=BILL, due_at=time.time() + 1.0))
    assert await queues.cancel(bill.name, "m1")
    assert not await queues.cancel(bill.name, "m1")
    assert not await queues.cancel(events().name, "m1")
    assert await nothing(queues, bill, 2.0)
    assert await queues.get(bill.name, "m1") is None


async def test_the_id_of_a_cancelled_command_can_be_enqueued_again(running: Running) -> None:
    queues = await running.start()
    bill = commands()
    await queues.declare([bill])
    for _ in range(2):
        await queues.enqueue(queued("m1", name=BILL, due_at=time.time() + 60))
        assert await queues.cancel(bill.name, "m1")
    for _ in range(2):
        await queues.enqueue(queued("m1", name=BILL))
    assert ids(await receive(queues, bill, 1)) == ["m1"]
    assert await nothing(queues, bill)


async def test_waiting_commands_are_found_a_page_at_a_time(running: Running) -> None:
    queues = await running.start()
    await queues.enqueue(queued("now", name=BILL))
    await queues.enqueue(queued("later", name=BILL, due_at=time.time() + 60, key="a"))
    await queues.enqueue(queued("other", name="orders.other", due_at=time.time() + 60))
    wanted = QueueFilter(queue=commands().name)
    first = await queues.find(wanted, limit=1)
    second = await queues.find(wanted, after=first.next, limit=1)
    found = [*first.entries, *second.entries]
    assert [(each.message.context.message_id, each.state) for each in found] == [
        ("now", QueueState.READY),
        ("later", QueueState.SCHEDULED),
    ]
    assert second.next is None
    (by_key,) = (await queues.find(QueueFilter(key="a"))).entries
    assert by_key == found[1]
    assert len((await queues.find()).entries) == 3
    assert await queues.get(commands().name, "later") == found[1]


async def test_a_cancellation_that_comes_too_late_leaves_the_id_known(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues = await running.start()
    bill = commands()
    await queues.declare([bill])
    await queues.enqueue(queued("m1", name=BILL, due_at=time.time() + 1.0))
    real = Bucket.put
    got: list[JetMessage] = []

    async def late(self: Bucket, key: str, value: bytes, **more: Any) -> int | None:
        if key.startswith("cancelled.") and not got:
            got.extend(await receive(queues, bill, 1))
        return await real(self, key, value, **more)

    monkeypatch.setattr(Bucket, "put", late)
    assert not await queues.cancel(bill.name, "m1")
    await queues.enqueue(queued("m1", name=BILL))
    assert ids(got) == ["m1"]
    assert await nothing(queues, bill)


async def test_a_late_cancellation_keeps_an_earlier_one(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues = await running.start()
    bill = commands()
    await queues.declare([bill])
    await queues.enqueue(queued("m1", name=BILL, due_at=time.time() + 60))
    real = Bucket.put
    begun: list[bool] = []

    async def overtaken(self: Bucket, key: str, value: bytes, **more: Any) -> int | None:
        if key.startswith("cancelled.") and not begun:
            begun.append(True)
            begun.append(await queues.cancel(bill.name, "m1"))
        return await real(self, key, value, **more)

    monkeypatch.setattr(Bucket, "put", overtaken)
    assert not await queues.cancel(bill.name, "m1")
    assert begun == [True, True]
    for _ in range(2):
        await queues.enqueue(queued("m1", name=BILL))
    assert ids(await receive(queues, bill, 1)) == ["m1"]
    assert await nothing(queues, bill)


async def test_a_process_that_dies_after_the_publish_enqueues_nothing_twice(
    jetstream_shared: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledged: list[bytes] = []
    real = OwnSchedules._send

    def send(self: OwnSchedules, reply: bytes, word: bytes) -> None:
        if word == b"+ACK":
            acknowledged.append(word)
            if len(acknowledged) == 1:
                return
        real(self, reply, word)

    monkeypatch.setattr(OwnSchedules, "_send", send)
    running = Running(jetstream_shared.url, schedules="framework", duplicate_window_seconds=3.0)
    queues = await running.start()
    bill = commands()
    await queues.declare([bill])
    await queues.enqueue(queued("m1", name=BILL, due_at=time.time() + 0.2))
    (got,) = await receive(queues, bill, 1)
    await queues.complete(got)
    await eventually(lambda: len(acknowledged) == 2, within=10)
    assert await nothing(queues, bill, 0.2)
    assert (await queues.stats())[bill.name].scheduled == 0
    await running.stop()


@pytest.mark.parametrize("due_at", [1796031660.0039067, 1796031660.1234564, 1796031660.0, 0.1])
def test_a_schedule_is_no_earlier_than_its_time(due_at: float) -> None:
    at = schedule_headers(b"x", due_at)["Nats-Schedule"].removeprefix("@at ")
    whole = datetime.fromisoformat(at) - datetime(1970, 1, 1, tzinfo=UTC)
    late = Fraction(whole // timedelta(microseconds=1), 1_000_000) - Fraction(due_at)
    assert 0 <= late < Fraction(1, 1_000_000)
