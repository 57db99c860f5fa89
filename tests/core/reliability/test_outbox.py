from __future__ import annotations

import asyncio
from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest

from catga_core import (
    CatgaContainer,
    CatgaError,
    CatgaMediator,
    CatgaResult,
    Command,
    ErrorCode,
    Event,
    MessageContext,
    MessageType,
    Transport,
    TransportCapabilities,
    current_context,
    message,
)
from catga_core.event_sourcing import add_upcasters, upcaster
from catga_core.interfaces import Health, HealthStatus
from catga_core.interfaces.dead_letters import DeadLetterSource, DeadLetterStore
from catga_core.interfaces.outbox import LeasedMessage, OutboxMessage, OutboxStats, OutboxStore
from catga_core.interfaces.transport import Inbound
from catga_core.memory.stores import memory_stores
from catga_core.reliability import OutboxMonitor, OutboxRelay, ordered_by
from catga_core.unit_of_work import active_unit_of_work
from catga_testing import ManualClock
from catga_testing.waiting import eventually
from tests.core.reliability.support import moved
from tests.core.support import Gate
from tests.stores import Place


@message(name="outbox.Placed")
class Placed(Event):
    number: int


class Place_(Command[None]):
    numbers: tuple[int, ...] = (1,)
    then: str = "succeed"


@ordered_by(None)
class Loose(Event):
    number: int


@message(name="outbox.Sold", version=1)
class SoldOnce(Event):
    cents: int


@message(name="outbox.Sold", version=2)
class Sold(Event):
    cents: int
    currency: str


@ordered_by(lambda event: event.order)
class Moved(Event):
    order: str
    number: int


class Wire:
    """A transport that keeps what it is given, and fails as the test says. What a server does is shown in tests/nats."""

    def __init__(self, fails: Any = lambda event: None) -> None:
        self.fails = fails
        self.sent: list[tuple[Any, MessageContext]] = []
        self.tries: list[Any] = []

    @property
    def capabilities(self) -> TransportCapabilities:
        return TransportCapabilities(remote=False)

    async def connect(self) -> None: ...

    async def serve(self, inbound: Inbound, /) -> None: ...

    async def request(self, described: MessageType, message: Any, context: MessageContext, /) -> Any:
        raise NotImplementedError

    async def publish(self, described: MessageType, event: Event, context: MessageContext, /) -> None:
        self.tries.append(event)
        error = self.fails(event)
        if asyncio.iscoroutine(error):
            error = await error
        if error is not None:
            raise error
        self.sent.append((event, context))

    async def drain(self, timeout: float, /) -> None: ...

    async def close(self) -> None: ...

    def health(self) -> Health:
        return Health(HealthStatus.HEALTHY)

    @property
    def events(self) -> list[Any]:
        return [event for event, _ in self.sent]


async def place_(message: Place_, mediator: CatgaMediator) -> Any:
    for number in message.numbers:
        await mediator.publish(Placed(number))
    if message.then == "fail":
        return CatgaResult.failure(code="NO_PAPER")
    return None


def placing(place: Place, wire: Wire | None = None, **options: Any) -> CatgaContainer:
    catga = place.container(**{"enable_outbox": True, "outbox_retry_delay_seconds": 0.02, **options})
    catga.add_handlers(place_)
    if wire is not None:
        catga.add_singleton(Transport, wire, instance=True)
    return catga


async def pending(app: Any) -> int:
    stats: OutboxStats = await app.outbox.stats()
    return stats.pending


async def is_empty(app: Any) -> bool:
    return await pending(app) == 0


async def test_what_a_handler_publishes_is_sent_after_its_commit(place: Place):
    wire = Wire()
    async with placing(place, wire).running() as app:
        await app.mediator.send(Place_())
        await eventually(lambda: wire.events == [Placed(1)])
        await eventually(lambda: is_empty(app))
        assert app.health()["outbox_relay"].details["sent"] == 1


async def test_what_a_handler_publishes_and_then_fails_is_never_sent(place: Place):
    wire = Wire()
    async with placing(place, wire).running() as app:
        await app.mediator.send(Place_((1,), "fail"))
        await app.mediator.send(Place_((2,)))
        await eventually(lambda: Placed(2) in wire.events)

    assert wire.events == [Placed(2)]


