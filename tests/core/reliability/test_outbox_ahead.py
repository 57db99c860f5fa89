from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from catga_core import CatgaError, ErrorCode
from catga_core.reliability import OutboxRelay
from catga_testing import ManualClock
from catga_testing.waiting import eventually
from tests.core.reliability.outbox_support import Loose, Wire, is_empty, placing
from tests.core.reliability.support import moved
from tests.core.support import Gate
from tests.stores import Place


class Gated(Wire):
    """A transport whose second event and those after it wait for a gate."""

    def __init__(self, clock: ManualClock, seconds: float = 0.0) -> None:
        super().__init__(self._hold)
        self.gate = Gate()
        self._clock = clock
        self._seconds = seconds

    def _hold(self, event: Any) -> Any:
        if event.number:
            return self.gate.pass_through()
        # That is how long the first one takes.
        self._clock.advance(self._seconds)
        return None


@asynccontextmanager
async def stuck_after_one(place: Place, wire: Gated, clock: ManualClock) -> AsyncGenerator[Any]:
    """Relay one event, then have nine others whose sending waits."""
    async with moved(placing(place, wire, outbox_batch_size=2), clock) as app:
        async with app.unit_of_work():
            await app.mediator.publish(Loose(0))
        await eventually(lambda: is_empty(app))
        async with app.unit_of_work():
            for number in range(1, 10):
                await app.mediator.publish(Loose(number))
        await eventually(lambda: wire.gate.arrived == 2)
        try:
            yield app
        finally:
            wire.gate.open()


def held(app: Any) -> Any:
    return app.health()["outbox_relay"].details["in_flight"]


async def left(app: Any) -> list[int]:
    """Lease what another relay would get."""
    found = await app.outbox.lease(limit=20, lease=60)
    await app.outbox.release(found)
    return [each.sequence for each in found]


async def test_relay_that_sends_quickly_leases_a_batch_ahead_and_not_more(place: Place):
    clock = ManualClock()
    wire = Gated(clock)
    async with stuck_after_one(place, wire, clock) as app:
        await eventually(lambda: held(app) == 4)
        assert len(await left(app)) == 5
        assert wire.gate.arrived == 2
        wire.gate.open()
        await eventually(lambda: is_empty(app))
    assert sorted(event.number for event in wire.events) == list(range(10))


async def test_relay_that_sends_slowly_leaves_the_next_messages_to_others(place: Place):
    clock = ManualClock()
    wire = Gated(clock, seconds=1.0)
    async with stuck_after_one(place, wire, clock) as app:
        assert held(app) == 2
        assert len(await left(app)) == 7
        wire.gate.open()
        await eventually(lambda: is_empty(app))


async def test_relay_that_stops_gives_back_at_once_what_it_had_leased_ahead(place: Place):
    clock = ManualClock()
    wire = Gated(clock)
    async with stuck_after_one(place, wire, clock) as app:
        await eventually(lambda: held(app) == 4)
        relay = app.get(OutboxRelay)
        relay._lasting = lambda: True
        stopping = asyncio.create_task(relay.stop())
        await eventually(lambda: held(app) == 2)
        assert len(await left(app)) == 7
        assert not stopping.done()
        wire.gate.open()
        await stopping
        # What was being sent ends; nothing else begins.
        assert wire.gate.arrived == 2


async def test_what_another_relay_took_over_meanwhile_is_not_sent(place: Place):
    """Those that were being sent then are: that is at least once."""
    clock = ManualClock()
    wire = Gated(clock)
    async with stuck_after_one(place, wire, clock) as app:
        await eventually(lambda: held(app) == 4)
        clock.advance(3600)
        taken = await app.outbox.lease(limit=20, lease=7200)
        wire.gate.open()
        await eventually(lambda: held(app) == 0)
    numbers = {msgspec.msgpack.decode(each.message.data)["number"] for each in taken}
    assert len(numbers) >= 5
    assert numbers & {event.number for event in wire.events} <= {1, 2}


async def test_relay_whose_stop_is_cancelled_gives_back_all_it_has(place: Place):
    clock = ManualClock()
    wire = Gated(clock)
    async with stuck_after_one(place, wire, clock) as app:
        await eventually(lambda: held(app) == 4)
        relay = app.get(OutboxRelay)
        stopping = asyncio.create_task(relay.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        await asyncio.wait({stopping})

        assert held(app) == 0
        assert len(await left(app)) == 9
        assert wire.gate.arrived == 2


@pytest.mark.parametrize("fails", [False, True])
async def test_busy_relay_records_and_leases_in_one_call(
    place: Place, monkeypatch: pytest.MonkeyPatch, fails: bool
):
    wire = Wire()
    async with placing(place, wire, outbox_batch_size=4).running() as app:
        store: Any = type(app.outbox)
        real = store.lease
        recorded: list[int] = []

        async def lease(self: Any, *, sent: Any = (), **options: Any) -> Any:
            if sent:
                recorded.extend(each.sequence for each in sent)
                if fails and len(recorded) == len(sent):
                    # As when they end: other relays have them at once.
                    await self.release(sent)
                    raise CatgaError("no answer", code=ErrorCode.PERSISTENCE_FAILED)
            return await real(self, sent=sent, **options)

        monkeypatch.setattr(store, "lease", lease)
        async with app.unit_of_work():
            for number in range(40):
                await app.mediator.publish(Loose(number))
        await eventually(lambda: is_empty(app))
        await eventually(lambda: held(app) == 0)
    sent = [event.number for event in wire.events]
    assert sorted(set(sent)) == list(range(40))
    assert len(set(recorded)) >= 20
    assert fails or len(sent) == 40


async def test_what_could_not_be_recorded_as_sent_is_sent_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
):
    clock = ManualClock()
    wire = Wire()
    async with moved(placing(place, wire, outbox_batch_size=2), clock) as app:
        store: Any = type(app.outbox)
        refused: list[Any] = []
        real = store.complete

        async def complete(self: Any, leased: Any) -> None:
            if not refused:
                refused.extend(leased)
                # As when they end: other relays have them at once.
                await self.release(leased)
                raise CatgaError("no answer", code=ErrorCode.PERSISTENCE_FAILED)
            await real(self, leased)

        monkeypatch.setattr(store, "complete", complete)
        async with app.unit_of_work():
            for number in range(5):
                await app.mediator.publish(Loose(number))
        await eventually(lambda: is_empty(app))
    sent = sorted(event.number for event in wire.events)
    assert sorted(set(sent)) == list(range(5))
    assert len(sent) == 5 + len(refused)
