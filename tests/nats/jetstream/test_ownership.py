"""Which process owns which keys, and how a process gives them up."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from catga_core.errors import CatgaError, LeaseLostError
from catga_core.interfaces.durable_transport import QueueDefinition
from catga_core.interfaces.health import HealthStatus
from catga_nats.jetstream.api import NoJetStreamError
from catga_nats.jetstream.layout import consumer_name
from catga_nats.jetstream.ownership import Ownership, _owner_of
from catga_nats.jetstream.queues import JetStreamQueues
from catga_nats.jetstream.received import JetMessage
from catga_nats.jetstream.state import Bucket
from catga_testing.servers import Link
from catga_testing.waiting import eventually
from tests.nats.jetstream.support import SECONDS, Running, events, ids, nothing, queued, receive

pytestmark = pytest.mark.nats

SHIP = events()
# For tests that hold messages without renewing them.
LONG = events(lease=30.0)
KEYS = [f"k{each}" for each in range(24)]


async def publish_all(queues: JetStreamQueues, word: str) -> None:
    for each in KEYS:
        await queues.publish(queued(f"{word}-{each}", key=each))


async def second_of(
    running: Running, first: JetStreamQueues, queue: QueueDefinition = SHIP, **options: Any
) -> JetStreamQueues:
    """Start a second process that receives, and wait until the first one leaves groups to it."""
    second = await running.start(**options)
    # Which groups it gets is computed from its id: one that gets some, and not all.
    members, token = second._intake._ownership, consumer_name(queue.name)
    here = first._intake._ownership
    while len({_owner_of(token, each, [here._member, members._member]) for each in range(here._groups)}) == 1:
        members._member = secrets.token_hex(8)
    await second.declare([queue])
    assert await nothing(second, queue, 0.01)
    while not here._leaving:
        await here.turn()
    return second


async def test_a_process_that_only_publishes_owns_no_keys(running: Running) -> None:
    web = await running.start()
    await web.declare([SHIP])
    await publish_all(web, "m")
    worker = await running.start()
    await worker.declare([SHIP])
    got = await receive(worker, SHIP, len(KEYS))
    assert {each.message.key for each in got} == {*KEYS}
    assert not web._intake._ownership._owned


async def test_a_group_is_left_when_the_lease_of_an_unsettled_message_ends(running: Running) -> None:
    first = await running.start(order_groups=4)
    await first.declare([SHIP])
    await publish_all(first, "m")
    had = await receive(first, SHIP, len(KEYS))
    second = await second_of(running, first, order_groups=4)
    leaving = {*first._intake._ownership._leaving}
    # Nobody settles or renews what the first one has; a late attempt to settle is refused.
    await eventually(lambda: all(each.is_abandoned for each in had), within=10)
    for each in had:
        with pytest.raises(LeaseLostError):
            await first.complete(each)
    await eventually(lambda: leaving <= second._intake._ownership._owned, within=10)


async def test_a_retry_while_a_group_is_left_does_not_keep_the_group(running: Running) -> None:
    first = await running.start(order_groups=4)
    await first.declare([LONG])
    await publish_all(first, "m")
    had = await receive(first, LONG, len(KEYS))
    # Half of them wait for another attempt before the group is left, half of them fail after that.
    for each in had[::2]:
        await first.retry(each, delay=60.0, error="no")
    second = await second_of(running, first, LONG, order_groups=4)
    for each in had[1::2]:
        await first.retry(each, delay=60.0, error="no")
    leaving = {group for _, group in first._intake._ownership._leaving}
    moved = {
        each.message.context.message_id: each for each in had if int(each.source.consumer.slot[1:]) in leaving
    }
    assert moved
    again = await receive(second, LONG, len(moved))
    assert {*ids(again)} == {*moved}
    # They were attempts.
    assert {each.attempt for each in again} == {2}


async def test_all_that_a_former_owner_had_is_requested_at_once(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A receiver that must look again by itself has not requested what it waits for.
    monkeypatch.setattr("catga_nats.jetstream.reader._LOOK_AGAIN", 2 * SECONDS)
    first = await running.start(order_groups=1)
    await first.declare([LONG])
    await publish_all(first, "m")
    had = await receive(first, LONG, len(KEYS))
    await first.release(had)
    await first.stop()
    second = await running.start(order_groups=1)
    await second.declare([LONG])
    got = await second.receive(LONG.name, limit=len(KEYS), timeout=SECONDS)
    assert got


async def test_while_a_group_is_left_no_waiting_message_is_handed_out(running: Running) -> None:
    queues = await running.start(order_groups=1)
    await queues.declare([SHIP])
    for each in ("m1", "m2", "m3"):
        await queues.publish(queued(each, key="k"))
    (first,) = await receive(queues, SHIP, 1)
    await fetch(queues, 3)
    writes = Gate(queues._state, "attempt.")
    (place,) = queues._intake._groups._sources
    leave = asyncio.create_task(queues._intake._leave(*place))
    await writes.reached.wait()
    await queues.complete(first)
    assert await nothing(queues, SHIP)
    writes.open.set()
    async with asyncio.timeout(5):
        await leave


async def test_what_is_given_back_is_not_handed_out_meanwhile(running: Running) -> None:
    queues = await running.start()
    await queues.declare([SHIP])
    for each in ("m1", "m2", "m3"):
        await queues.publish(queued(each))
    (first,) = await receive(queues, SHIP, 1)
    await fetch(queues, 3)
    writes = Gate(queues._state, "attempt.")
    queues._intake.reader(SHIP.name).pause()
    await writes.reached.wait()
    assert await nothing(queues, SHIP)
    writes.open.set()
    got = await receive(queues, SHIP, 2)
    assert (sorted(ids(got)), {each.attempt for each in got}) == (["m2", "m3"], {1})
    await queues.complete(first)


async def test_a_message_whose_lease_ran_out_here_is_not_handed_out(running: Running) -> None:
    short = events(lease=1.0)
    queues = await running.start()
    await queues.declare([short])
    assert await nothing(queues, short, 0.01)
    await queues.publish(queued("m1", key="k"))
    await eventually(lambda: [*queues._intake.reader(short.name).held])
    (here,) = queues._intake.reader(short.name).held
    # As in a process that has stood still.
    here.expires_at = 0.0
    (again,) = await receive(queues, short, 1)
    assert (again is here, again.attempt) == (False, 2)


async def test_a_message_whose_lease_ran_out_while_it_was_numbered_is_not_handed_out(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = events(lease=1.0)
    queues = await running.start()
    await queues.declare([short])
    await queues.publish(queued("m1", key="k"))
    number = queues._intake.attempts.number
    numbered: list[JetMessage] = []

    async def stand_still(messages: Sequence[JetMessage]) -> bool:
        await number(messages)
        if messages and not numbered:
            numbered.extend(messages)
            messages[0].expires_at = 0.0
        return True

    monkeypatch.setattr(queues._intake.attempts, "number", stand_still)
    (again,) = await receive(queues, short, 1)
    assert (ids(numbered), ids([again]), again.attempt) == (["m1"], ["m1"], 2)


async def test_leases_are_not_kept_without_a_connection(running: Running) -> None:
    async with Link(running.url) as link:
        queues = await running.start(url=link.url)
        await queues.declare([LONG])
        await queues.publish(queued("m1", key="k"))
        had = await receive(queues, LONG, 1)
        assert await queues.extend(had) == had
        await link.cut()
        await eventually(lambda: queues.health().status is HealthStatus.UNHEALTHY)
        # The handler of a message with a key has to learn it: later ones of the key may be handled elsewhere soon.
        with pytest.raises(CatgaError):
            await queues.extend(had)


async def test_messages_whose_lease_was_lost_are_forgotten(running: Running) -> None:
    short = events(lease=1.0)
    first = await running.start()
    await first.declare([short])
    for each in range(4):
        await first.publish(queued(f"m{each}"))
    had = await receive(first, short, 4)
    second = await running.start()
    await second.declare([short])
    for message in await receive(second, short, 4):
        await second.complete(message)
    with pytest.raises(LeaseLostError):
        await first.complete(had[0])
    assert not await first.discard(had[1])
    await first.release([had[2]])
    assert not await first.extend([had[3]])
    assert not [*first._intake.reader(short.name).held]


async def test_a_group_that_another_process_has_taken_is_lost(running: Running) -> None:
    bucket = (await running.start())._state
    lost: list[tuple[str, int]] = []
    ownership = owning(bucket, lost.append)
    await ownership.add(["shop"])
    assert len(ownership._owned) == 2
    entry = await bucket.get("owner.shop")
    assert entry is not None
    other = entry.value.replace(ownership._member.encode(), b"other", 1)
    await bucket.put("member.other", b'["shop"]')
    await bucket.put("owner.shop", other)
    await ownership.turn()
    assert len(lost) == 1
    assert lost[0] not in ownership._owned


async def test_a_server_that_has_lost_its_last_writes_is_believed(running: Running) -> None:
    bucket = (await running.start())._state
    lost: list[tuple[str, int]] = []
    ownership = owning(bucket, lost.append)
    await ownership.add(["shop"])
    entry = await bucket.get("owner.shop")
    assert entry is not None
    other = entry.value.replace(ownership._member.encode(), b"other")
    await bucket.put("member.other", b'["shop"]')
    await bucket.put("owner.shop", other)
    # What it had written is gone.
    ownership._revisions["shop"] += 1000
    await ownership.turn()
    assert sorted(lost) == [("shop", 0), ("shop", 1)]
    assert not ownership._owned


async def test_after_a_late_renewal_every_group_is_lost(running: Running) -> None:
    queues = await running.start()
    lost: list[tuple[str, int]] = []
    ownership = owning(queues._state, lost.append)
    await ownership.add(["shop"])
    owned = {*ownership._owned}
    writes = Gate(queues._state, f"member.{ownership._member}")
    turn = asyncio.create_task(ownership.turn())
    await writes.reached.wait()
    loop = asyncio.get_running_loop()
    await eventually(lambda: loop.time() >= ownership.until, within=5)
    assert not lost
    writes.open.set()
    await turn
    assert {*lost} == owned


async def test_a_stop_without_the_server_leaves_nothing_running(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catga_nats.jetstream.queues._STOP_SECONDS", 0.2)
    async with Link(running.url) as link:
        queues = running.make(url=link.url)
        await queues.start()
        await queues.declare([SHIP])
        await queues.publish(queued(key="k"))
        (had,) = await receive(queues, SHIP, 1)
        await link.stall()
        queues._intake._give_back([had])
        await queues.stop()
        await eventually(lambda: not running_tasks(), within=0.5)


async def test_a_queue_that_could_not_be_opened_is_opened_by_the_next_declaration(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues = await running.start()
    with monkeypatch.context() as patch:
        patch.setattr(queues._intake, "open", fails)
        with pytest.raises(CatgaError):
            await queues.declare([SHIP])
    await queues.declare([SHIP])
    await queues.publish(queued("m"))
    assert ids(await receive(queues, SHIP, 1)) == ["m"]


async def test_a_consumer_that_cannot_be_read_leaves_no_subscription(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues = await running.start()
    await queues.declare([SHIP])
    subscriptions = queues._connection._subscriptions
    before = [*subscriptions._all]

    async def no_answer(*_: object) -> dict[str, Any]:
        raise NoJetStreamError

    with monkeypatch.context() as patch:
        patch.setattr("catga_nats.jetstream.groups.call", no_answer)
        with pytest.raises(CatgaError):
            await queues.receive(SHIP.name, limit=1, timeout=0.1)
    await eventually(lambda: subscriptions._all == before, within=5)


async def fetch(queues: JetStreamQueues, count: int) -> None:
    """Have so many messages here, whether or not anybody receives them."""
    reader, client = queues._intake.reader(SHIP.name), queues._intake._client()
    assert client is not None
    for source in reader.sources:
        source.pull(client, count)
    await eventually(lambda: len([*reader.held]) == count, within=5)


def running_tasks() -> list[str]:
    """Return what runs of the queues: workers, and what they do in the background."""
    coroutines = [each.get_coro() for each in asyncio.all_tasks()]
    shown = [f"{getattr(each, 'cr_code', None)}".replace("\\", "/") for each in coroutines]
    return [each for each in shown if "catga_nats/jetstream" in each or "worker.py" in each]


class Gate:
    """Holds up writes of keys that begin with a word, until it is opened."""

    def __init__(self, bucket: Bucket, begin: str) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        self._put = bucket.put
        self._begin = begin
        bucket.put = self._write  # type: ignore[method-assign]  # the server stays the real one

    async def _write(self, key: str, *values: Any, **options: Any) -> int | None:
        if key.startswith(self._begin):
            self.reached.set()
            await self.open.wait()
        return await self._put(key, *values, **options)


def owning(bucket: Bucket, lost: Callable[[tuple[str, int]], None]) -> Ownership:
    async def step(_: str, __: int) -> None:
        """Take and leave at once."""

    return Ownership(bucket, 2, 1.0, step, step, lambda queue, group: lost((queue, group)), lambda: None)


async def fails(*_: object) -> None:
    text = "no"
    raise LeaseLostError(text, text)