class Stepping(ManualClock):
    """A clock that can be set to an earlier time."""

    offset = 0.0

    def time(self) -> float:
        return super().time() + self.offset


async def test_a_retry_is_not_delayed_by_a_clock_that_steps_back(place: Place):
    clock, fails = Stepping(), [ConnectionError("cut")]
    wire = Wire(lambda event: fails.pop() if fails else None)
    async with moved(placing(place, wire), clock) as app:
        async with app.unit_of_work():
            await app.mediator.publish(Placed(1))
            await app.mediator.publish(Placed(2))
        await eventually(lambda: not fails)
        clock.offset = -3600

        await eventually(lambda: wire.events == [Placed(1), Placed(2)])


async def test_another_event_under_an_id_of_the_outbox_is_a_conflict(place: Place):
    wire = Wire()
    async with placing(place, wire).running() as app:
        async with app.unit_of_work():
            await app.mediator.publish(Placed(1), message_id="p-1")
        await eventually(lambda: is_empty(app))
        for other in (Placed(2), Moved("o", 1)):
            with pytest.raises(CatgaError) as refused:
                async with app.unit_of_work():
                    await app.mediator.publish(other, message_id="p-1")
            assert (refused.value.code, refused.value.retryable) == ("CONFLICT", False)
        async with app.unit_of_work():
            await app.mediator.publish(Placed(1), message_id="p-1")
            await app.mediator.publish(Placed(3), message_id="p-3")
        await eventually(lambda: Placed(3) in wire.events)

    assert wire.events == [Placed(1), Placed(3)]


async def test_nothing_is_sent_before_the_commit(place: Place):
    wire = Wire()
    async with placing(place, wire).running() as app:
        async with app.unit_of_work():
            await app.mediator.publish(Placed(1))
            await app.mediator.publish(Placed(2), message_id="p-2", headers={"tenant": "a"})
            assert wire.events == []
        await eventually(lambda: len(wire.sent) == 2)

    sent = {event.number: context for event, context in wire.sent}
    assert (sent[2].message_id, dict(sent[2].headers)) == ("p-2", {"tenant": "a"})


async def test_what_is_published_in_a_block_that_raises_is_never_sent(place: Place):
    async with placing(place, Wire()).running() as app:

        async def raises() -> None:
            async with app.unit_of_work():
                await app.mediator.publish(Placed(1))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await raises()
        assert await is_empty(app)


async def test_what_is_published_outside_of_any_unit_of_work_goes_out_at_once(place: Place):
    wire = Wire()
    async with placing(place, wire).running() as app:
        await app.mediator.publish(Placed(1))
        assert wire.events == [Placed(1)]


async def test_without_the_option_a_unit_of_work_does_not_hold_back_what_is_published(place: Place):
    wire = Wire()
    async with placing(place, wire, enable_outbox=False).running() as app, app.unit_of_work():
        await app.mediator.publish(Placed(1))
        assert wire.events == [Placed(1)]


async def test_the_event_continues_the_conversation_it_was_published_in(place: Place):
    wire = Wire()
    async with placing(place, wire).running() as app:
        await app.mediator.send(Place_(), message_id="c-1", timeout=30)
        await eventually(lambda: wire.sent)

    context = wire.sent[0][1]
    assert (context.correlation_id, context.causation_id, context.deadline) == ("c-1", "c-1", None)


async def test_a_try_that_fails_is_repeated_with_the_same_message_id(place: Place):
    failures = [CatgaError("no connection", code="TRANSPORT_FAILED"), OSError("no route")]
    wire = Wire(lambda event: failures.pop() if failures else None)
    async with placing(place, wire).running() as app:
        async with app.unit_of_work():
            await app.mediator.publish(Placed(1), message_id="p-1")
        await eventually(lambda: wire.sent)

    assert len(wire.tries) == 3
    assert wire.sent[0][1].message_id == "p-1"


async def test_events_of_one_conversation_are_sent_in_order_also_when_one_has_to_wait(place: Place):
    failed: list[Any] = []

    def fails(event: Any) -> Any:
        if event == Placed(2) and len(failed) < 2:
            failed.append(event)
            return CatgaError("no connection", code="TRANSPORT_FAILED")
        return None

    wire = Wire(fails)
    async with placing(place, wire).running() as app:
        await app.mediator.send(Place_(tuple(range(6))))
        await eventually(lambda: len(wire.sent) == 6)

    assert wire.events == [Placed(number) for number in range(6)]


