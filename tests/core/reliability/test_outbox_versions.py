"""The outbox sends events of older versions, and keeps those that this process cannot decode."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from catga_core import Event, MessageContext, message
from catga_core.event_sourcing import add_upcasters, upcaster
from catga_core.interfaces.outbox import OutboxMessage, OutboxStore
from catga_testing.waiting import eventually
from tests.core.reliability.outbox_support import Wire, placing
from tests.stores import Place


@message(name="outbox.Sold", version=1)
class SoldOnce(Event):
    cents: int


@message(name="outbox.Sold", version=2)
class Sold(Event):
    cents: int
    currency: str


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


async def test_bytes_that_fit_no_longer_go_to_the_dead_letters_at_once(place: Place):
    async with placing(place, Wire()).running() as app:
        message = OutboxMessage("outbox.Placed", 1, "msgpack", b"\xc1", MessageContext("m", "m"), None, 0.0)
        await app.outbox.add([message])
        await eventually(lambda: app.dead_letters.count())
        [letter] = (await app.dead_letters.find()).letters

    assert letter.code == "SERIALIZATION_FAILED"
    assert letter.data == b"\xc1"


async def retrying(outbox: OutboxStore) -> bool:
    return (await outbox.stats()).retrying == 1
