"""Replaying many dead letters: order of each key, several keys at the same time, rate, and what a crash leaves."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from catga_core import CatgaContainer, CatgaError, CatgaResult, Command, Event, current_context, message
from catga_core.errors import Outcome, PersistenceError
from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterFilter, DeadLetterSource, DeadLetterStore
from catga_core.interfaces.durable_transport import DurableTransport
from catga_core.interfaces.event_store import EventStore
from catga_core.interfaces.locks import LockProvider
from catga_core.interfaces.storage import Storage
from catga_core.reliability import (
    DeadLetterOptions,
    DeadLetterQueue,
    OnKeyFailure,
    QueueOptions,
    add_dead_letters,
    add_queues,
    ordered_by,
    own_units_of_work,
)
from catga_core.unit_of_work import active_unit_of_work
from catga_testing import ManualClock
from catga_testing.contracts.stores.records import letter
from catga_testing.waiting import eventually
from tests.core.reliability.support import moved
from tests.core.support import Gate
from tests.stores import Place


@message(name="replays.Moved")
@ordered_by(lambda event: event.thing)
class Moved(Event):
    thing: str
    number: int


@message(name="replays.Done")
class Done(Event):
    number: int


class Print(Command[None]):
    pass


class Moving:
    """Which events the handler fails for, and which it has had."""

    def __init__(self) -> None:
        self.broken = True
        self.fails: set[tuple[str, int]] = set()
        self.calls: list[tuple[str, int]] = []
        self.running: set[str] = set()
        self.most = 0
        self.gates: dict[tuple[str, int], Gate] = {}

    async def had(self, event: Moved) -> None:
        if self.broken or (event.thing, event.number) in self.fails:
            raise ValueError("no paper left")
        assert event.thing not in self.running, "two of one key at the same time"
        self.running.add(event.thing)
        self.most = max(self.most, len(self.running))
        try:
            if (event.thing, event.number) in self.gates:
                await self.gates[event.thing, event.number].pass_through()
            await asyncio.sleep(0)
            self.calls.append((event.thing, event.number))
        finally:
            self.running.discard(event.thing)


def moving(place: Place, state: Moving, *, lease: float = 60.0, **options: Any) -> CatgaContainer:
    async def move(event: Moved, events: EventStore) -> None:
        await state.had(event)
        await events.append(f"done-{event.thing}", [Done(event.number)])

    catga = place.container(**options)
    add_dead_letters(catga, DeadLetterOptions(replay_lease_seconds=lease))
    catga.add_handlers(move)
    return catga


async def poison(app: Any, *things: str, each: int = 3) -> list[DeadLetter]:
    for number in range(each):
        for thing in things:
            await app.mediator.publish(Moved(thing, number), message_id=f"{thing}-{number}")
    return list((await app.dead_letters.find()).letters)


async def done(app: Any, thing: str) -> list[int]:
    return [each.event.number async for each in app.event_store.read(f"done-{thing}")]


def ids(found: Any) -> list[str]:
    return [letter_id.split(":")[0] for letter_id in found]


async def test_letters_of_a_key_are_replayed_in_order_and_keys_at_the_same_time(place: Place) -> None:
    state = Moving()
    async with moving(place, state).running() as app:
        letters = await poison(app, "a", "b", "c")
        assert [each.key for each in letters] == ["a", "b", "c"] * 3
        state.broken = False
        state.gates = {(thing, 0): Gate() for thing in "ab"}

        replaying = asyncio.create_task(app.dead_letter_queue.replay_all(max_concurrent=2))
        for gate in state.gates.values():
            await gate.reached()
        for gate in state.gates.values():
            gate.open()
        report = await replaying

        assert (report.succeeded, report.failed, report.held_back) == (9, {}, {})
        assert state.most == 2
        for thing in "abc":
            assert [number for each, number in state.calls if each == thing] == [0, 1, 2]
        assert await app.dead_letters.count() == 0


async def test_by_default_one_is_replayed_after_the_other_oldest_first(place: Place) -> None:
    state = Moving()
    async with moving(place, state).running() as app:
        await poison(app, "a", "b")
        state.broken = False

        await app.dead_letter_queue.replay_all()

        assert state.most == 1
        assert [number for thing, number in state.calls if thing == "a"] == [0, 1, 2]


async def test_after_one_that_fails_the_later_ones_of_its_key_are_held_back(place: Place) -> None:
    state = Moving()
    async with moving(place, state).running() as app:
        letters = await poison(app, "a", "b", each=4)
        state.broken, state.fails = False, {("a", 1)}
        seen: list[tuple[str, bool]] = []

        def note(letter: DeadLetter, result: CatgaResult[Any]) -> None:
            seen.append((letter.context.message_id, result.is_success))

        report = await app.dead_letter_queue.replay_all(max_concurrent=4, on_each=note)

        assert report.succeeded == 5
        assert ids(report.failed) == ["a-1"]
        assert sorted(ids(report.held_back)) == ["a-2", "a-3"]
        assert set(report.held_back.values()) == set(report.failed)
        assert sorted(seen) == [
            ("a-0", True),
            ("a-1", False),
            *((f"b-{number}", True) for number in range(4)),
        ]
        left = (await app.dead_letters.find()).letters
        assert ids(each.id for each in left) == ["a-1", "a-2", "a-3"]
        assert [each.replays for each in left] == [1, 0, 0], "what is held back is left as it is"
        assert left[1] in letters

        state.fails.clear()
        assert (await app.dead_letter_queue.replay_all()).succeeded == 3
        assert await done(app, "a") == [0, 1, 2, 3]


async def test_a_key_that_failed_on_one_page_is_held_back_on_the_next(memory: Place) -> None:
    state = Moving()
    async with moving(memory, state).running() as app:
        await poison(app, "a", each=150)
        state.broken, state.fails = False, {("a", 99)}

        report = await app.dead_letter_queue.replay_all()

        assert (report.succeeded, len(report.failed), len(report.held_back)) == (99, 1, 50)


async def test_a_rate_is_kept(memory: Place) -> None:
    clock, state = ManualClock(), Moving()
    async with moved(moving(memory, state), clock) as app:
        await poison(app, "a", "b", each=2)
        state.broken = False

        async def waits(count: int) -> bool:
            return len(state.calls) == count and 0.5 in clock.sleepers

        replaying = asyncio.create_task(app.dead_letter_queue.replay_all(max_concurrent=8, per_second=2.0))
        for count in range(1, 4):
            await eventually(functools.partial(waits, count))
            clock.advance(0.5)
        report = await replaying

        assert report.succeeded == 4


@pytest.mark.parametrize(
    "wrong", [{"max_concurrent": 0}, {"per_second": 0}, {"per_second": -1.0}, {"per_second": float("inf")}]
)
async def test_limits_that_cannot_work_are_refused(memory: Place, wrong: dict[str, Any]) -> None:
    async with moving(memory, Moving()).running() as app:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            await app.dead_letter_queue.replay_all(**wrong)


async def test_two_who_replay_at_once_keep_the_order_and_handle_none_twice(place: Place) -> None:
    state = Moving()
    async with moving(place, state).running() as one, moving(place, state).running() as two:
        await poison(one, "a", "b", "c", each=5)
        state.broken = False

        async with asyncio.timeout(30):
            while await one.dead_letters.count():
                await asyncio.gather(
                    one.dead_letter_queue.replay_all(max_concurrent=3),
                    two.dead_letter_queue.replay_all(max_concurrent=3),
                )

        for thing in "abc":
            assert await done(one, thing) == [0, 1, 2, 3, 4]


async def test_an_effect_in_a_unit_of_work_and_the_removal_of_its_letter_happen_together(
    place: Place,
) -> None:
    state = Moving()
    async with moving(place, state, enable_outbox=True).running() as app:
        [letter] = await poison(app, "a", each=1)
        state.broken = False
        gate = state.gates["a", 0] = Gate()

        replaying = asyncio.create_task(app.dead_letter_queue.replay(letter.id))
        await gate.reached()
        replaying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await replaying
        assert await done(app, "a") == []
        assert await app.dead_letters.count() == 1

        gate.open()
        assert (await app.dead_letter_queue.replay(letter.id)).is_success
        assert await done(app, "a") == [0]
        assert await app.dead_letters.count() == 0


async def test_an_effect_does_not_count_when_somebody_else_was_done_with_the_letter(memory: Place) -> None:
    state = Moving()

    async def move(event: Moved, events: EventStore, queue: DeadLetterQueue) -> None:
        await state.had(event)
        await events.append(f"done-{event.thing}", [Done(event.number)])
        await queue.purge(DeadLetterFilter(key=event.thing))

    catga = memory.container(enable_outbox=True, enable_dead_letter_queue=True)
    catga.add_handlers(move)
    async with catga.running() as app:
        [letter] = await poison(app, "a", each=1)
        state.broken = False

        result = await app.dead_letter_queue.replay(letter.id)

        assert result.error.code == "HANDLER_NOT_FOUND"
        assert await done(app, "a") == []


async def test_a_replay_gives_no_handler_a_unit_of_work_that_it_does_not_have_otherwise(place: Place) -> None:
    calls: list[bool] = []

    async def fails(event: Moved) -> CatgaResult[None]:
        calls.append(active_unit_of_work.get() is None)
        return CatgaResult.failure(code="NO")

    catga = place.container(enable_dead_letter_queue=True)
    catga.add_handlers(fails)
    async with catga.running() as app:
        [letter] = await poison(app, "a", each=1)
        await app.dead_letter_queue.replay(letter.id)

    assert calls == [True, True]


async def test_a_command_with_units_of_work_of_its_own_keeps_them_in_a_replay(memory: Place) -> None:
    calls: list[bool] = []

    @own_units_of_work
    async def fails(command: Print) -> CatgaResult[None]:
        calls.append(active_unit_of_work.get() is None)
        raise CatgaError("no", code="NO")

    catga = memory.container(enable_outbox=True, enable_queues=True)
    catga.add_handlers(fails)
    async with catga.running() as app:
        await app.mediator.enqueue(Print())
        await eventually(lambda: app.dead_letters.count())
        [letter] = (await app.dead_letters.find()).letters
        assert (await app.dead_letter_queue.replay(letter.id)).error.code == "NO"

    assert calls == [True, True]


async def test_a_message_of_a_queue_that_is_delivered_exactly_once_is_replayed_in_a_unit_of_work(
    memory: Place,
) -> None:
    inside: list[bool] = []

    @message(name="replays.Once", delivery="exactly_once")
    class Once(Event):
        pass

    async def fails(event: Once) -> None:
        inside.append(active_unit_of_work.get() is not None)
        if len(inside) == 1:
            raise CatgaError("no", code="NO")

    catga = memory.container(enable_queues=True)
    catga.add_handlers(fails)
    async with catga.running() as app:
        await app.mediator.publish(Once())
        await eventually(lambda: app.dead_letters.count())
        assert (await app.dead_letter_queue.replay_all()).succeeded == 1
        assert await app.dead_letters.count() == 0

    assert inside == [True, True]


async def test_a_letter_whose_commit_has_an_unknown_outcome_is_not_written_again(
    memory: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = Moving()
    async with moving(memory, state, enable_outbox=True).running() as app:
        [letter] = await poison(app, "a", each=1)
        state.broken = False
        storage = app.get(Storage)
        known = storage.unit_of_work

        @asynccontextmanager
        async def unsure() -> AsyncGenerator[Any]:
            """Commit, and do not learn of it."""
            async with known() as unit:
                yield unit
            if active_unit_of_work.get() is None:
                raise PersistenceError("the connection was lost", outcome=Outcome.UNKNOWN)

        monkeypatch.setattr(storage, "unit_of_work", unsure)
        result = await app.dead_letter_queue.replay(letter.id)
        monkeypatch.undo()

        assert result.error.code == "PERSISTENCE_FAILED"
        assert await app.dead_letters.count() == 0, "it would bring its message back"
        assert await done(app, "a") == [0]


async def test_a_replay_that_fails_in_a_unit_of_work_updates_its_letter(place: Place) -> None:
    state = Moving()
    async with moving(place, state, enable_outbox=True).running() as app:
        [letter] = await poison(app, "a", each=1)

        result = await app.dead_letter_queue.replay(letter.id)

        [updated] = (await app.dead_letters.find()).letters
        assert result.error.code == "HANDLER_FAILED"
        assert (updated.attempts, updated.replays) == (2, 1)
        assert await done(app, "a") == []


async def test_a_letter_whose_replaying_process_died_is_replayed_after_its_lease(memory: Place) -> None:
    clock, state = ManualClock(), Moving()
    async with moved(moving(memory, state, lease=5.0), clock) as app:
        await poison(app, "a")
        state.broken = False
        first = (await app.dead_letters.find()).letters[0]
        # As a process leaves it that was killed.
        assert await app.get(LockProvider).acquire(f"catga-dead-letter:{first.id}", lease=5.0) is not None

        report = await app.dead_letter_queue.replay_all()
        assert (report.succeeded, [error.code for error in report.failed.values()]) == (0, ["LOCKED"])
        assert sorted(ids(report.held_back)) == ["a-1", "a-2"]

        clock.advance(6)
        assert (await app.dead_letter_queue.replay_all()).succeeded == 3
        assert await done(app, "a") == [0, 1, 2]


async def test_a_storage_that_is_away_ends_the_replay(memory: Place) -> None:
    state = Moving()
    async with moving(memory, state).running() as app:
        await poison(app, "a", "b")
        state.broken = False
        store = app.dead_letters

        class Away:
            def __getattr__(self, name: str) -> Any:
                if name == "replaying":
                    raise CatgaError("the server is gone", code="PERSISTENCE_FAILED")
                return getattr(store, name)

        with (
            app.container.override(DeadLetterStore, Away()),
            pytest.raises(CatgaError, match="the server is gone"),
        ):
            await app.dead_letter_queue.replay_all(max_concurrent=2)
        assert await app.dead_letters.count() == 6


async def test_a_process_that_dies_while_it_purges_leaves_no_key_held(memory: Place) -> None:
    handled: list[int] = []

    @message(name="replays.Queued", delivery="at_least_once")
    @ordered_by(lambda event: "k")
    class Queued(Event):
        number: int

    async def fails(event: Queued) -> None:
        if event.number == 0:
            raise CatgaError("no", code="NO")
        handled.append(event.number)

    catga = memory.container()
    add_queues(catga, QueueOptions(on_failure=OnKeyFailure.PARK_KEY))
    catga.add_handlers(fails)
    async with catga.running() as app:
        for number in range(2):
            await app.mediator.publish(Queued(number))
        await eventually(lambda: app.dead_letters.count())
        store = app.dead_letters

        class Dies:
            def __getattr__(self, name: str) -> Any:
                return getattr(store, name)

            async def purge(self, filter: DeadLetterFilter) -> int:
                await store.purge(filter)
                raise CatgaError("killed", code="KILLED")

        with catga.override(DeadLetterStore, Dies()), pytest.raises(CatgaError, match="killed"):
            await app.dead_letter_queue.purge(DeadLetterFilter(key="k"))

        assert await app.dead_letters.count() == 0
        await eventually(lambda: handled == [1])


async def test_a_purge_leaves_a_key_held_that_another_letter_holds(
    memory: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    catga = memory.container(enable_queues=True)
    async with catga.running() as app:
        for name in ("Seen", "Unseen"):
            await app.dead_letters.add(
                letter(queue="mails", key="k", name=name, source=DeadLetterSource.QUEUE)
            )
        released: list[str] = []

        async def release_key(queue: str, key: str) -> bool:
            released.append(f"{queue} {key}")
            return True

        monkeypatch.setattr(app.get(DurableTransport), "release_key", release_key)
        assert await app.dead_letter_queue.purge(DeadLetterFilter(name="Seen")) == 1
        assert released == []
        assert await app.dead_letter_queue.purge(DeadLetterFilter(name="Unseen")) == 1
        assert set(released) == {"mails k"}


async def test_an_event_whose_key_cannot_be_told_is_kept_without_one(memory: Place) -> None:
    @message(name="replays.Keyless")
    @ordered_by(lambda _event: 1 / 0)  # type: ignore[arg-type, return-value]
    class Keyless(Event):
        pass

    async def fails(event: Keyless) -> None:
        raise ValueError("no paper left")

    catga = memory.container(enable_dead_letter_queue=True)
    catga.add_handlers(fails)
    async with catga.running() as app:
        await app.mediator.publish(Keyless())
        [letter] = (await app.dead_letters.find()).letters

    assert letter.key is None


async def test_the_header_tells_the_number_of_the_replay_in_a_dry_run_too(memory: Place) -> None:
    headers: list[str | None] = []

    async def fails(event: Moved) -> None:
        headers.append(current_context().headers.get("catga-replay"))
        raise ValueError("no paper left")

    catga = memory.container(enable_dead_letter_queue=True)
    catga.add_handlers(fails)
    async with catga.running() as app:
        [letter] = await poison(app, "a", each=1)
        await app.dead_letter_queue.replay(letter.id, dry_run=True)
        await app.dead_letter_queue.replay(letter.id)
        await app.dead_letter_queue.replay(letter.id, dry_run=True)

    assert headers == [None, "1", "1", "2"]
    assert letter.source is DeadLetterSource.HANDLER