async def test_events_of_one_unit_of_work_outside_of_any_message_are_sent_in_order(place: Place):
    wire: Wire = Wire(
        lambda event: CatgaError("later", code="TRANSPORT_FAILED") if wire.tries == [Placed(1)] else None
    )
    async with placing(place, wire).running() as app:
        async with app.unit_of_work():
            for number in range(1, 4):
                await app.mediator.publish(Placed(number))
        await eventually(lambda: len(wire.sent) == 3)

    assert wire.events == [Placed(1), Placed(2), Placed(3)]
    assert len({context.correlation_id for _, context in wire.sent}) == 3


async def test_conversations_do_not_wait_for_each_other(place: Place):
    gate = Gate()

    async def stuck() -> None:
        await gate.pass_through()

    wire = Wire(lambda event: stuck() if event == Placed(1) else None)
    async with placing(place, wire).running() as app:
        await app.mediator.send(Place_((1, 2)))
        await app.mediator.send(Place_((3, 4)))
        await eventually(lambda: wire.events == [Placed(3), Placed(4)])
        gate.open()
        await eventually(lambda: wire.events == [Placed(3), Placed(4), Placed(1), Placed(2)])


async def test_an_event_class_says_what_it_is_ordered_by(place: Place):
    def fails(event: Any) -> Any:
        once = [each for each in wire.tries if each == event] == [event]
        return CatgaError("later", code="TRANSPORT_FAILED") if once and event.number == 1 else None

    wire = Wire(fails)
    async with placing(place, wire).running() as app:
        # One conversation each, so that the orders alone say what waits for what.
        for order, number in [("a", 1), ("b", 2), ("a", 3)]:
            async with app.unit_of_work():
                await app.mediator.publish(Moved(order, number))
        await eventually(lambda: len(wire.sent) == 3)

    numbers = [event.number for event in wire.events]
    assert numbers.index(1) < numbers.index(3)
    assert numbers[0] == 2


async def test_an_event_class_without_order_waits_for_no_other(place: Place):
    wire = Wire(lambda event: CatgaError("never", code="TRANSPORT_FAILED") if event.number == 1 else None)
    async with placing(place, wire).running() as app:
        async with app.unit_of_work():
            await app.mediator.publish(Loose(1))
            await app.mediator.publish(Loose(2))
        await eventually(lambda: wire.events == [Loose(2)])


@pytest.mark.parametrize("key", ["", 7])
async def test_an_order_that_is_no_text_fails_the_publisher(place: Place, key: Any):
    @ordered_by(lambda event: key)
    class Odd(Event):
        pass

    async with placing(place).running() as app, app.unit_of_work():
        with pytest.raises(CatgaError, match=f"The key of Odd must be a non-empty str; got {key!r}"):
            await app.mediator.publish(Odd())


async def test_without_a_transport_the_relay_calls_this_processs_handlers(place: Place):
    seen: list[Any] = []

    async def first(message: Placed) -> None:
        # Not in the publisher's unit of work, but in its own.
        seen.append((message.number, current_context().causation_id, active_unit_of_work.get() is not None))

    async def second(message: Placed) -> None:
        raise ValueError("no paper")

    catga = placing(place)
    catga.add_handlers(first, second)
    async with catga.running() as app:
        await app.mediator.send(Place_(), message_id="c-1")
        await eventually(lambda: seen == [(1, "c-1", True)])
        await eventually(lambda: app.health()["mediator"].details["failed_event_handlers"] == 1)
        # A handler that fails is no failure to send: that is the dead letters' affair.
        await eventually(lambda: app.health()["outbox_relay"].details["sent"] == 1)


