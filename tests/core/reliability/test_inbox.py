from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from catga_core import CatgaApp, CatgaContainer, CatgaMediator, ConfigurationError, Event, message
from catga_core.interfaces import EventStore
from catga_core.interfaces.inbox import InboxStore
from catga_core.interfaces.outbox import OutboxStore
from catga_core.memory.stores import memory_stores
from catga_core.reliability import DeadLetterQueue, Pruning
from catga_testing import ManualClock
from catga_testing.waiting import eventually
from tests.core.reliability.support import moved
from tests.core.support import Gate
from tests.stores import Place


@message(name="inbox.Placed")
class Placed(Event):
    number: int = 1


class Counted(Event):
    pass


class Seen:
    def __init__(self) -> None:
        self.by: list[str] = []
        self.fails: list[str] = []
        self.gate: Gate | None = None


def listening(place: Place, seen: Seen, **options: Any) -> CatgaContainer:
    async def first(message: Placed) -> None:
        seen.by.append("first")

    async def second(message: Placed) -> None:
        seen.by.append("second")
        if seen.gate is not None:
            await seen.gate.pass_through()
        if seen.fails:
            raise ValueError(seen.fails.pop())

    catga = place.container(**{"enable_inbox": True, **options})
    catga.add_handlers(first, second)
    return catga


async def test_an_event_that_comes_again_is_handled_once_by_each_handler(
    place: Place, log: list[MutableMapping[str, Any]]
):
    seen = Seen()
    async with listening(place, seen).running() as app:
        await app.mediator.publish(Placed(), message_id="p-1")
        await app.mediator.publish(Placed(), message_id="p-1")
        await app.mediator.publish(Placed(), message_id="p-2")
        details = app.health()["inbox"].details

    assert sorted(seen.by) == ["first", "first", "second", "second"]
    assert details["skipped_duplicates"] == 2
    skipped = [line for line in log if line["event"] == "catga.duplicate_skipped"]
    assert [(line["event_type"], line["message_id"]) for line in skipped] == [("Placed", "p-1")] * 2
    assert sorted(line["handler"].split(".")[-1] for line in skipped) == ["first", "second"]


async def test_another_event_under_a_known_id_fails_with_a_conflict(place: Place):
    got: list[Event] = []

    async def on_placed(message: Placed) -> None:
        got.append(message)

    catga = place.container(enable_inbox=True, enable_dead_letter_queue=True)
    catga.add_handlers(on_placed)
    async with catga.running() as app:
        for number in (1, 1, 2, 1, 3):
            await app.mediator.publish(Placed(number), message_id="p-1")
        page = await app.get(DeadLetterQueue).find()
        decode = app.serializer.decoder(Placed)

    assert got == [Placed(1)]
    assert [each.code for each in page.letters] == ["CONFLICT", "CONFLICT"]
    assert [decode(each.data) for each in page.letters] == [Placed(2), Placed(3)]


async def test_another_replica_passes_over_what_was_handled(place: Place):
    seen = Seen()
    async with listening(place, seen).running() as one, listening(place, seen).running() as two:
        await one.mediator.publish(Placed(), message_id="p-1")
        await two.mediator.publish(Placed(), message_id="p-1")

    assert sorted(seen.by) == ["first", "second"]


async def test_a_handler_that_failed_is_given_the_event_again_and_the_others_are_not(place: Place):
    seen = Seen()
    seen.fails = ["no paper"]
    async with listening(place, seen).running() as app:
        await app.mediator.publish(Placed(), message_id="p-1")
        await app.mediator.publish(Placed(), message_id="p-1")
        await app.mediator.publish(Placed(), message_id="p-1")

    assert seen.by.count("second") == 2
    assert seen.by.count("first") == 1


