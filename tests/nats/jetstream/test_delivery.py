"""Messages are published, received and settled."""

from __future__ import annotations

import asyncio
import time

import nats
import pytest

from catga_core.errors import CatgaError, LeaseLostError, MessageIdConflictError
from catga_core.messages.delivery import Priority
from catga_core.messages.message_context import MessageContext
from catga_nats.jetstream import wire
from tests.nats.jetstream.support import Running, commands, events, ids, nothing, queued, receive

pytestmark = pytest.mark.nats


async def test_an_event_reaches_every_queue_that_takes_it(running: Running) -> None:
    queues = await running.start()
    ship, bill = events("ship"), events("bill")
    await queues.declare([ship, bill])
    await queues.publish(queued("m1"))
    for queue in (ship, bill):
        (got,) = await receive(queues, queue, 1)
        assert (got.queue, ids([got]), got.attempt) == (queue.name, ["m1"], 1)
        await queues.complete(got)
    assert (await queues.stats())[ship.name].ready == 0


async def test_everything_of_a_message_arrives(running: Running) -> None:
    queues = await running.start()
    bill = commands()
    await queues.declare([bill])
    context = MessageContext(
        "id ü.*>",
        "correlation",
        "cause",
        None,
        {"tenant": "a b\n"},
        "00-" + "1" * 32 + "-" + "2" * 16 + "-01",
    )
    message = queued(
        name="orders.bill", key="käy .*", priority=Priority.HIGH, created_at=1.25, data=b"\0\r\n"
    )
    message = type(message)(
        **{each: getattr(message, each) for each in message.__struct_fields__} | {"context": context}
    )
    await queues.enqueue(message)
    (got,) = await receive(queues, bill, 1)
    assert got.message == message


async def test_an_id_is_kept_once(running: Running) -> None:
    queues = await running.start()
    ship = events()
    await queues.declare([ship])
    for _ in range(3):
        await queues.publish(queued("m1"))
    await queues.publish(queued("m2"))
    got = await receive(queues, ship, 2)
    assert ids(got) == ["m1", "m2"]
    assert await nothing(queues, ship)


async def test_other_content_under_an_id_is_a_conflict_until_it_is_handled(running: Running) -> None:
    queues = await running.start()
    ship = events()
    await queues.declare([ship])
    other = queued("m1", fingerprint="orders.placed@1#bb")
    await queues.publish(queued("m1", fingerprint="orders.placed@1#aa"))
    with pytest.raises(MessageIdConflictError):
        await queues.publish(other)
    [got] = await receive(queues, ship, 1)
    with pytest.raises(MessageIdConflictError):
        await queues.publish(other)

    await queues.complete(got)

    await queues.publish(other)
    assert await nothing(queues, ship)


async def test_an_id_is_new_after_the_duplicate_window(running: Running) -> None:
    queues = await running.start(duplicate_window_seconds=0.2)
    ship = events()
    await queues.declare([ship])
    await queues.publish(queued("m1", fingerprint="orders.placed@1#aa"))
    await queues.complete(*await receive(queues, ship, 1))
    await asyncio.sleep(0.5)  # the server's window, which no clock moves

    await queues.publish(queued("m1", fingerprint="orders.placed@1#bb"))

    assert ids(await receive(queues, ship, 1)) == ["m1"]


async def test_many_are_published_at_once(running: Running) -> None:
    queues = await running.start()
    ship = events()
    await queues.declare([ship])
    sent = [queued() for _ in range(500)]
    await asyncio.gather(*(queues.publish(each) for each in sent))
    got = await receive(queues, ship, 500)
    assert {*ids(got)} == {each.context.message_id for each in sent}
    await asyncio.gather(*(queues.complete(each) for each in got))


async def test_a_failed_message_comes_again_after_its_delay(running: Running) -> None:
    queues = await running.start()
    ship = events()
    await queues.declare([ship])
    await queues.publish(queued("m1"))
    (got,) = await receive(queues, ship, 1)
    began = time.monotonic()
    await queues.retry(got, delay=0.5, error="no")
    (again,) = await receive(queues, ship, 1)
    assert time.monotonic() - began > 0.45
    assert again.attempt == 2
    await queues.complete(again)


