"""What is compiled for a message's class is kept from one message to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from catga_core import CatgaContainer, Command, Event, Serializer, add_catga, message
from catga_core.interfaces import QueueState
from catga_core.messages import compiled_encoders
from catga_core.messages.exact import exact_encoder
from catga_core.messages.serialization import json_serializer
from catga_core.reliability import QueueOptions, add_queues


@message(delivery="at_least_once")
class Kept(Event):
    number: int


class Do(Command[None]):
    number: int


def shop() -> CatgaContainer:
    catga = add_catga()
    add_queues(catga, QueueOptions(poll_seconds=0.05))

    async def note(event: Kept) -> None:
        pass

    async def do(command: Do) -> None:
        pass

    catga.add_handlers(note, do)
    return catga


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    asked: list[Any] = []

    def counted(serializer: Serializer, type_: Any, subject: str = "") -> Callable[[Any], bytes]:
        asked.append(type_)
        return exact_encoder(serializer, type_, subject)

    monkeypatch.setattr(compiled_encoders, "exact_encoder", counted)
    return asked


async def test_encoders_are_compiled_once_for_each_class(compiled: list[Any]) -> None:
    async with shop().running(roles={"admin"}) as app:
        for number in range(3):
            await app.mediator.publish(Kept(number))
            await app.mediator.enqueue(Do(number))

    assert compiled == [Kept, Do]


async def test_a_serializer_that_stands_in_for_another_one_is_used(compiled: list[Any]) -> None:
    catga = shop()
    formats: list[str] = []
    async with catga.running(roles={"admin"}) as app:
        for stand_in in (None, json_serializer(), None):
            if stand_in is None:
                scheduled = await app.mediator.enqueue(Do(1), delay=60)
            else:
                with catga.override(Serializer, stand_in):
                    scheduled = await app.mediator.enqueue(Do(1), delay=60)
            entry = await app.mediator.enqueued(scheduled)
            assert entry is not None
            assert entry.state is QueueState.SCHEDULED
        page = await app.message_queues.find()
        formats = [each.message.format for each in page.entries]

    assert formats == ["msgpack", "json", "msgpack"]
    assert compiled == [Do, Do, Do]