async def test_a_handler_that_was_cancelled_is_given_the_event_again(place: Place):
    seen = Seen()
    seen.gate = Gate()
    async with listening(place, seen).running() as app:
        publishing = asyncio.ensure_future(app.mediator.publish(Placed(), message_id="p-1"))
        await seen.gate.reached()
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        seen.gate.open()
        await app.mediator.publish(Placed(), message_id="p-1")

    assert seen.by.count("second") == 2


async def test_what_two_deliveries_at_once_write_is_there_once(place: Place):
    async def count(message: Placed, mediator: CatgaMediator) -> None:
        await asyncio.sleep(0.01)
        await mediator.publish(Counted())

    catga = place.container(enable_inbox=True, enable_outbox=True, enable_outbox_relay=False)
    catga.add_handlers(count)
    async with catga.running() as app:
        # In a storage that collects what is written, all of them run, and one of them commits.
        await asyncio.gather(*(app.mediator.publish(Placed(), message_id="p-1") for _ in range(5)))
        assert (await app.outbox.stats()).pending == 1


async def test_deliveries_at_once_are_duplicates_and_no_dead_letters(
    place: Place, log: list[MutableMapping[str, Any]]
):
    async def note(message: Placed, store: EventStore) -> None:
        version = await store.version("notes")
        await asyncio.sleep(0.01)
        await store.append("notes", Counted(), expected_version=version)

    def make() -> CatgaContainer:
        catga = place.container(enable_inbox=True, enable_dead_letter_queue=True)
        catga.add_handlers(note)
        return catga

    async with make().running() as one, make().running() as two:
        for number in range(5):
            # Some meet at the commit, and some before: when they append to what the first has changed.
            deliveries = [
                app.mediator.publish(Placed(number), message_id=f"p-{number}")
                for app in (one, two)
                for _ in range(5)
            ]
            await asyncio.gather(*deliveries)

        assert await one.event_store.version("notes") == 5
        assert await one.get(DeadLetterQueue).count() == 0
        skipped = sum(app.health()["inbox"].details["skipped_duplicates"] for app in (one, two))
        assert skipped == 5 * 9
    assert sum(line["event"] == "catga.duplicate_skipped" for line in log) == skipped


async def test_different_events_at_once_under_one_id_are_a_conflict(place: Place):
    got: list[int] = []

    async def on_placed(message: Placed) -> None:
        await asyncio.sleep(0.01)
        got.append(message.number)

    catga = place.container(enable_inbox=True, enable_dead_letter_queue=True)
    catga.add_handlers(on_placed)
    async with catga.running() as app:
        await asyncio.gather(*(app.mediator.publish(Placed(number), message_id="p-1") for number in (1, 2)))
        page = await app.get(DeadLetterQueue).find()

    assert [each.code for each in page.letters] == ["CONFLICT"]


async def test_handler_that_fails_beside_a_duplicate_that_fails_is_a_dead_letter(place: Place):
    async def fail(message: Placed) -> None:
        await asyncio.sleep(0.01)
        raise ValueError("no paper")

    catga = place.container(enable_inbox=True, enable_dead_letter_queue=True)
    catga.add_handlers(fail)
    async with catga.running() as app:
        await asyncio.gather(*(app.mediator.publish(Placed(), message_id="p-1") for _ in range(2)))

        assert await app.get(DeadLetterQueue).count() == 1
        assert not await app.inbox.seen("p-1", fail.__name__)


async def test_without_the_option_every_delivery_is_handled(place: Place):
    seen = Seen()
    async with listening(place, seen, enable_inbox=False).running() as app:
        await app.mediator.publish(Placed(), message_id="p-1")
        await app.mediator.publish(Placed(), message_id="p-1")

    assert seen.by.count("first") == 2