@pytest.mark.parametrize("first", [True, False])
async def test_relayed_events_handler_that_cancels_its_task_fails_alone(place: Place, first: bool) -> None:
    """The other handlers are called, the relay sends what follows, and the stop does not wait for it."""
    handled: list[int] = []
    tried: list[int] = []

    async def handle(event: Placed) -> None:
        handled.append(event.number)

    async def cancel(event: Placed) -> None:
        tried.append(event.number)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(30)

    catga = place.container(enable_outbox=True, enable_dead_letter_queue=True)
    catga.add_handlers(place_, *((cancel, handle) if first else (handle, cancel)))
    async with catga.running() as app:
        await app.mediator.send(Place_((1, 2, 3)))
        await eventually(lambda: handled == [1, 2, 3])
        await eventually(lambda: is_empty(app))
        letters = (await app.dead_letters.find()).letters

    assert tried == [1, 2, 3]
    assert [(letter.handler, letter.code) for letter in letters] == [("cancel", "HANDLER_FAILED")] * 3


async def test_a_handler_of_a_relayed_event_may_publish_in_its_turn(place: Place):
    seen: list[int] = []

    async def again(message: Placed, mediator: CatgaMediator) -> None:
        seen.append(message.number)
        if message.number < 3:
            await mediator.publish(Placed(message.number + 1))

    catga = placing(place)
    catga.add_handlers(again)
    async with catga.running() as app:
        await app.mediator.send(Place_())
        await eventually(lambda: seen == [1, 2, 3])


async def test_what_is_tried_too_often_goes_to_the_dead_letters_and_holds_up_nobody(
    place: Place, log: list[MutableMapping[str, Any]]
):
    wire = Wire(lambda event: CatgaError("no", code="TRANSPORT_FAILED") if event == Placed(1) else None)
    async with placing(place, wire, outbox_max_attempts=3).running() as app:
        await app.mediator.send(Place_((1, 2)), message_id="c-1")
        # The second of the conversation, once the first is given up.
        await eventually(lambda: wire.events == [Placed(2)])
        await eventually(lambda: is_empty(app))
        page = await app.dead_letters.find()

    assert len([each for each in wire.tries if each == Placed(1)]) == 3
    [letter] = page.letters
    assert (letter.source, letter.name, letter.code, letter.message) == (
        DeadLetterSource.OUTBOX,
        "outbox.Placed",
        "TRANSPORT_FAILED",
        "no",
    )
    assert (letter.attempts, letter.context.correlation_id, letter.handler) == (3, "c-1", "")
    [line] = [line for line in log if line["event"] == "catga.dead_letter"]
    assert (line["log_level"], line["message_id"], line["attempts"]) == (
        "error",
        letter.context.message_id,
        3,
    )


async def test_what_can_never_be_sent_goes_to_the_dead_letters_at_once(place: Place):
    wire = Wire(lambda event: CatgaError("too large", code="SERIALIZATION_FAILED"))
    async with placing(place, wire).running() as app:
        async with app.unit_of_work():
            await app.mediator.publish(Placed(1))
        await eventually(lambda: app.dead_letters.count())

    assert len(wire.tries) == 1


async def test_a_dead_letter_that_cannot_be_written_leaves_the_event_in_the_outbox(place: Place):
    class Full:
        def __getattr__(self, name: str) -> Any:
            raise CatgaError("the disk is full", code="PERSISTENCE_FAILED")

    healthy = False
    wire = Wire(lambda event: None if healthy else CatgaError("too large", code="SERIALIZATION_FAILED"))
    catga = placing(place, wire)
    async with catga.running() as app:
        with catga.override(DeadLetterStore, Full()):
            async with app.unit_of_work():
                await app.mediator.publish(Placed(1))
            await eventually(lambda: len(wire.tries) >= 2)
            assert await pending(app) == 1
        healthy = True
        await eventually(lambda: wire.events == [Placed(1)])


async def test_an_event_that_has_no_bytes_fails_its_publisher(place: Place):
    class Odd(Event):
        what: Any

    async with placing(place).running() as app, app.unit_of_work():
        with pytest.raises(CatgaError) as raised:
            await app.mediator.publish(Odd(object()))

    assert raised.value.code == "SERIALIZATION_FAILED"


async def test_several_relays_share_the_work_and_send_everything_once(place: Place):
    wires = [Wire(), Wire()]
    async with (
        placing(place, wires[0], outbox_batch_size=4).running() as one,
        placing(place, wires[1], outbox_batch_size=4).running() as two,
    ):
        for app in [one, two]:
            for number in range(0, 100, 10):
                await app.mediator.send(Place_(tuple(range(number, number + 10))))
        await eventually(lambda: sum(len(wire.sent) for wire in wires) == 200)

    ids = [context.message_id for wire in wires for _, context in wire.sent]
    assert len(set(ids)) == 200


