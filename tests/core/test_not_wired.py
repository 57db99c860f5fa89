"""A `Provide[...]` that nothing was injected for says how to wire."""

from __future__ import annotations

import sys

import pytest
from dependency_injector.wiring import Provide, inject

from catga_core import CatgaMediator, Command, ConfigurationError, ErrorCode, Event, RequestHandler, add_catga

HERE = sys.modules[__name__]


class Ask(Command[int]):
    number: int


class Asked(Event):
    number: int


@inject
async def tell(mediator: CatgaMediator = Provide["mediator"]) -> None:
    await mediator.publish(Asked(1))


class Telling(RequestHandler[Ask, int]):
    async def handle(self, message: Ask) -> int:
        await tell()
        return message.number


async def test_provide_in_handle_without_wire_is_refused_at_start() -> None:
    class Marked(RequestHandler[Ask, int]):
        async def handle(self, message: Ask, mediator: CatgaMediator = Provide["mediator"]) -> int:
            await mediator.publish(Asked(1))
            return message.number

    catga = add_catga()
    catga.add_handlers(Marked)

    with pytest.raises(ConfigurationError) as raised:
        catga.validate()

    [problem] = raised.value.problems
    assert "Marked (test_not_wired.py:" in problem
    assert "mediator=Provide['mediator']" in problem
    assert "catga.wire(modules=[" in problem


async def test_provide_in_a_constructor_and_a_function_needs_no_wire() -> None:
    class Holding(RequestHandler[Ask, int]):
        def __init__(self, mediator: CatgaMediator = Provide["mediator"]) -> None:
            self.mediator = mediator

        async def handle(self, message: Ask) -> int:
            await self.mediator.publish(Asked(1))
            return message.number

    catga = add_catga()
    catga.add_handlers(Holding)

    async with catga.running() as app:
        assert (await app.mediator.send(Ask(3))).unwrap() == 3


async def test_function_that_is_not_wired_fails_its_handler_with_the_fix() -> None:
    catga = add_catga()
    catga.add_handlers(Telling)

    async with catga.running() as app:
        error = (await app.mediator.send(Ask(1))).error

    assert error.code == ErrorCode.HANDLER_FAILED
    assert error.details["exception"] == "AttributeError"
    assert "Provide['mediator']" in error.message
    assert "catga.wire(modules=[...])" in error.message


async def test_function_that_is_not_wired_has_a_note_outside_of_handlers() -> None:
    catga = add_catga()

    with pytest.raises(AttributeError) as raised:
        async with catga.running():
            await tell()

    [note] = raised.value.__notes__
    assert "catga.wire(modules=[...])" in note


async def test_other_attribute_errors_stay_as_they_are() -> None:
    with pytest.raises(AttributeError) as raised:
        async with add_catga().running() as app:
            app.mediator.missing  # type: ignore[attr-defined]  # noqa: B018 - it raises

    assert not hasattr(raised.value, "__notes__")


async def test_wired_function_is_injected() -> None:
    catga = add_catga()
    catga.add_handlers(Telling)
    catga.wire(modules=[HERE])
    try:
        async with catga.running() as app:
            assert (await app.mediator.send(Ask(4))).unwrap() == 4
    finally:
        catga.unwire()