async def test_a_message_that_is_given_back_has_made_no_attempt(running: Running) -> None:
    queues = await running.start()
    ship = events()
    await queues.declare([ship])
    await queues.publish(queued("m1"))
    for _ in range(3):
        (got,) = await receive(queues, ship, 1)
        assert got.attempt == 1
        await queues.release([got])
    (got,) = await receive(queues, ship, 1)
    await queues.retry(got, delay=0.0, error="no")
    (got,) = await receive(queues, ship, 1)
    assert got.attempt == 2


async def test_a_message_that_is_not_extended_goes_to_another_process(running: Running) -> None:
    first, second = await running.start(), await running.start()
    ship = events(lease=1.0)
    await first.declare([ship])
    await first.publish(queued("m1"))
    (got,) = await receive(first, ship, 1)
    await second.declare([ship])
    (taken,) = await receive(second, ship, 1)
    assert taken.attempt >= 2
    assert await first.extend([got]) == []
    with pytest.raises(LeaseLostError):
        await first.complete(got)
    assert not await first.discard(got)
    await second.complete(taken)


async def test_a_message_that_is_extended_stays(running: Running) -> None:
    first, second = await running.start(), await running.start()
    ship = events(lease=1.0)
    await first.declare([ship])
    await second.declare([ship])
    await first.publish(queued("m1"))
    (got,) = await receive(first, ship, 1)
    for _ in range(4):
        assert await nothing(second, ship, 0.5)
        assert await first.extend([got]) == [got]
    await first.complete(got)


async def test_a_discarded_message_is_gone(running: Running) -> None:
    queues = await running.start()
    ship = events(lease=1.0)
    await queues.declare([ship])
    await queues.publish(queued("m1"))
    (got,) = await receive(queues, ship, 1)
    assert await queues.discard(got)
    assert not await queues.discard(got)
    assert await nothing(queues, ship, 1.5)


async def test_a_cancelled_receive_leaves_nothing_received(running: Running) -> None:
    first, second = await running.start(), await running.start()
    ship = events(lease=30.0)
    await first.declare([ship])
    receiving = asyncio.ensure_future(first.receive(ship.name, limit=5, timeout=10.0))
    await asyncio.sleep(0)
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    await second.declare([ship])
    await first.publish(queued("m1"))
    (got,) = await receive(second, ship, 1)
    assert got.attempt == 1


async def test_high_priority_comes_first(running: Running) -> None:
    queues = await running.start()
    bill = commands()
    for number, priority in enumerate([Priority.LOW, Priority.NORMAL, Priority.HIGH]):
        await queues.enqueue(queued(f"m{number}", name="orders.bill", priority=priority))
    await queues.declare([bill])
    got: list[str] = []
    while len(got) < 3:
        (one,) = await receive(queues, bill, 1)
        await queues.complete(one)
        got += ids([one])
    assert got[-1] in {"m0", "m1"}


async def test_what_cannot_be_read_is_received_with_its_bytes(running: Running) -> None:
    queues = await running.start()
    ship = events()
    await queues.declare([ship])
    client = await nats.connect(running.url)
    subject = f"{running.prefix}.js.event.orders.placed.any"
    await client.jetstream().publish(subject, b"\xffjunk")
    await client.jetstream().publish(
        subject, b"more", headers={"Nats-Msg-Id": "m2", "catga-format": "1", "catga-version": "x"}
    )
    await client.close()
    one, two = await receive(queues, ship, 2)
    assert (one.message.name, one.message.format, one.message.data) == (
        "orders.placed",
        wire.UNREADABLE,
        b"\xffjunk",
    )
    assert (two.message.context.message_id, two.message.data) == ("m2", b"more")
    assert await queues.discard(one)


async def test_publishing_between_start_and_stop_only(running: Running) -> None:
    queues = running.make()
    with pytest.raises(CatgaError, match="not started"):
        await queues.publish(queued())