async def test_a_relayed_event_that_comes_twice_is_handled_once(place: Place):
    handled: list[int] = []

    async def once(message: Placed, mediator: CatgaMediator) -> None:
        handled.append(message.number)
        await mediator.publish(Counted())

    class NotNoted:
        """As a relay that dies between sending and noting it."""

        def __init__(self, inner: OutboxStore) -> None:
            self.inner = inner
            self.lost = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        async def complete(self, leased: Any, /) -> None:
            if self.lost < 3:
                self.lost += 1
                await self.inner.release(leased)
            else:
                await self.inner.complete(leased)

    catga = place.container(enable_inbox=True, enable_outbox=True)
    catga.add_handlers(once)
    async with catga.running() as app:
        outbox = NotNoted(app.outbox)
        with catga.override(OutboxStore, outbox):
            async with app.unit_of_work():
                await app.mediator.publish(Placed())
            await eventually(lambda: outbox.lost == 3)
            await eventually(lambda: app.health()["inbox"].details["skipped_duplicates"] >= 2)

    assert handled == [1]


async def test_two_handlers_of_one_name_are_refused_at_start(place: Place):
    def made() -> Any:
        async def handle(message: Placed) -> None: ...

        return handle

    catga = place.container(enable_inbox=True)
    catga.add_handlers(made(), made())

    with pytest.raises(ConfigurationError, match="Placed has two handlers named handle"):
        catga.validate()


async def test_an_inbox_that_stands_in_for_it_is_used_by_the_next_event(place: Place):
    seen = Seen()
    catga = listening(place, seen)
    async with catga.running() as app:
        await app.mediator.publish(Placed(), message_id="p-1")
        with catga.override(InboxStore, memory_stores()[InboxStore]):
            await app.mediator.publish(Placed(), message_id="p-1")
        await app.mediator.publish(Placed(), message_id="p-1")

    assert seen.by.count("first") == 2


# --- pruning ---


async def test_what_need_not_be_remembered_is_pruned_and_what_waits_is_not(memory: Place):
    clock = ManualClock()

    def removed(app: CatgaApp, store: str) -> int:
        # The worker may begin to wait for its next turn only after the clock was moved.
        clock.advance(10)
        count: int = app.health()["pruning"].details["removed"][store]
        return count

    options = {
        "enable_inbox": True,
        "enable_outbox": True,
        "enable_outbox_relay": False,
        "enable_idempotency": True,
        "inbox_retention_seconds": 100,
        "outbox_retention_seconds": 100,
        "idempotency_ttl_seconds": 100,
        "prune_interval_seconds": 10,
    }
    seen = Seen()
    async with moved(listening(memory, seen, **options), clock) as app:
        await app.mediator.publish(Placed(), message_id="p-1")
        async with app.unit_of_work():
            await app.mediator.publish(Placed(), message_id="p-2")
            await app.mediator.publish(Placed(), message_id="p-3")
        await app.outbox.complete(await app.outbox.lease(limit=1, lease=1000))
        pruning = app.get(Pruning)
        assert await pruning.prune() == 0

        clock.advance(101)
        # Two notes of the inbox and one sent message; the one that waits stays however old it is.
        await eventually(lambda: removed(app, "inbox") == 2)
        await eventually(lambda: removed(app, "outbox") == 1)
        clock.advance(100_000)
        await pruning.prune()
        assert (await app.outbox.stats()).pending == 1
        assert not await app.inbox.seen("p-1", "first")


async def test_a_store_that_cannot_be_pruned_is_told_and_stops_no_other(
    place: Place, log: list[MutableMapping[str, Any]]
):
    class Away:
        async def prune(self, **_: Any) -> int:
            raise OSError("no route")

    catga = listening(place, Seen(), enable_outbox=True)
    async with catga.running() as app:
        pruning = app.get(Pruning)
        with catga.override(OutboxStore, Away()):
            assert await pruning.prune() == 0
        health = app.health()["pruning"]
        assert (health.status, health.description) == (
            "degraded",
            "outbox could not be pruned: OSError: no route",
        )
        await pruning.prune()
        assert app.health()["pruning"].status == "healthy"

    assert [line["store"] for line in log if line["event"] == "catga.pruning_failed"] == ["outbox"]