async def test_what_a_dead_relay_had_is_taken_over_after_its_lease(memory: Place):
    clock = ManualClock()
    wire = Wire()
    async with moved(placing(memory, Wire(), enable_outbox_relay=False), clock) as one:
        await one.mediator.send(Place_((1, 2)))
        # A relay that leased and died.
        assert len(await one.outbox.lease(limit=10, lease=30)) == 2

        async with moved(placing(memory, wire), clock):
            await asyncio.sleep(0.1)
            assert wire.tries == []
            clock.advance(31)
            await eventually(lambda: wire.events == [Placed(1), Placed(2)])


async def test_the_lease_is_renewed_while_a_message_is_sent(memory: Place):
    clock = ManualClock()
    gate = Gate()

    async def stuck() -> None:
        await gate.pass_through()

    slow, other = Wire(lambda event: stuck()), Wire()
    async with moved(placing(memory, slow), clock) as one, moved(placing(memory, other), clock):
        while not slow.tries:
            await one.mediator.send(Place_())
            await eventually(lambda: slow.tries or other.events)
        other.sent.clear()
        for _ in range(10):
            clock.advance(10)
            await asyncio.sleep(0.005)
        assert other.sent == []
        gate.open()
        await eventually(lambda: len(slow.sent) == 1)
        await asyncio.sleep(0.1)
        assert other.sent == []


async def test_a_relay_that_stood_still_for_longer_than_its_lease_sends_no_more_of_what_it_had(memory: Place):
    class Silent:
        """Does not answer a relay that asks whether a lease is still its own."""

        def __init__(self, outbox: OutboxStore) -> None:
            self._outbox = outbox

        def __getattr__(self, name: str) -> Any:
            return getattr(self._outbox, name)

        async def renew(self, leased: Sequence[LeasedMessage], /, *, lease: float) -> list[LeasedMessage]:
            await asyncio.Event().wait()
            return list(leased)

    clock, gate = ManualClock(), Gate()
    wire = Wire(lambda event: gate.pass_through())
    catga = placing(memory, wire)
    async with moved(catga, clock) as app:
        with catga.override(OutboxStore, Silent(app.outbox)):
            await app.mediator.send(Place_((1, 2)))
            await gate.reached()
            clock.advance(31)
            taken_over = await app.outbox.lease(limit=10, lease=30)
            assert len(taken_over) == 2
            gate.open()
            await eventually(lambda: wire.events == [Placed(1)])
            await eventually(lambda: app.health()["outbox_relay"].details["in_flight"] == 0)

            assert wire.tries == [Placed(1)]
            # Whoever has them now is not disturbed.
            await app.outbox.complete(taken_over)
            assert (await app.outbox.stats()).pending == 0


async def test_a_relay_that_stops_ends_what_it_sends_and_gives_back_the_rest(place: Place):
    gate = Gate()

    async def stuck() -> None:
        await gate.pass_through()

    wire, other = Wire(lambda event: stuck()), Wire()
    catga = placing(place, wire)
    async with catga.running() as app:
        relay = app.get(OutboxRelay)
        await app.mediator.send(Place_((1, 2, 3)))
        await gate.reached()
        relay._lasting = lambda: True
        stopping = asyncio.create_task(relay.stop())
        await asyncio.sleep(0.01)
        assert not stopping.done()
        gate.open()
        await stopping
        assert wire.events == [Placed(1)]
        # Due at once, for whoever comes next.
        async with placing(place, other).running():
            await eventually(lambda: other.events == [Placed(2), Placed(3)])


async def test_a_relay_whose_stop_takes_too_long_gives_everything_back(place: Place):
    gate = Gate()

    async def stuck() -> None:
        await gate.pass_through()

    wire, other = Wire(lambda event: stuck()), Wire()
    async with placing(place, wire).running() as app:
        relay = app.get(OutboxRelay)
        await app.mediator.send(Place_((1, 2)))
        await gate.reached()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await relay.stop()
        async with placing(place, other).running():
            await eventually(lambda: other.events == [Placed(1), Placed(2)])


