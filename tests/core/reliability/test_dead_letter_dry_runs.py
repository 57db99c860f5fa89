"""A dry run tells what a replay would do, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from catga_core import (
    CatgaContainer,
    CatgaMediator,
    Command,
    Event,
    Query,
    TransportCapabilities,
    message,
)
from catga_core.interfaces import Health, HealthStatus
from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterSource
from catga_core.interfaces.event_store import EventStore
from catga_core.interfaces.idempotency import IdempotencyStore
from catga_core.interfaces.inbox import InboxStore
from catga_core.interfaces.transport import RequestTransport
from catga_core.messages.results import Success
from catga_core.reliability import DryRun, add_queues, idempotent
from tests.core.support import Gate
from tests.stores import Place


@message(name="dry.Placed")
class Placed(Event):
    number: int


@message(name="dry.Told")
class Told(Event):
    number: int


@message(name="dry.Ship")
class Ship(Command[str]):
    number: int


@message(name="dry.Ask")
class Ask(Query[int]):
    number: int


@message(name="dry.Book")
@idempotent
class Book(Command[int]):
    number: int


class State:
    """Whether handlers fail, and what was really done."""

    def __init__(self) -> None:
        self.broken = True
        self.work: Callable[[CatgaMediator, EventStore, Placed], Any] | None = None
        self.told: list[int] = []
        self.shipped: list[int] = []


def shop(place: Place, state: State, *, queues: bool = False, **options: Any) -> CatgaContainer:
    async def prints(event: Placed, mediator: CatgaMediator, events: EventStore) -> None:
        if state.broken:
            raise ValueError("no paper left")
        await events.append("printed", [Told(event.number)])
        if state.work is not None:
            await state.work(mediator, events, event)

    async def tells(event: Told) -> None:
        state.told.append(event.number)

    async def ships(command: Ship) -> str:
        state.shipped.append(command.number)
        return "shipped"

    catga = place.container(**{"enable_dead_letter_queue": True, **options})
    if queues:
        add_queues(catga)
    catga.add_handlers(prints, tells, ships)
    return catga


async def poisoned(app: Any, state: State, *, numbers: range = range(1)) -> list[DeadLetter]:
    for number in numbers:
        await app.mediator.publish(Placed(number), message_id=f"p-{number}")
    state.broken = False
    return list((await app.dead_letters.find()).letters)


async def printed(app: Any) -> list[int]:
    return [each.event.number async for each in app.event_store.read("printed")]


@pytest.mark.parametrize("outbox", [False, True])
async def test_what_a_handler_publishes_and_stores_does_not_happen(place: Place, outbox: bool) -> None:
    state = State()

    async def work(mediator: CatgaMediator, _events: EventStore, event: Placed) -> None:
        await mediator.publish(Told(event.number))
        await mediator.publish(Told(event.number + 1), message_id="told-2", headers={"tenant": "a"})

    state.work = work
    async with shop(place, state, enable_outbox=outbox, enable_inbox=outbox).running() as app:
        [letter] = await poisoned(app, state)

        dry = await app.dead_letter_queue.replay(letter.id, dry_run=True)

        assert dry.result == Success(None)
        assert [each.message for each in dry.published] == [Told(0), Told(1)]
        first, second = dry.published
        assert first.context.causation_id == "p-0"
        assert (second.context.message_id, dict(second.context.headers)) == ("told-2", {"tenant": "a"})
        assert (state.told, await printed(app)) == ([], [])
        assert (await app.dead_letters.find()).letters == [letter], "the letter is as it was"
        assert not await app.get(InboxStore).seen("p-0", letter.handler)

        assert (await app.dead_letter_queue.replay(letter.id)).is_success
        assert await printed(app) == [0]


async def test_a_dry_run_that_fails_tells_the_error(place: Place) -> None:
    state = State()
    async with shop(place, state).running() as app:
        [letter] = await poisoned(app, state)
        state.broken = True

        dry = await app.dead_letter_queue.replay(letter.id, dry_run=True)

        assert dry.result.error.code == "HANDLER_FAILED"
        assert (await app.dead_letters.find()).letters == [letter]


async def test_commands_of_this_process_run_and_are_rolled_back_with_the_handler(place: Place) -> None:
    state = State()

    async def book(command: Book, events: EventStore, mediator: CatgaMediator) -> int:
        await events.append("booked", [Told(command.number)])
        await mediator.publish(Told(command.number))
        return command.number * 2

    async def work(mediator: CatgaMediator, _events: EventStore, event: Placed) -> None:
        assert (await mediator.send(Book(event.number), message_id="book-1")).value == 0

    state.work = work
    catga = shop(place, state)
    catga.add_handlers(book)
    async with catga.running() as app:
        [letter] = await poisoned(app, state)

        for _ in range(2):
            dry = await app.dead_letter_queue.replay(letter.id, dry_run=True)
            assert dry.result.is_success, dry
            assert [each.message for each in dry.published] == [Told(0)], (
                "no result of the dry run is recorded"
            )

        assert (await app.dead_letter_queue.replay(letter.id)).is_success
        assert state.told == [0]
        assert [each.event.number async for each in app.event_store.read("booked")] == [0]


async def test_enqueued_and_cancelled_commands_are_recorded(memory: Place) -> None:
    state = State()

    async def work(mediator: CatgaMediator, _events: EventStore, event: Placed) -> None:
        scheduled = await mediator.enqueue(Ship(event.number), delay=60, key="k", message_id="ship-1")
        assert scheduled == "dry.Ship:ship-1"
        assert await mediator.cancel(scheduled)

    state.work = work
    async with shop(memory, state, queues=True).running() as app:
        [letter] = await poisoned(app, state)

        dry = await app.dead_letter_queue.replay(letter.id, dry_run=True)

        [enqueued] = dry.enqueued
        assert (enqueued.message, enqueued.key, enqueued.context.message_id) == (Ship(0), "k", "ship-1")
        assert enqueued.due_at is not None
        assert list(dry.cancelled) == ["dry.Ship:ship-1"]
        assert (await app.message_queues.find()).entries == []


class Elsewhere:
    """Answers for another process."""

    capabilities = TransportCapabilities(remote=True)

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def connect(self) -> None: ...

    async def serve(self, *_given: Any, **_more: Any) -> None: ...

    async def drain(self, *_given: Any, **_more: Any) -> None: ...

    async def close(self) -> None: ...

    def health(self) -> Health:
        return Health(HealthStatus.HEALTHY)

    async def request(self, _described: Any, request: Any, _context: Any) -> Any:
        self.asked.append(request)
        return Success(7)


async def test_a_command_to_another_process_is_recorded_and_a_query_is_sent(memory: Place) -> None:
    @message(name="dry.Remote")
    class Remote(Command[int]):
        number: int

    state = State()
    answers: list[Any] = []

    async def work(mediator: CatgaMediator, _events: EventStore, event: Placed) -> None:
        answers.append(await mediator.send(Ask(event.number)))
        answers.append(await mediator.send(Remote(1)))
        answers.append(await mediator.send(Remote(2), headers={"a": "b"}))

    state.work = work
    catga = shop(memory, state)
    other = Elsewhere()
    catga.add_singleton(RequestTransport, other, instance=True)
    async with catga.running() as app:
        # Found before there is a dry run.
        await app.mediator.send(Remote(0))
        [letter] = await poisoned(app, state)

        dry = await app.dead_letter_queue.replay(letter.id, dry_run=True)

        assert answers[0] == Success(7)
        assert [each.error.code for each in answers[1:]] == ["DRY_RUN", "DRY_RUN"]
        assert [each.message for each in dry.sent] == [Remote(1), Remote(2)]
        assert other.asked == [Remote(0), Ask(0)]
        await app.mediator.send(Remote(3))
        assert other.asked[-1] == Remote(3)


async def test_others_publish_and_send_meanwhile(memory: Place) -> None:
    state, gate = State(), Gate()

    async def work(mediator: CatgaMediator, _events: EventStore, event: Placed) -> None:
        await gate.pass_through()
        await mediator.publish(Told(event.number))

    state.work = work
    async with shop(memory, state).running() as app:
        [letter] = await poisoned(app, state)
        await app.mediator.publish(Told(10))

        running = asyncio.create_task(app.dead_letter_queue.replay(letter.id, dry_run=True))
        await gate.reached()
        await app.mediator.publish(Told(11))
        await app.mediator.publish(Told(12), message_id="t-12")
        gate.open()
        dry = await running
        await app.mediator.publish(Told(13))

        assert [each.message for each in dry.published] == [Told(0)]
        assert state.told == [10, 11, 12, 13]


async def test_a_dry_run_of_all_reports_each_and_holds_back_what_a_replay_would(place: Place) -> None:
    state = State()

    async def work(mediator: CatgaMediator, _events: EventStore, event: Placed) -> None:
        if event.number == 1:
            raise ValueError("no paper left")
        await mediator.publish(Told(event.number))

    state.work = work
    async with shop(place, state).running() as app:
        letters = await poisoned(app, state, numbers=range(3))

        report = await app.dead_letter_queue.replay_all(dry_run=True)

        assert (report.succeeded, list(report.failed)) == (2, [letters[1].id])
        told = {
            letter_id: [each.message for each in dry.published] for letter_id, dry in report.dry_runs.items()
        }
        assert told == {letters[0].id: [Told(0)], letters[1].id: [], letters[2].id: [Told(2)]}
        assert (await app.dead_letters.find()).letters == letters
        assert (state.told, await printed(app)) == ([], [])


async def test_a_dry_run_of_what_is_not_there_says_so(memory: Place) -> None:
    async with shop(memory, State()).running() as app:
        dry = await app.dead_letter_queue.replay("nothing", dry_run=True)

    assert isinstance(dry, DryRun)
    assert "The dead letter 'nothing' does not exist" in dry.result.error.message


async def test_a_letter_of_the_outbox_is_not_sent(memory: Place) -> None:
    state = State()
    async with shop(memory, state).running() as app:
        [letter] = await poisoned(app, state)
        outbox = msgspec.structs.replace(letter, id="o-1", source=DeadLetterSource.OUTBOX, handler="")
        await app.dead_letters.add(outbox)

        dry = await app.dead_letter_queue.replay("o-1", dry_run=True)

        assert [each.message for each in dry.published] == [Placed(0)]
        assert await app.dead_letters.get("o-1") == outbox
        assert await printed(app) == []


async def test_results_of_commands_in_another_storage_rule_a_dry_run_out(memory: Place) -> None:
    state = State()
    catga = shop(memory, state)
    async with memory.container().running() as other:
        catga.add_singleton(IdempotencyStore, other.get(IdempotencyStore), instance=True)
        async with catga.running() as app:
            [letter] = await poisoned(app, state)

            dry = await app.dead_letter_queue.replay(letter.id, dry_run=True)

            assert dry.result.error.code == "VALIDATION_FAILED"
            assert "results of commands are kept in another storage" in dry.result.error.message
            assert (await app.dead_letter_queue.replay(letter.id)).is_success
