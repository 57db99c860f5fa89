from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest
from structlog.testing import capture_logs

from catga_core import (
    CatgaContainer,
    CatgaResult,
    Event,
    MessageContext,
    Transport,
    current_context,
    message,
)
from catga_core.builtin_plugins import add_memory_transport
from catga_core.event_sourcing import add_upcasters, upcaster
from catga_core.features.dead_letters.letters import letter_id
from catga_core.interfaces.dead_letters import (
    DeadLetter,
    DeadLetterFilter,
    DeadLetterSource,
    DeadLetterStore,
)
from catga_core.interfaces.inbox import InboxStore
from catga_core.messages.serialization import json_serializer, msgpack_serializer
from catga_core.messages.serializer import Serializer
from catga_core.reliability import DeadLetterQueue
from catga_testing import ManualClock
from catga_testing.waiting import eventually
from tests.core.reliability.support import moved
from tests.core.support import Gate, run_program
from tests.stores import Place


@message(name="letters.Placed")
class Placed(Event):
    number: int = 1


class Opaque(Event):
    what: Any


class Swapped:
    """A serializer that is not built in."""

    name = "swapped"

    def encode(self, value: object, /) -> bytes:
        return json_serializer().encode(value)[::-1]

    def decoder(self, type_: Any, /) -> Callable[[bytes | memoryview], Any]:
        decode = json_serializer().decoder(type_)
        return lambda data: decode(bytes(data)[::-1])