async def test_what_could_not_be_sent_when_the_container_stops_is_sent_by_the_next(place: Place):
    broken, wire = Wire(lambda event: CatgaError("no", code="TRANSPORT_FAILED")), Wire()
    async with placing(place, broken).running() as app:
        await app.mediator.send(Place_((1, 2, 3)), message_id="c-1")
        await eventually(lambda: broken.tries)
    async with placing(place, wire).running():
        await eventually(lambda: wire.events == [Placed(1), Placed(2), Placed(3)])

    assert broken.sent == []
    assert {context.correlation_id for _, context in wire.sent} == {"c-1"}


async def test_what_is_only_in_memory_is_sent_before_the_container_stops(memory: Place):
    seen: list[int] = []

    async def handle(message: Placed, mediator: CatgaMediator) -> None:
        seen.append(message.number)
        if message.number < 3:
            await mediator.publish(Placed(message.number + 1))

    catga = placing(memory, outbox_poll_seconds=60)
    catga.add_handlers(handle)
    async with catga.running() as app:
        await app.mediator.send(Place_())

    assert seen == [1, 2, 3]


async def test_what_a_message_in_flight_publishes_while_the_container_stops_is_sent(memory: Place):
    gate = Gate()
    wire = Wire()

    class Slow(Command[None]):
        pass

    async def slow(message: Slow, mediator: CatgaMediator) -> None:
        await gate.pass_through()
        await mediator.publish(Placed(9))

    catga = placing(memory, wire)
    catga.add_handlers(slow)
    async with catga.running() as app:
        sending = asyncio.create_task(app.mediator.send(Slow()))
        await gate.reached()
        asyncio.get_running_loop().call_later(0.05, gate.open)

    assert (await sending).is_success
    assert wire.events == [Placed(9)]


async def test_a_relay_that_has_as_much_as_it_may_have_waits_without_spinning(place: Place):
    gate = Gate()

    class Counting:
        asked = 0

        def __init__(self, inner: OutboxStore) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            Counting.asked += name in {"lease", "wait"}
            return getattr(self.inner, name)

    async def stuck() -> None:
        await gate.pass_through()

    wire = Wire(lambda event: stuck())
    catga = placing(place, wire, outbox_batch_size=1, outbox_poll_seconds=5)
    async with catga.running() as app:
        with catga.override(OutboxStore, Counting(app.outbox)):
            await app.mediator.send(Place_((1,)))
            await app.mediator.send(Place_((2,)))
            await gate.reached()
            await asyncio.sleep(0.02)
            before = Counting.asked
            await asyncio.sleep(0.1)
            assert Counting.asked - before <= 2
            gate.open()
            await eventually(lambda: len(wire.sent) == 2)


async def test_a_process_without_relay_leaves_the_outbox_to_another(place: Place):
    wire = Wire()
    async with placing(place, Wire(), enable_outbox_relay=False).running() as app:
        await app.mediator.send(Place_())
        await asyncio.sleep(0.1)
        assert await pending(app) == 1
        assert "outbox_relay" not in app.health()
        async with placing(place, wire).running():
            await eventually(lambda: wire.events == [Placed(1)])


async def test_an_outbox_that_nobody_relays_raises_an_alarm_and_lifts_it(
    memory: Place, log: list[MutableMapping[str, Any]]
):
    clock = ManualClock()
    options = {"enable_outbox_relay": False, "outbox_alarm_seconds": 60}
    async with moved(placing(memory, Wire(), **options), clock) as app:
        await app.mediator.send(Place_((1, 2)))
        monitor = app.get(OutboxMonitor)
        await monitor.look()
        assert app.health()["outbox_monitor"].status is HealthStatus.HEALTHY
        for _ in range(6):
            await clock.sleeping()
            clock.advance(20)
            await asyncio.sleep(0)
        await eventually(lambda: app.health()["outbox_monitor"].status is HealthStatus.DEGRADED)
        health = app.health()["outbox_monitor"]
        assert (
            health.description
            == "messages have waited in the outbox for longer than 60 s; no relay sends them"
        )
        assert health.details == {"pending": 2, "retrying": 0, "oldest_age_seconds": 120.0}

        await app.outbox.complete(await app.outbox.lease(limit=10, lease=30))
        await monitor.look()
        assert app.health()["outbox_monitor"].status is HealthStatus.HEALTHY

    alarms = [line for line in log if line["event"].startswith("catga.outbox_")]
    assert [line["event"] for line in alarms] == ["catga.outbox_stalled", "catga.outbox_recovered"]
    assert (alarms[0]["log_level"], alarms[0]["pending"]) == ("error", 2)


