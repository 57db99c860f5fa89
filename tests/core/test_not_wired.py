"""A `Provide[...]` that nothing was injected for says how to wire."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import pytest
from dependency_injector.wiring import Provide, inject

from catga_core import (
    Behavior,
    CatgaContainer,
    CatgaMediator,
    CatgaOptions,
    CatgaResult,
    Command,
    ConfigurationError,
    ErrorCode,
    Event,
    EventHandler,
    Next,
    RequestHandler,
    ValidationProblem,
    Validator,
    add_catga,
)
from catga_core.event_sourcing.projections import Projection, add_projection, project
from catga_core.event_sourcing.subscriptions import add_subscription

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


async def answer(message: Ask) -> int:
    return message.number


class InHandler(RequestHandler[Ask, int]):
    @inject
    async def handle(self, message: Ask, mediator: CatgaMediator = Provide["mediator"]) -> int:
        await mediator.publish(Asked(1))
        return message.number


class InEventHandler(EventHandler[Asked]):
    @inject
    async def handle(self, message: Asked, mediator: CatgaMediator = Provide["mediator"]) -> None:
        await mediator.send(Ask(1))


class InBehavior(Behavior[Ask, int]):
    @inject
    async def handle(
        self, message: Ask, next: Next[Ask, int], mediator: CatgaMediator = Provide["mediator"]
    ) -> CatgaResult[int]:
        await mediator.publish(Asked(1))
        return await next(message)


class InValidator(Validator[Ask]):
    @inject
    def validate(
        self, message: Ask, mediator: CatgaMediator = Provide["mediator"]
    ) -> list[ValidationProblem]:
        assert isinstance(mediator, CatgaMediator)
        return []


class InService:
    @inject
    async def ask(self, mediator: CatgaMediator = Provide["mediator"]) -> int:
        return (await mediator.send(Ask(5))).unwrap()


class InBase(InService):
    pass


class InStaticMethod:
    @staticmethod
    @inject
    async def ask(*, mediator: CatgaMediator = Provide["mediator"]) -> None:
        await mediator.send(Ask(1))


class InHosted:
    async def start(self, mediator: CatgaMediator = Provide["mediator"]) -> None:
        assert isinstance(mediator, CatgaMediator)

    async def stop(self) -> None:
        pass


class InSubscription:
    @inject
    async def handle(self, event: Asked, mediator: CatgaMediator = Provide["mediator"]) -> None:
        await mediator.send(Ask(event.number))


class InProjection(Projection):
    @project
    async def on(self, event: Asked, mediator: CatgaMediator = Provide["mediator"]) -> None:
        await mediator.send(Ask(event.number))


class InConstructor:
    def __init__(self, url: str = Provide["url"]) -> None:
        self.url = url


UNWIRED: list[tuple[Callable[[CatgaContainer], object], str]] = [
    (lambda catga: catga.add_handlers(InHandler), "InHandler.*in handle"),
    (lambda catga: catga.add_handlers(InEventHandler), "InEventHandler.*in handle"),
    (lambda catga: catga.add_behavior(InBehavior), "InBehavior.*in handle"),
    (lambda catga: catga.add_validator(InValidator), "InValidator.*in validate"),
    (lambda catga: catga.add_singleton(InService), "InService.*in ask"),
    (lambda catga: catga.add_singleton(InService, InService()), "InService.*in ask"),
    (lambda catga: catga.add_scoped(InBase), "InBase.*in ask"),
    (lambda catga: catga.add_transient(InStaticMethod), "InStaticMethod.*in ask"),
    (lambda catga: catga.add_hosted(InHosted), "InHosted.*in start"),
    (lambda catga: add_subscription(catga, "asked", InSubscription), "InSubscription.*in handle"),
    (lambda catga: add_projection(catga, InProjection), "InProjection.*in on"),
    (lambda catga: catga.add_singleton(InConstructor), "InConstructor.*in __init__"),
]


@pytest.mark.parametrize(("add", "where"), UNWIRED)
def test_provide_without_wire_is_refused_at_start_wherever_it_is(
    add: Callable[[CatgaContainer], object], where: str
) -> None:
    catga = add_catga(CatgaOptions(store="memory://"))
    add(catga)

    with pytest.raises(ConfigurationError, match=rf"{where}, and its module is not wired") as raised:
        catga.validate()

    assert "catga.wire(modules=[" in str(raised.value)


async def test_wired_methods_are_injected() -> None:
    catga = add_catga()
    catga.add_singleton(InService)
    catga.add_hosted(InHosted)
    catga.add_handlers(answer)
    catga.add_behavior(InBehavior)
    catga.wire(modules=[HERE])
    try:
        async with catga.running() as app:
            assert await app.get(InService).ask() == 5
    finally:
        catga.unwire()


@pytest.mark.parametrize("injected", [True, False])
async def test_function_of_a_subscription_gets_its_services_by_type(injected: bool) -> None:
    asked: asyncio.Queue[int] = asyncio.Queue()

    async def on_asked(event: Asked, mediator: CatgaMediator = Provide["mediator"]) -> None:
        asked.put_nowait((await mediator.send(Ask(event.number))).unwrap())

    catga = add_catga()
    catga.add_handlers(answer)
    add_subscription(catga, "asked", inject(on_asked) if injected else on_asked)

    async with catga.running() as app:
        await app.event_store.append("ask-1", Asked(7))
        assert await asyncio.wait_for(asked.get(), 5) == 7


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
