"""Relays share an outbox by leases, and each holds a bounded number of messages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from catga_core.interfaces.outbox import LeasedMessage, OutboxStore
from catga_testing import ManualClock
from catga_testing.waiting import eventually
from tests.core.reliability.outbox_support import Loose, Place_, Placed, Wire, is_empty, pending, placing
from tests.core.reliability.support import moved
from tests.core.support import Gate
from tests.stores import Place


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
            await one.mediator.send(Place_((3,)))
            await eventually(lambda: wire.events == [Placed(3)])
            assert wire.tries == [Placed(3)]
            clock.advance(31)
            await eventually(lambda: wire.events == [Placed(3), Placed(1), Placed(2)])


class Renewing:
    """An outbox that counts the renewals."""

    def __init__(self, inner: OutboxStore) -> None:
        self.inner = inner
        self.renewals = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def renew(self, leased: Sequence[LeasedMessage], /, *, lease: float) -> list[LeasedMessage]:
        renewed = await self.inner.renew(leased, lease=lease)
        self.renewals += 1
        return list(renewed)


async def test_the_lease_is_renewed_while_a_message_is_sent(memory: Place):
    clock = ManualClock()
    gate = Gate()

    async def stuck() -> None:
        await gate.pass_through()

    slow, other = Wire(lambda event: stuck()), Wire()
    catga = placing(memory, slow)
    async with moved(catga, clock) as one, moved(placing(memory, other), clock):
        store = Renewing(one.outbox)
        with catga.override(OutboxStore, store):
            while not slow.tries:
                await one.mediator.send(Place_())
                await eventually(lambda: slow.tries or other.events)
            other.sent.clear()
            for number in range(1, 11):
                # A third of the lease, and what the time between two renewals is spread by.
                clock.advance(12.1)
                await eventually(lambda number=number: store.renewals >= number)  # type: ignore[misc]
            assert other.sent == []
            gate.open()
            await eventually(lambda: is_empty(one))
            assert (len(slow.sent), other.sent) == (1, [])


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


class SlowToRecord:
    """An outbox that records what was sent only when a gate is open."""

    def __init__(self, inner: OutboxStore, gate: Gate) -> None:
        self.inner = inner
        self.gate = gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def complete(self, leased: Sequence[LeasedMessage], /) -> None:
        await self.gate.pass_through()
        await self.inner.complete(leased)

    async def lease(self, *, sent: Sequence[LeasedMessage] = (), **options: Any) -> list[LeasedMessage]:
        if sent:
            await self.gate.pass_through()
        return await self.inner.lease(sent=sent, **options)


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