async def test_an_outbox_that_cannot_be_read_is_told_and_read_again_later(
    place: Place, log: list[MutableMapping[str, Any]]
):
    class Away:
        def __getattr__(self, name: str) -> Any:
            raise CatgaError("no connection", code="PERSISTENCE_FAILED")

    wire = Wire()
    catga = placing(place, wire)
    async with catga.running() as app:
        with catga.override(OutboxStore, Away()):
            await eventually(lambda: app.health()["outbox_relay"].status is HealthStatus.UNHEALTHY)
        await app.mediator.send(Place_())
        await eventually(lambda: wire.events == [Placed(1)])
        await eventually(lambda: app.health()["outbox_relay"].status is HealthStatus.HEALTHY)

    assert [line for line in log if line["event"] == "catga.outbox_unreachable"]


async def test_a_store_that_stands_in_for_the_outbox_is_filled_and_relayed_at_once(memory: Place):
    wire = Wire()
    catga = placing(memory, wire)
    async with catga.running() as app:
        other = memory_stores()[OutboxStore]
        with catga.override(OutboxStore, other):
            await app.mediator.send(Place_())
            await eventually(lambda: wire.events == [Placed(1)])
        await app.mediator.send(Place_((2,)))
        await eventually(lambda: wire.events == [Placed(1), Placed(2)])


class Forgetful:
    """An outbox that loses what was sent once, as a process that dies between sending and noting it."""

    def __init__(self, inner: OutboxStore) -> None:
        self.inner = inner
        self.lost = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def complete(self, leased: Sequence[LeasedMessage], /) -> None:
        if not self.lost:
            self.lost += 1
            await self.inner.release(leased)
            raise CatgaError("no connection", code="PERSISTENCE_FAILED")
        await self.inner.complete(leased)


async def test_what_was_sent_and_could_not_be_noted_is_sent_again_with_the_same_id(place: Place):
    wire = Wire()
    catga = placing(place, wire)
    async with catga.running() as app:
        with catga.override(OutboxStore, Forgetful(app.outbox)):
            async with app.unit_of_work():
                await app.mediator.publish(Placed(1))
            await eventually(lambda: len(wire.sent) == 2)

    assert wire.sent[0][1].message_id == wire.sent[1][1].message_id


async def test_an_event_whose_class_is_not_in_this_process_waits_for_one_that_has_it(
    place: Place, log: list[MutableMapping[str, Any]]
):
    wire = Wire()
    async with placing(place, wire).running() as app:
        message = OutboxMessage("NoSuchEvent", 3, "msgpack", b"\x80", MessageContext("m", "m"), None, 0.0)
        await app.outbox.add([message])
        await eventually(lambda: [line for line in log if line["event"] == "catga.outbox_send_failed"])
        # The line is written before the outbox is told.
        await eventually(lambda: retrying(app.outbox))

    [line, *_] = [line for line in log if line["event"] == "catga.outbox_send_failed"]
    assert line["error"].startswith("no class named NoSuchEvent v3 is known: import the module")


async def test_failures_of_an_outage_are_logged_once_in_a_while(
    memory: Place, log: list[MutableMapping[str, Any]]
):
    down = True
    clock = ManualClock()
    wire = Wire(lambda event: CatgaError("no connection", code="TRANSPORT_FAILED") if down else None)
    catga = placing(memory, wire, outbox_retry_max_delay_seconds=0.1)
    async with moved(catga, clock) as app:
        await app.mediator.send(Place_((1, 2)))
        await app.mediator.send(Place_((3, 4)))
        for _ in range(20):
            wire.tries.clear()
            clock.advance(0.2)
            await eventually(lambda: wire.tries)
        lines = [line for line in log if line["event"] == "catga.outbox_send_failed"]
        assert len(lines) == 1
        clock.advance(5)
        await eventually(
            lambda: len([line for line in log if line["event"] == "catga.outbox_send_failed"]) == 2
        )
        [_, second] = [line for line in log if line["event"] == "catga.outbox_send_failed"]
        assert second["unlogged"] >= 20
        down = False
        clock.advance(5)
        await eventually(lambda: is_empty(app))


