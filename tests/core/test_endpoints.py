"""Endpoints: what is delivered keeps its context, whatever changes before it is handled."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from structlog.testing import capture_logs

from catga_core import (
    CatgaContainer,
    CatgaMediator,
    CatgaOptions,
    Command,
    Event,
    MessageContext,
    Success,
    add_catga,
    current_context,
    message,
    message_type,
)
from catga_core.interfaces import DeadLetterStore
from catga_core.mediator import Dispatcher


class Ask(Command[str]):
    pass


@message(context=False)
class Plain(Command[str]):
    pass


class Told(Event):
    pass


class Part:
    pass


class Seen:
    def __init__(self) -> None:
        self.ids: list[str] = []


async def answer(_message: Ask) -> str:
    return current_context().message_id


async def answer_plainly(_message: Plain) -> str:
    return "plain"


async def on_told(_event: Told, seen: Seen) -> None:
    seen.ids.append(current_context().message_id)


def composed() -> CatgaContainer:
    catga = add_catga(CatgaOptions(enable_idempotency=True))
    catga.add_singleton(Part)
    catga.add_singleton(Seen)
    catga.add_handlers(answer, on_told)
    return catga


def context(message_id: str) -> MessageContext:
    return MessageContext(message_id, f"conversation of {message_id}")


async def test_a_delivered_request_keeps_its_id_over_an_override():
    catga = composed()
    async with catga.running() as app:
        endpoint = app.get(Dispatcher).request_endpoint(message_type(Ask))
        await endpoint.handle(Ask(), context("a-1"))
        begins_later = endpoint.handle(Ask(), context("a-2"))
        with catga.override(Part, Part()):
            result = await begins_later

    assert result == Success("a-2")


async def test_a_delivered_event_keeps_its_id_over_an_override():
    catga = composed()
    async with catga.running() as app:
        [endpoint] = app.get(Dispatcher).handler_endpoints(message_type(Told))
        await endpoint.handle(Told(), context("t-1"))
        begins_later = endpoint.handle(Told(), context("t-2"))
        with catga.override(Part, Part()):
            result = await begins_later
        ids = app.get(Seen).ids

    assert result == Success(None)
    assert ids == ["t-1", "t-2"]


async def test_a_delivered_request_without_a_context_is_handled_over_an_override():
    catga = add_catga()
    catga.add_singleton(Part)
    catga.add_handlers(answer_plainly)
    async with catga.running() as app:
        endpoint = app.get(Dispatcher).request_endpoint(message_type(Plain))
        begins_later = endpoint.handle(Plain(), context("p-1"))
        sent_later = app.mediator.send(Plain())
        with catga.override(Part, Part()):
            results = [await begins_later, await sent_later]

    assert results == [Success("plain"), Success("plain")]


async def test_a_delivered_request_is_handled_while_the_container_refuses_new_ones():
    async with composed().running() as app:
        dispatcher = app.get(Dispatcher)
        begins_later = dispatcher.request_endpoint(message_type(Ask)).handle(Ask(), context("a-3"))
        dispatcher.refuse()
        result = await begins_later

    assert result == Success("a-3")


async def test_each_handler_has_one_endpoint():
    async with composed().running() as app:
        dispatcher = app.get(Dispatcher)
        described = message_type(Told)

        assert dispatcher.handler_endpoint(described, "on_told") is dispatcher.handler_endpoint(
            described, "on_told"
        )
        assert dispatcher.handler_endpoints(described) == dispatcher.event_endpoint(described).handlers


class Fails(Command[None]):
    pass


async def fail(_event: Told) -> None:
    raise ValueError


async def publish_and_note(_message: Fails, mediator: CatgaMediator) -> None:
    await mediator.publish(Told(), message_id="t-9")


class Full:
    async def add(self, *_: Any) -> None:
        raise OSError("full")


async def test_a_lost_dead_letter_is_logged_with_the_id_of_the_event():
    catga = add_catga(CatgaOptions(enable_dead_letter_queue=True))
    catga.add_handlers(fail, publish_and_note)
    log: list[MutableMapping[str, Any]]
    async with catga.running() as app:
        with catga.override(DeadLetterStore, Full()), capture_logs() as log:
            await app.mediator.send(Fails(), message_id="c-9")

    [line] = [each for each in log if each["event"] == "catga.dead_letter_lost"]
    assert line["message_id"] == "t-9"
