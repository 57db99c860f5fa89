from __future__ import annotations

from typing import Any

import pytest

from catga_core import Command, Event, RequestHandler, StreamQuery, Success, add_catga


class Add(Command[int]):
    left: int
    right: int


class Happened(Event):
    pass


class Count(StreamQuery[int]):
    pass


class AddHandler(RequestHandler[Add, int]):
    async def handle(self, message: Add) -> int:
        return message.left + message.right


async def test_a_sender_does_what_send_does():
    catga = add_catga()
    catga.add_handlers(AddHandler)

    async with catga.running() as app:
        sender = app.mediator.sender(Add)

        assert [await sender(Add(number, 1)) for number in range(3)] == [Success(1), Success(2), Success(3)]


async def test_a_sender_bound_before_the_start_works_after_it():
    catga = add_catga()
    catga.add_handlers(AddHandler)
    sender = catga.mediator().sender(Add)

    before = await sender(Add(1, 1))
    async with catga.running():
        running = await sender(Add(1, 1))
    after = await sender(Add(1, 1))

    assert (before.is_success, running, after.is_success) == (False, Success(2), False)


async def test_a_sender_works_again_when_the_container_runs_again():
    catga = add_catga()
    catga.add_handlers(AddHandler)

    async with catga.running() as app:
        sender = app.mediator.sender(Add)
        await sender(Add(1, 1))
    async with catga.running():
        assert await sender(Add(1, 1)) == Success(2)


async def test_a_sender_without_a_handler_says_so():
    async with add_catga().running() as app:
        sender = app.mediator.sender(Add)

        assert (await sender(Add(1, 1))).error.code == "HANDLER_NOT_FOUND"


async def test_a_sender_follows_an_override_and_its_end():
    async def always_nine(message: Add) -> int:
        return 9

    catga = add_catga()
    catga.add_handlers(AddHandler)

    async with catga.running() as app:
        sender = app.mediator.sender(Add)
        with catga.override(AddHandler, always_nine):
            inside = await sender(Add(1, 1))
        outside = await sender(Add(1, 1))

    assert (inside, outside) == (Success(9), Success(2))


@pytest.mark.parametrize("cls", [Happened, Count, int, object])
async def test_there_is_no_sender_for_what_is_no_request(cls: Any):
    async with add_catga().running() as app:
        with pytest.raises(TypeError):
            app.mediator.sender(cls)