async def test_an_event_of_an_older_version_is_sent_as_its_own_class_as_long_as_that_is_there(place: Place):
    wire = Wire()
    async with placing(place, Wire(), enable_outbox_relay=False).running() as old:
        async with old.unit_of_work():
            await old.mediator.publish(SoldOnce(5))
            await old.mediator.publish(Sold(5, "EUR"))
        async with placing(place, wire).running():
            await eventually(lambda: wire.events == [SoldOnce(5), Sold(5, "EUR")])


async def test_pending_event_of_an_older_version_is_sent_as_the_newest(place: Place):
    @upcaster("outbox.Sold", from_version=1)
    def with_currency(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "currency": "EUR"}

    wire = Wire()
    async with placing(place, Wire(), enable_outbox_relay=False).running() as old:
        async with old.unit_of_work():
            await old.mediator.publish(SoldOnce(5))
        new = placing(place, wire)
        add_upcasters(new, with_currency)
        async with new.running():
            await eventually(lambda: wire.events == [Sold(5, "EUR")])


async def test_bytes_that_fit_no_longer_go_to_the_dead_letters_at_once(place: Place):
    async with placing(place, Wire()).running() as app:
        message = OutboxMessage("outbox.Placed", 1, "msgpack", b"\xc1", MessageContext("m", "m"), None, 0.0)
        await app.outbox.add([message])
        await eventually(lambda: app.dead_letters.count())
        [letter] = (await app.dead_letters.find()).letters

    assert letter.code == "SERIALIZATION_FAILED"
    assert letter.data == b"\xc1"


def test_only_events_can_be_ordered():
    with pytest.raises(TypeError, match="requires an event class; got Place_"):
        ordered_by(None)(Place_)  # type: ignore[type-var]


async def retrying(outbox: OutboxStore) -> bool:
    return (await outbox.stats()).retrying == 1


class Left(Event):
    pass


class Unreachable:
    """A store that does not answer."""

    def __getattr__(self, name: str) -> Any:
        raise CatgaError("the storage is gone", code=ErrorCode.PERSISTENCE_FAILED)


async def test_what_neither_a_handler_nor_the_dead_letters_took_stays_in_the_outbox(place: Place):
    handled = asyncio.Event()
    runs: list[str] = []
    gone = True

    async def listen(event: Left) -> None:
        runs.append(current_context().message_id)
        if gone:
            raise CatgaError("the storage is gone", code=ErrorCode.PERSISTENCE_FAILED)
        handled.set()

    catga = place.container(
        enable_outbox=True, enable_dead_letter_queue=True, outbox_retry_delay_seconds=0.01
    )
    catga.add_handlers(listen)
    async with catga.running() as app:
        with catga.override(DeadLetterStore, Unreachable()):
            async with app.unit_of_work():
                await app.mediator.publish(Left())
            await eventually(lambda: len(runs) >= 2)
            gone = False
            async with asyncio.timeout(10):
                await handled.wait()

        assert len(set(runs)) == 1
        assert await app.dead_letters.count() == 0
        assert app.health()["dead_letters"].details["lost_dead_letters"] == 0


class SlowToRecord:
    """An outbox whose `complete` waits for a gate."""

    def __init__(self, inner: OutboxStore, gate: Gate) -> None:
        self.inner = inner
        self.gate = gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def complete(self, leased: Sequence[LeasedMessage], /) -> None:
        await self.gate.pass_through()
        await self.inner.complete(leased)


async def test_relay_sends_more_while_sent_messages_are_recorded_within_bounds(place: Place):
    wire, gate = Wire(), Gate()
    catga = placing(place, wire, outbox_batch_size=2)
    async with catga.running() as app:
        with catga.override(OutboxStore, SlowToRecord(app.outbox, gate)):
            async with app.unit_of_work():
                for number in range(6):
                    await app.mediator.publish(Loose(number))
            await eventually(lambda: len(wire.sent) == 4)
            held = app.health()["outbox_relay"].details["in_flight"]
            sent = len(wire.sent)

            gate.open()
            await eventually(lambda: is_empty(app))

    assert (held, sent) == (4, 4)
    assert sorted(event.number for event in wire.events) == list(range(6))
