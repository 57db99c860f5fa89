"""A known message id is a repetition only for an equal event, over every store."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from catga_core import Event
from catga_core.errors import EventIdConflictError
from catga_core.event_sourcing import add_events
from catga_core.interfaces import ANY, EventData, EventLog, EventRecord, StreamAppend
from catga_core.interfaces.event_store import StreamEvents
from tests.stores import Place


class Line(msgspec.Struct):
    sku: str
    count: int = 1


class IdPlaced(Event):
    order: str
    lines: list[Line] = []
    tags: frozenset[str] = frozenset()
    price: Decimal = Decimal(0)


class IdPaid(Event):
    order: str


def as_written_before(message_id: str, **fields: object) -> StreamAppend:
    """Return what a program has appended whose class has fewer fields."""
    data = msgspec.msgpack.encode(fields)
    return StreamAppend("o-1", ANY, [EventRecord(message_id, "IdPlaced", 1, "msgpack", data, 1)])


async def test_event_written_before_a_defaulted_field_is_repeated(place: Place) -> None:
    catga = place.container()
    add_events(catga, IdPlaced)
    async with catga.running() as app:
        log = app.get(EventLog)
        [first] = await log.append(
            [as_written_before("m", order="1", lines=[{"sku": "a"}], tags=["x", "yy", "z"])]
        )
        event = IdPlaced("1", [Line("a")], frozenset(["z", "yy", "x"]))

        again = await app.event_store.append("o-1", EventData(event, message_id="m"))
        several = await app.event_store.append_many([StreamEvents("o-1", [EventData(event, message_id="m")])])

        assert again == first == several[0]
        assert await app.event_store.version("o-1") == 1


@pytest.mark.parametrize(
    "other",
    [
        IdPaid("1"),
        IdPlaced("2"),
        IdPlaced("1", price=Decimal(1)),
        IdPlaced("1", [Line("a", 2)]),
    ],
)
async def test_other_event_under_a_known_id_is_a_conflict(place: Place, other: Event) -> None:
    async with place.container().running() as app:
        store = app.event_store
        await store.append("o-1", EventData(IdPlaced("1"), message_id="m"))

        with pytest.raises(EventIdConflictError) as refused:
            await store.append("o-1", EventData(other, message_id="m"))
        async with app.unit_of_work():
            with pytest.raises(EventIdConflictError):
                await store.append("o-1", EventData(other, message_id="m"))

        assert refused.value.details["version"] == 1
        assert await store.version("o-1") == 1


async def test_repetition_in_a_unit_of_work_survives_a_defaulted_field(place: Place) -> None:
    async with place.container().running() as app:
        await app.get(EventLog).append([as_written_before("m", order="1")])

        async with app.unit_of_work():
            again = await app.event_store.append("o-1", EventData(IdPlaced("1"), message_id="m"))

        assert again.version == 1
        assert await app.event_store.version("o-1") == 1


async def test_event_that_cannot_be_read_is_not_a_repetition(place: Place) -> None:
    async with place.container().running() as app:
        record = EventRecord("m", "NeverImported", 1, "msgpack", b"\x80", 1)
        await app.get(EventLog).append([StreamAppend("o-1", ANY, [record])])

        with pytest.raises(EventIdConflictError):
            await app.event_store.append("o-1", EventData(IdPlaced("1"), message_id="m"))