class Handled:
    """What the handlers of a test have seen, and how they are to end."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.contexts: list[MessageContext] = []
        self.fails: Any = ValueError("no paper left")
        self.gate: Gate | None = None


def listening(place: Place, handled: Handled, **options: Any) -> CatgaContainer:
    async def works(message: Placed) -> None:
        handled.calls.append(("works", message.number))

    async def fails(message: Placed) -> Any:
        handled.calls.append(("fails", message.number))
        handled.contexts.append(current_context())
        if handled.gate is not None:
            await handled.gate.pass_through()
        if isinstance(handled.fails, Exception):
            raise handled.fails
        return handled.fails

    catga = place.container(**{"enable_dead_letter_queue": True, **options})
    catga.add_handlers(works, fails)
    return catga


async def only_letter(app: Any) -> DeadLetter:
    queue: DeadLetterQueue = app.get(DeadLetterQueue)
    [letter] = (await queue.find()).letters
    return letter


async def test_an_event_that_a_handler_failed_for_is_kept_with_all_that_is_known(memory: Place):
    clock = ManualClock()
    handled = Handled()
    async with moved(listening(memory, handled), clock) as app:
        await app.mediator.publish(Placed(7), message_id="p-1", headers={"tenant": "a"})
        letter = await only_letter(app)
        serializer = app.serializer

    assert letter.source is DeadLetterSource.HANDLER
    assert letter.handler.endswith("fails")
    assert (letter.name, letter.schema_version, letter.format) == ("letters.Placed", 1, "msgpack")
    assert serializer.decoder(Placed)(letter.data) == Placed(7)
    assert (letter.context.message_id, dict(letter.context.headers)) == ("p-1", {"tenant": "a"})
    assert (letter.code, letter.attempts, letter.replays) == ("HANDLER_FAILED", 1, 0)
    assert "no paper left" in letter.message
    assert letter.traceback is not None
    assert "ValueError: no paper left" in letter.traceback
    assert letter.first_failed_at == letter.last_failed_at == clock.time()


async def test_two_events_of_one_id_have_a_letter_each(place: Place):
    handled = Handled()
    async with listening(place, handled).running() as app:
        for number in (1, 2, 1):
            await app.mediator.publish(Placed(number), message_id="p-1")
        page = await app.get(DeadLetterQueue).find()
        serializer = app.serializer

    assert [serializer.decoder(Placed)(each.data) for each in page.letters] == [Placed(1), Placed(2)]
    assert [each.attempts for each in page.letters] == [2, 1]


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a:b", "c"), ("a", "b:c")), (("a:b", ""), ("a", "b")), (("1:a", "b"), ("1", "a:b"))],
)
def test_ids_of_letters_are_kept_apart(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert letter_id(*one, "kit.Placed@1#aa") != letter_id(*other, "kit.Placed@1#aa")
    assert letter_id(*one, "kit.Placed@1#aa") != letter_id(*one, "kit.Placed@1#bb")


async def test_a_failed_result_is_kept_as_well(place: Place):
    handled = Handled()
    handled.fails = CatgaResult.failure(code="NO_PAPER")
    async with listening(place, handled).running() as app:
        await app.mediator.publish(Placed())
        letter = await only_letter(app)

    assert (letter.code, letter.traceback) == ("NO_PAPER", None)


async def test_without_the_option_nothing_is_kept(place: Place):
    async with listening(place, Handled(), enable_dead_letter_queue=False).running() as app:
        await app.mediator.publish(Placed())
        assert await app.get(DeadLetterQueue).count() == 0


async def test_an_event_that_came_by_a_transport_is_kept_by_its_receiver(place: Place):
    catga = listening(place, Handled())
    add_memory_transport(catga, "memory://dead-letters")
    async with catga.running() as app:
        assert app.get(Transport) is not None
        await app.mediator.publish(Placed(), message_id="p-1")
        await eventually(lambda: app.dead_letters.count())
        assert (await only_letter(app)).context.message_id == "p-1"


async def test_the_same_event_failing_again_updates_its_letter(place: Place):
    async with listening(place, Handled()).running() as app:
        await app.mediator.publish(Placed(), message_id="p-1")
        await app.mediator.publish(Placed(), message_id="p-1")
        letter = await only_letter(app)

    assert letter.attempts == 2


async def test_a_replay_goes_to_the_handler_that_failed_alone_and_is_marked(place: Place):
    handled = Handled()
    async with listening(place, handled).running() as app:
        await app.mediator.publish(Placed(7), message_id="p-1", headers={"tenant": "a"})
        letter = await only_letter(app)
        handled.calls.clear()
        handled.fails = None
        result = await app.get(DeadLetterQueue).replay(letter.id)

        assert result.is_success
        assert await app.get(DeadLetterQueue).count() == 0
    assert handled.calls == [("fails", 7)]
    context = handled.contexts[-1]
    assert context.message_id == "p-1"
    assert dict(context.headers) == {"tenant": "a", "catga-replay": "1"}
    assert "catga-replay" not in handled.contexts[0].headers


async def test_a_replay_that_fails_updates_its_letter_instead_of_adding_one(memory: Place):
    clock = ManualClock()
    handled = Handled()
    async with moved(listening(memory, handled), clock) as app:
        await app.mediator.publish(Placed())
        letter = await only_letter(app)
        clock.advance(60)
        handled.fails = KeyError("another reason")
        result = await app.get(DeadLetterQueue).replay(letter.id)
        again = await only_letter(app)

        assert result.error.code == "HANDLER_FAILED"
        assert again.id == letter.id
        assert (again.attempts, again.replays) == (2, 1)
        assert (again.first_failed_at, again.last_failed_at) == (letter.first_failed_at, clock.time())
        assert "another reason" in again.message

        await app.get(DeadLetterQueue).replay(letter.id)
        assert handled.contexts[-1].headers["catga-replay"] == "2"


async def test_a_replay_goes_through_the_whole_pipeline(place: Place):
    handled = Handled()
    catga = listening(place, handled, enable_inbox=True)
    async with catga.running() as app:
        await app.mediator.publish(Placed(), message_id="p-1")
        letter = await only_letter(app)
        assert not await app.get(InboxStore).seen("p-1", letter.handler)
        handled.fails = None
        await app.get(DeadLetterQueue).replay(letter.id)

        assert await app.get(InboxStore).seen("p-1", letter.handler)


async def test_the_line_of_a_replay_has_a_code_only_where_it_failed(place: Place):
    handled = Handled()
    async with listening(place, handled).running() as app:
        await app.mediator.publish(Placed())
        letter = await only_letter(app)
        with capture_logs() as lines:
            await app.get(DeadLetterQueue).replay(letter.id)
            handled.fails = None
            await app.get(DeadLetterQueue).replay(letter.id)

    told = [line for line in lines if line["event"] == "catga.dead_letter_replayed"]
    common = {"event": "catga.dead_letter_replayed", "log_level": "info", "letter_id": letter.id}
    assert told == [
        {**common, "outcome": "failed", "code": "HANDLER_FAILED"},
        {**common, "outcome": "handled"},
    ]


async def test_one_letter_is_replayed_by_one_at_a_time(place: Place):
    handled = Handled()
    async with listening(place, handled).running() as one, listening(place, handled).running() as two:
        await one.mediator.publish(Placed())
        letter = await only_letter(one)
        handled.fails, handled.gate = None, Gate()
        first = asyncio.create_task(one.get(DeadLetterQueue).replay(letter.id))
        await handled.gate.reached()
        second = await two.get(DeadLetterQueue).replay(letter.id)
        handled.gate.open()

        assert second.error.code == "LOCKED"
        assert (await first).is_success


async def test_a_replay_that_loses_its_lock_has_failed_and_the_next_letter_is_replayed(memory: Place):
    clock, handled = ManualClock(), Handled()
    async with moved(listening(memory, handled), clock) as app:
        await app.mediator.publish(Placed(1), message_id="p-1")
        await app.mediator.publish(Placed(2), message_id="p-2")
        handled.fails, handled.gate = None, Gate()
        replaying = asyncio.create_task(app.get(DeadLetterQueue).replay_all())
        await handled.gate.reached()
        # In one step, as for a process that was frozen: there was no time to renew.
        clock.advance(61)
        handled.gate = None
        report = await replaying

        assert report.succeeded == 1
        [error] = report.failed.values()
        assert error.code == "LOCKED"
        assert (await only_letter(app)).context.message_id == "p-1"


async def test_all_letters_of_a_filter_are_replayed_once(place: Place):
    handled = Handled()
    async with listening(place, handled).running() as app:
        for number in range(5):
            await app.mediator.publish(Placed(number))
        handled.calls.clear()
        handled.fails = None
        queue = app.get(DeadLetterQueue)
        none = await queue.replay_all(DeadLetterFilter(name="Other"))
        report = await queue.replay_all(DeadLetterFilter(name="letters.Placed"))

        assert (none.succeeded, report.succeeded, dict(report.failed)) == (0, 5, {})
        assert await queue.count() == 0
    assert handled.calls == [("fails", number) for number in range(5)]


async def test_replaying_all_tells_which_failed_again(place: Place):
    handled = Handled()
    async with listening(place, handled).running() as app:
        for number in range(3):
            await app.mediator.publish(Placed(number), message_id=f"p-{number}")
        handled.calls.clear()
        report = await app.get(DeadLetterQueue).replay_all()

    assert report.succeeded == 0
    assert [key.split(":")[0] for key in report.failed] == ["p-0", "p-1", "p-2"]
    assert len(handled.calls) == 3


async def test_letters_are_listed_counted_and_purged(place: Place):
    async with listening(place, Handled()).running() as app:
        for number in range(5):
            await app.mediator.publish(Placed(number))
        queue = app.get(DeadLetterQueue)
        page = await queue.find(limit=2)
        rest = await queue.find(after=page.next)

        assert (len(page.letters), len(rest.letters), rest.next) == (2, 3, None)
        assert await queue.get(page.letters[0].id) == page.letters[0]
        assert await queue.count(DeadLetterFilter(code="OTHER")) == 0
        assert await queue.purge(DeadLetterFilter(name="letters.Placed")) == 5
        assert await queue.count() == 0


async def test_it_is_there_by_its_providers_name(place: Place):
    async with listening(place, Handled()).running() as app:
        assert app.dead_letter_queue is app.get(DeadLetterQueue)


async def test_a_letter_that_is_not_there_cannot_be_replayed(place: Place):
    async with listening(place, Handled()).running() as app:
        result = await app.get(DeadLetterQueue).replay("nothing")

    assert "The dead letter 'nothing' does not exist" in result.error.message


async def test_dead_letter_of_an_older_version_is_replayed_as_the_newest(place: Place):
    @message(name="letters.Moved", version=1)
    class MovedOnce(Event):
        where: str

    @message(name="letters.Moved", version=2)
    class Moved(Event):
        to: str

    @upcaster("letters.Moved", from_version=1)
    def renamed(data: dict[str, Any]) -> dict[str, Any]:
        return {"to": data["where"]}

    seen: list[Event] = []

    async def fails(event: MovedOnce) -> None:
        raise ValueError("no paper left")

    async def works(event: Moved) -> None:
        seen.append(event)

    works.__qualname__ = fails.__qualname__  # the same handler in the next release
    works.__name__ = fails.__name__
    old = place.container(enable_dead_letter_queue=True)
    old.add_handlers(fails)
    async with old.running() as app:
        await app.mediator.publish(MovedOnce("home"))
        letter = await only_letter(app)
        new = place.container(enable_dead_letter_queue=True)
        new.add_handlers(works)
        add_upcasters(new, renamed)
        async with new.running() as newer:
            result = await newer.get(DeadLetterQueue).replay(letter.id)
            assert result.is_success, result
    assert seen == [Moved("home")]


async def test_a_letter_whose_handler_is_not_in_this_process_stays_as_it_is(place: Place):
    async with listening(place, Handled()).running() as app:
        await app.mediator.publish(Placed())
        letter = await only_letter(app)
    async with place.container().running() as other:
        result = await other.get(DeadLetterQueue).replay(letter.id)

        assert result.error.code == "HANDLER_NOT_FOUND"
        assert "in this process. Replay it in a process that registers the handler" in result.error.message
        assert await only_letter(other) == letter


async def test_an_event_that_has_no_bytes_is_kept_without_and_says_so_when_replayed(place: Place):
    async def fails(message: Opaque) -> None:
        raise ValueError("no paper")

    catga = place.container(enable_dead_letter_queue=True)
    catga.add_handlers(fails)
    async with catga.running() as app:
        await app.mediator.publish(Opaque(object()))
        letter = await only_letter(app)
        result = await app.get(DeadLetterQueue).replay(letter.id)

    assert (letter.data, letter.format) == (b"", "")
    assert "has no bytes" in result.error.message


@message(name="letters.Lent")
class Lent(Event):
    days: Annotated[int, msgspec.Meta(le=60)]


@message(name="letters.Lent")
class LentLonger(Event):
    days: Annotated[int, msgspec.Meta(le=90)]


@pytest.mark.parametrize(
    "serializer", [json_serializer(), msgpack_serializer(), Swapped()], ids=lambda each: each.name
)
async def test_event_that_breaks_a_constraint_is_replayed_once_it_may(place: Place, serializer: Serializer):
    handled: list[int] = []

    async def mail(message: Lent) -> None:
        handled.append(-1)

    async def mail_longer(message: LentLonger) -> None:
        handled.append(message.days)

    mail_longer.__qualname__ = mail.__qualname__
    mail_longer.__name__ = mail.__name__

    def composed(handler: Any) -> CatgaContainer:
        catga = place.container(enable_dead_letter_queue=True)
        catga.add_handlers(handler)
        catga.add_singleton(Serializer, serializer, instance=True)
        return catga

    async with composed(mail).running() as app:
        await app.mediator.publish(Lent(61))
        letter = await only_letter(app)
        assert (letter.code, letter.format) == ("VALIDATION_FAILED", serializer.name)
        still = await app.get(DeadLetterQueue).replay(letter.id)
        assert not still.is_success
        assert await only_letter(app) == letter

    async with composed(mail_longer).running() as app:
        assert (await app.get(DeadLetterQueue).replay(letter.id)).is_success
        assert await app.get(DeadLetterQueue).count() == 0
    assert handled == [61]


@pytest.mark.parametrize("value", ["a", 5.5, True, Decimal(5)])
async def test_event_with_a_value_of_another_type_is_kept_without_bytes(place: Place, value: Any):
    async def mail(message: Lent) -> None: ...

    catga = place.container(enable_dead_letter_queue=True)
    catga.add_handlers(mail)
    async with catga.running() as app:
        await app.mediator.publish(Lent(value))
        letter = await only_letter(app)

    assert (letter.code, letter.data, letter.format) == ("VALIDATION_FAILED", b"", "")


async def test_a_letter_that_cannot_be_written_is_logged_and_counted(
    place: Place, log: list[MutableMapping[str, Any]]
):
    class Full:
        def __getattr__(self, name: str) -> Any:
            raise OSError("the disk is full")

    handled = Handled()
    catga = listening(place, handled)
    async with catga.running() as app:
        with catga.override(DeadLetterStore, Full()):
            await app.mediator.publish(Placed(), message_id="p-1")
        await app.mediator.publish(Placed(), message_id="p-2")
        details = app.health()["dead_letters"].details

    assert (details["lost_dead_letters"], details["dead_letters"]) == (1, 1)
    [line] = [line for line in log if line["event"] == "catga.dead_letter_lost"]
    assert (line["log_level"], line["message_id"]) == ("error", "p-1")
    assert "OSError: the disk is full" in line["error"]
    # The others were delivered to all the same.
    assert handled.calls.count(("works", 1)) == 2


async def test_a_publisher_that_is_cancelled_leaves_no_letter(place: Place):
    handled = Handled()
    handled.gate = Gate()
    async with listening(place, handled).running() as app:
        publishing = asyncio.ensure_future(app.mediator.publish(Placed()))
        await handled.gate.reached()
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        assert await app.get(DeadLetterQueue).count() == 0


async def test_what_the_outbox_gave_up_is_sent_by_a_replay(place: Place):
    handled = Handled()
    handled.fails = None
    async with listening(place, handled).running() as app:
        letter = DeadLetter(
            id="p-1:",
            source=DeadLetterSource.OUTBOX,
            handler="",
            name="letters.Placed",
            schema_version=1,
            format=app.serializer.name,
            data=app.serializer.encode(Placed(7)),
            context=MessageContext("p-1", "p-1"),
            code="TRANSPORT_FAILED",
            message="no connection",
            traceback=None,
            attempts=20,
            first_failed_at=1.0,
            last_failed_at=2.0,
        )
        await app.dead_letters.add(letter)
        result = await app.get(DeadLetterQueue).replay("p-1:")

        assert result.is_success
        assert await app.get(DeadLetterQueue).count() == 0
    assert sorted(handled.calls) == [("fails", 7), ("works", 7)]


async def test_event_that_could_not_be_decoded_is_replayed_to_every_handler(place: Place):
    handled = Handled()
    async with listening(place, handled).running() as app:
        await app.mediator.publish(Placed(7))
        own = await only_letter(app)
        await app.dead_letters.add(
            msgspec.structs.replace(own, id="x", handler="", source=DeadLetterSource.TRANSPORT)
        )
        handled.calls.clear()

        assert (await app.get(DeadLetterQueue).replay("x")).is_success
        # The handler that failed again has its own letter.
        left = await only_letter(app)

    assert (left.id, left.attempts) == (own.id, 2)
    assert sorted(handled.calls) == [("fails", 7), ("works", 7)]


@pytest.mark.parametrize("change", [{"format": ""}, {"name": "letters.Opaque"}])
async def test_event_that_still_cannot_be_delivered_is_not_replayed(place: Place, change: dict[str, str]):
    async with listening(place, Handled()).running() as app:
        await app.mediator.publish(Placed())
        letter = await only_letter(app)
        await app.dead_letters.add(
            msgspec.structs.replace(letter, id="x", source=DeadLetterSource.TRANSPORT, **change)
        )
        result = await app.get(DeadLetterQueue).replay("x")

        assert not result.is_success
        left = await app.dead_letters.get("x")
        assert left is not None
        assert left.replays == 0


async def test_what_could_not_be_read_is_delivered_once_it_can_be(place: Place):
    handled = Handled()
    handled.fails = None
    async with listening(place, handled).running() as app:
        letter = DeadLetter(
            id="t-1",
            source=DeadLetterSource.TRANSPORT,
            handler="",
            name="letters.Unknown",
            schema_version=1,
            format=app.serializer.name,
            data=app.serializer.encode(Placed(7)),
            context=MessageContext("p-1", "p-1"),
            code="UNKNOWN_MESSAGE",
            message="no class is known",
            traceback=None,
            attempts=1,
            first_failed_at=1.0,
            last_failed_at=2.0,
        )
        await app.dead_letters.add(letter)
        queue = app.get(DeadLetterQueue)

        unread = await queue.replay("t-1")
        assert not unread.is_success
        assert await app.dead_letters.get("t-1") == letter, "it does not count as a replay"
        # A release that knows the class.
        await app.dead_letters.add(msgspec.structs.replace(letter, name="letters.Placed"))
        result = await queue.replay("t-1")

        assert result.is_success, result
        assert await queue.count() == 0
    assert sorted(handled.calls) == [("fails", 7), ("works", 7)]


async def test_what_could_not_be_read_stays_when_nobody_handles_it_here(place: Place):
    async with listening(place, Handled()).running() as app:
        await app.mediator.publish(Placed())
        letter = msgspec.structs.replace(
            await only_letter(app), id="x", source=DeadLetterSource.TRANSPORT, handler=""
        )
        await app.dead_letters.add(letter)
    async with place.container().running() as other:
        result = await other.get(DeadLetterQueue).replay("x")

        assert result.error.code == "HANDLER_NOT_FOUND"
        assert await other.dead_letters.get("x") == letter


async def test_event_that_could_not_be_decoded_stays_where_its_failures_are_not_kept(place: Place):
    handled = Handled()
    async with listening(place, handled).running() as app:
        await app.mediator.publish(Placed())
        own = await only_letter(app)
        letter = msgspec.structs.replace(own, id="x", handler="", source=DeadLetterSource.TRANSPORT)
        await app.dead_letters.add(letter)
        await app.dead_letters.remove(own.id)
    async with listening(place, handled, enable_dead_letter_queue=False).running() as app:
        result = await app.get(DeadLetterQueue).replay("x")

        assert not result.is_success
        assert (await only_letter(app)).id == "x"


async def test_a_handler_that_cannot_be_made_leaves_a_letter_for_it(place: Place):
    class Printer:
        pass

    class Prints:
        def __init__(self, printer: Printer) -> None: ...

        async def handle(self, message: Placed) -> None: ...

    def broken() -> Printer:
        raise OSError("no printer")

    catga = place.container(enable_dead_letter_queue=True)
    catga.add_singleton(Printer)
    catga.add_handlers(Prints)
    add_memory_transport(catga, "memory://broken")
    async with catga.running() as app:
        with catga.override(Printer, broken):
            await app.mediator.publish(Placed(), message_id="p-1")
            await eventually(lambda: app.dead_letters.count())
        letter = await only_letter(app)

        assert (letter.handler, letter.code) == ("Prints", "INTERNAL_ERROR")
        assert (await app.get(DeadLetterQueue).replay(letter.id)).is_success


def test_nothing_of_it_is_imported_before_it_is_asked_for():
    out = run_program(
        """
        import asyncio, sys
        from catga_core import add_catga

        async def main():
            async with add_catga().running():
                pass

        asyncio.run(main())
        print(sorted(name for name in sys.modules if name.startswith("catga_core.reliability")))
        """
    )
    assert out.splitlines()[-1] == "[]"
