"""An event that arrives and cannot be decoded is kept as a dead letter, and replayed once it can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from catga_core import (
    CatgaContainer,
    CatgaOptions,
    Event,
    MessageContext,
    add_catga,
    current_context,
    message,
)
from catga_core.errors import ErrorCode
from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterSource
from catga_core.messages import message_type
from catga_core.messages.serialization import EnvelopeCodec, json_serializer, msgpack_serializer
from catga_core.messages.serializer import Serializer
from catga_core.reliability import DeadLetterQueue
from catga_nats import NatsOptions, add_nats_catga
from catga_nats import headers as headers_form
from catga_testing import test_host
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually

pytestmark = pytest.mark.nats


@message(name="undecodable.Lost")
class Lost(Event):
    isbn: str


@message(name="undecodable.Lost")
class LostForMail(Event):
    isbn: int


@message(name="undecodable.Lost", version=2)
class LostOfTomorrow(Event):
    isbn: str
    branch: str


class Reversed:
    """A serializer that is not built in."""

    name = "reversed"

    def encode(self, value: object, /) -> bytes:
        return json_serializer().encode(value)[::-1]

    def decoder(self, type_: Any, /) -> Callable[[bytes | memoryview], Any]:
        decode = json_serializer().decoder(type_)
        return lambda data: decode(bytes(data)[::-1])


async def lost_for_mail(event: LostForMail) -> None:
    raise AssertionError


def receiving(
    server: NatsServer, prefix: str, folder: Path, *handlers: Any, dead_letters: bool = True
) -> CatgaContainer:
    store = f"sqlite:///{folder / 'mail.db'}"
    catga = add_catga(CatgaOptions(service_name="mail", store=store, enable_dead_letter_queue=dead_letters))
    add_nats_catga(catga, NatsOptions(server.url, subject_prefix=prefix))
    catga.add_handlers(*handlers)
    return catga


async def letters(app: Any) -> list[DeadLetter]:
    return list((await app.get(DeadLetterQueue).find()).letters)


async def send(peer: Client, prefix: str, event: Event, form: str, serializer: Serializer) -> None:
    described, context = message_type(type(event)), MessageContext("m-1", "c-1", headers={"tenant": "a"})
    subject = f"{prefix}.event.undecodable.Lost"
    if form == "headers":
        headers = headers_form.encode(described, context, None)
        await peer.publish(subject, serializer.encode(event), headers=headers)
    else:
        await peer.publish(subject, EnvelopeCodec(serializer).encode(described, event, context, None))
    await peer.flush()


@pytest.mark.parametrize("form", ["array", "headers"])
@pytest.mark.parametrize(
    "serializer", [msgpack_serializer(), json_serializer(), Reversed()], ids=lambda each: each.name
)
async def test_undecodable_event_is_kept_and_replayed_once_it_can_be_decoded(
    nats_server_shared: NatsServer, peer: Client, tmp_path: Path, form: str, serializer: Serializer
) -> None:
    prefix = f"undecodable-{form}-{serializer.name}"
    handled: list[tuple[Lost, MessageContext]] = []

    def composed(*handlers: Any) -> CatgaContainer:
        catga = receiving(nats_server_shared, prefix, tmp_path, *handlers)
        catga.add_singleton(Serializer, serializer, instance=True)
        return catga

    async def lost(event: Lost) -> None:
        handled.append((event, current_context()))

    async def fails(event: Lost) -> None:
        raise LookupError("no mailbox")

    async with composed(lost_for_mail).running() as app:
        await send(peer, prefix, Lost("x"), form, serializer)
        await eventually(lambda: letters(app))
        [letter] = await letters(app)
        assert (letter.source, letter.handler) == (DeadLetterSource.TRANSPORT, "")
        assert (letter.name, letter.schema_version, letter.format) == ("undecodable.Lost", 1, serializer.name)
        assert letter.data == serializer.encode(Lost("x"))
        assert (letter.context.message_id, letter.context.correlation_id) == ("m-1", "c-1")
        assert dict(letter.context.headers) == {"tenant": "a"}
        assert not (await app.get(DeadLetterQueue).replay(letter.id)).is_success
        assert await letters(app) == [letter]
        assert app.health()["transport"].details["events_refused"] == 1

    async with composed(lost, fails).running() as app:
        assert (await app.get(DeadLetterQueue).replay(letter.id)).is_success
        [(event, context)] = handled
        assert event == Lost("x")
        assert (context.message_id, context.headers["catga-replay"]) == ("m-1", "1")
        # The handler that failed has a letter of its own.
        [own] = await letters(app)
        assert own.source is DeadLetterSource.HANDLER
        assert own.handler.endswith("fails")


async def test_event_of_a_newer_version_is_kept(
    nats_server_shared: NatsServer, peer: Client, tmp_path: Path
) -> None:
    prefix = "undecodable-newer"
    handled: list[LostOfTomorrow] = []

    async def lost(event: Lost) -> None:
        raise AssertionError

    async def lost_tomorrow(event: LostOfTomorrow) -> None:
        handled.append(event)

    async with receiving(nats_server_shared, prefix, tmp_path, lost).running() as app:
        await send(peer, prefix, LostOfTomorrow("x", "north"), "array", msgpack_serializer())
        await eventually(lambda: letters(app))
        [letter] = await letters(app)
        assert (letter.schema_version, letter.code) == (2, ErrorCode.SERIALIZATION_FAILED)

    async with receiving(nats_server_shared, prefix, tmp_path, lost_tomorrow).running() as app:
        assert (await app.get(DeadLetterQueue).replay(letter.id)).is_success
    assert handled == [LostOfTomorrow("x", "north")]


async def test_bytes_that_are_no_message_are_kept_whole(
    nats_server_shared: NatsServer, peer: Client, tmp_path: Path
) -> None:
    prefix = "undecodable-bytes"
    async with receiving(nats_server_shared, prefix, tmp_path, lost_for_mail).running() as app:
        await peer.publish(f"{prefix}.event.undecodable.Lost", b"\xc1")
        await peer.flush()
        await eventually(lambda: letters(app))
        [letter] = await letters(app)
        result = await app.get(DeadLetterQueue).replay(letter.id)

    assert (letter.data, letter.format) == (b"\xc1", "")
    assert "is not a message that can be read" in result.error.message


async def test_undecodable_event_is_not_kept_without_dead_letters(
    nats_server_shared: NatsServer, peer: Client, tmp_path: Path
) -> None:
    prefix = "undecodable-off"
    catga = receiving(nats_server_shared, prefix, tmp_path, lost_for_mail, dead_letters=False)
    async with catga.running() as app:
        await send(peer, prefix, Lost("x"), "array", msgpack_serializer())
        await eventually(lambda: app.health()["transport"].details["events_refused"] == 1)
        assert await letters(app) == []


async def test_host_does_not_wait_for_an_event_that_cannot_be_decoded(
    nats_server_shared: NatsServer, tmp_path: Path
) -> None:
    prefix = "undecodable-host"
    sender = add_catga(CatgaOptions(service_name="library"))
    add_nats_catga(sender, NatsOptions(nats_server_shared.url, subject_prefix=prefix))
    receiver = receiving(nats_server_shared, prefix, tmp_path, lost_for_mail)
    async with test_host(receiver) as mail, test_host(sender) as library:
        await library.publish(Lost("x"))
        [letter] = await letters(mail.app)
        assert letter.source is DeadLetterSource.TRANSPORT
