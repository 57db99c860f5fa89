"""The outbox retries an event that could not be sent, and moves it to the dead letters after its last attempt."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping, Sequence
from typing import Any

from catga_core import CatgaError, ErrorCode, Event, current_context
from catga_core.interfaces import HealthStatus
from catga_core.interfaces.dead_letters import DeadLetterSource, DeadLetterStore
from catga_core.interfaces.outbox import LeasedMessage, OutboxStore
from catga_core.reliability import OutboxMonitor
from catga_testing import ManualClock
from catga_testing.waiting import eventually
from tests.core.reliability.outbox_support import Place_, Placed, Wire, is_empty, pending, placing
from tests.core.reliability.support import moved
from tests.stores import Place


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


async def test_a_try_that_fails_is_repeated_with_the_same_message_id(place: Place):
    failures = [CatgaError("no connection", code="TRANSPORT_FAILED"), OSError("no route")]
    wire = Wire(lambda event: failures.pop() if failures else None)
    async with placing(place, wire).running() as app:
        async with app.unit_of_work():
            await app.mediator.publish(Placed(1), message_id="p-1")
        await eventually(lambda: wire.sent)

    assert len(wire.tries) == 3
    assert wire.sent[0][1].message_id == "p-1"


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
