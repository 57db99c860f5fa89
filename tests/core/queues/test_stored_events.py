"""An event of the outbox is kept in queues as it was stored, where nothing has changed it."""

from __future__ import annotations

import msgspec
import pytest

from catga_core import CatgaContainer, Event, MessageContext, add_catga, message
from catga_core.interfaces import OutboxMessage, QueuedMessage, QueueStore
from catga_core.mediator import Dispatcher
from catga_core.messages import message_type
from catga_core.messages.serialization import json_serializer
from catga_core.reliability import add_queues, ordered_by


@ordered_by(lambda event: f"order-{event.number}")
@message(name="stored.Kept", version=2, delivery="at_least_once")
class Kept(Event):
    number: int
    note: str = ""


CONTEXT = MessageContext("m-1", "c-1")
# As an earlier build of the same version encoded it: with a field that the class has no more.
EARLIER = msgspec.msgpack.encode({"number": 5, "former": 1})
STORED = OutboxMessage("stored.Kept", 2, "msgpack", EARLIER, CONTEXT, "another key", 1.0, "a:fingerprint")


def shop() -> CatgaContainer:
    async def note(event: Kept) -> None:
        pass

    catga = add_catga()
    add_queues(catga)
    catga.add_handlers(note)
    return catga


async def kept(stored: OutboxMessage | None) -> QueuedMessage:
    async with shop().running(roles={"admin"}) as app:
        await app.get(Dispatcher).hand_over(message_type(Kept), Kept(5), CONTEXT, stored)
        (entry,) = (await app.get(QueueStore).find()).entries
        return entry.message


async def test_stored_bytes_and_fingerprint_are_kept_as_they_are() -> None:
    found = await kept(STORED)

    assert (found.data, found.fingerprint) == (EARLIER, "a:fingerprint")
    assert (found.name, found.schema_version, found.format) == ("stored.Kept", 2, "msgpack")
    assert (found.context.message_id, found.key) == ("m-1", "order-5")


@pytest.mark.parametrize(
    "stored",
    [
        msgspec.structs.replace(STORED, schema_version=1),
        msgspec.structs.replace(STORED, name="stored.Former"),
        msgspec.structs.replace(STORED, format="json", data=json_serializer().encode(Kept(5))),
        msgspec.structs.replace(STORED, fingerprint=""),
        None,
    ],
    ids=["older version", "former name", "another format", "no fingerprint", "not stored"],
)
async def test_what_is_stored_otherwise_is_encoded_as_the_event_is_now(stored: OutboxMessage | None) -> None:
    found = await kept(stored)

    assert msgspec.msgpack.decode(found.data)["number"] == 5
    assert found.data != EARLIER
    assert found.fingerprint not in {"", "a:fingerprint"}
    assert (found.name, found.schema_version, found.format) == ("stored.Kept", 2, "msgpack")
