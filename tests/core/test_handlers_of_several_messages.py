"""Handlers, behaviors and validators of base classes and unions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Generic, TypeVar, Union

import pytest

from catga_core import (
    Behavior,
    CatgaContainer,
    CatgaOptions,
    CatgaResult,
    Command,
    ConfigurationError,
    Event,
    EventHandler,
    Query,
    RequestHandler,
    StreamQuery,
    Validator,
    add_catga,
    message,
)
from catga_core.builtin_plugins import add_memory_transport
from catga_core.interfaces import ValidationProblem
from catga_core.pipeline import Next
from catga_testing.waiting import eventually

E = TypeVar("E", bound=Event)
T = TypeVar("T")


class Moved(Event):
    by: int


class MovedUp(Moved):
    pass


class MovedFarUp(MovedUp):
    pass


class Stopped(Event):
    pass


class Change(Command[int]):
    by: int


class Increase(Change):
    pass


class Decrease(Change):
    pass


class Clear(Command[int]):
    pass


class Numbers(StreamQuery[int]):
    pass


class EvenNumbers(Numbers):
    pass


calls: list[str] = []


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


def called(handler: str, event: Any) -> None:
    calls.append(f"{handler} {type(event).__name__}")


async def on_moved(event: Moved) -> None:
    called("on_moved", event)


async def on_up(event: MovedUp) -> None:
    called("on_up", event)


async def on_either(event: MovedFarUp | Stopped) -> None:
    called("on_either", event)


async def on_both(event: Moved | MovedUp) -> None:
    called("on_both", event)


async def on_nested(event: Annotated[Union[Annotated[MovedUp, "up"], Stopped], "any"]) -> None:  # noqa: UP007
    called("on_nested", event)


async def on_all(event: Event) -> None:
    called("on_all", event)


class OnEither(EventHandler[MovedUp | Stopped]):
    async def handle(self, message: MovedUp | Stopped) -> None:
        called("OnEither", message)


class OnUpByBase(EventHandler[MovedUp]):
    async def handle(self, message: Moved) -> None:
        called("OnUpByBase", message)


class Generically(EventHandler[E], Generic[E]):
    async def handle(self, message: E) -> None:
        called(type(self).__name__, message)


class OnStopped(Generically[Stopped]):
    pass


Compose = Callable[[CatgaContainer], Any]


@pytest.fixture(params=["in process", "over a transport"])
def publish(request: pytest.FixtureRequest) -> Callable[..., Awaitable[list[str]]]:
    async def in_process(handlers: tuple[Any, ...], *events: Event) -> list[str]:
        catga = add_catga()
        catga.add_handlers(*handlers)
        async with catga.running() as app:
            for event in events:
                await app.mediator.publish(event)
        return list(calls)

    async def over_a_transport(handlers: tuple[Any, ...], *events: Event) -> list[str]:
        bus = f"memory://{request.node.name}"
        receiver = add_catga(CatgaOptions(service_name="receiver"))
        sender = add_catga(CatgaOptions(service_name="sender"))
        for catga in (receiver, sender):
            add_memory_transport(catga, bus)
        receiver.add_handlers(*handlers)
        async with receiver.running() as there, sender.running() as app:
            for event in events:
                before = len(calls)
                await app.mediator.publish(event)
                await eventually(
                    lambda before=before: (
                        len(calls) > before  # type: ignore[misc]
                        and there.health()["mediator"].details["in_flight"] == 0
                    )
                )
        return list(calls)

    return in_process if request.param == "in process" else over_a_transport


@pytest.mark.parametrize(
    ("handlers", "event", "expected"),
    [
        ((on_moved,), Moved(1), ["on_moved Moved"]),
        ((on_moved,), MovedFarUp(1), ["on_moved MovedFarUp"]),
        ((on_up, on_moved), MovedFarUp(1), ["on_up MovedFarUp", "on_moved MovedFarUp"]),
        ((on_up, on_moved), Moved(1), ["on_moved Moved"]),
        ((on_either,), Stopped(), ["on_either Stopped"]),
        ((on_either,), MovedFarUp(1), ["on_either MovedFarUp"]),
        ((on_both,), Moved(1), ["on_both Moved"]),
        ((on_both,), MovedFarUp(1), ["on_both MovedFarUp"]),
        ((on_nested,), MovedFarUp(1), ["on_nested MovedFarUp"]),
        ((on_nested,), Stopped(), ["on_nested Stopped"]),
        ((OnEither,), Stopped(), ["OnEither Stopped"]),
        ((OnEither,), MovedFarUp(1), ["OnEither MovedFarUp"]),
        ((OnUpByBase,), MovedFarUp(1), ["OnUpByBase MovedFarUp"]),
        ((OnStopped,), Stopped(), ["OnStopped Stopped"]),
        ((on_moved, on_either, OnEither), Stopped(), ["on_either Stopped", "OnEither Stopped"]),
    ],
)
async def test_event_reaches_each_handler_of_its_classes_once(
    publish: Any, handlers: tuple[Any, ...], event: Event, expected: list[str]
) -> None:
    assert await publish(handlers, event) == expected


async def test_handler_of_event_itself_takes_every_event() -> None:
    catga = add_catga()
    catga.add_handlers(on_all, on_up)
    async with catga.running() as app:
        for event in (Moved(1), MovedUp(1), Stopped()):
            await app.mediator.publish(event)

    assert calls == ["on_all Moved", "on_all MovedUp", "on_up MovedUp", "on_all Stopped"]


async def test_event_class_defined_while_running_reaches_the_handler_of_its_base() -> None:
    catga = add_catga()
    catga.add_handlers(on_moved)
    async with catga.running() as app:

        class MovedLater(Moved):
            pass

        await app.mediator.publish(MovedLater(1))

    assert calls == ["on_moved MovedLater"]


async def test_handler_of_a_union_is_one_handler() -> None:
    catga = add_catga()
    catga.add_handlers(on_either)
    async with catga.running() as app:
        await app.mediator.publish(Stopped())

        async def instead(event: MovedFarUp | Stopped) -> None:
            called("instead", event)

        with catga.override(on_either, instead):
            await app.mediator.publish(Stopped())
            await app.mediator.publish(MovedFarUp(1))
        await app.mediator.publish(Stopped())

    assert calls == ["on_either Stopped", "instead Stopped", "instead MovedFarUp", "on_either Stopped"]


def test_handler_of_a_union_that_is_registered_twice_is_refused() -> None:
    catga = add_catga()
    catga.add_handlers(on_either)
    with pytest.raises(ConfigurationError, match="already registered"):
        catga.add_handlers(on_either)


def test_override_of_a_union_that_handles_less_is_refused() -> None:
    async def instead(event: Stopped) -> None: ...

    catga = add_catga()
    catga.add_handlers(on_either)
    with pytest.raises(
        ConfigurationError, match=r"it handles Stopped v1. Pass a handler of MovedFarUp v1 \| Stopped v1"
    ):
        catga.override(on_either, instead)


async def change(message: Change) -> int:
    called("change", message)
    return message.by


async def decrease(message: Decrease) -> int:
    called("decrease", message)
    return -message.by


async def clear_or_increase(message: Clear | Increase) -> int:
    called("clear_or_increase", message)
    return 0


class ChangeOrClear(RequestHandler[Change | Clear, int]):
    async def handle(self, message: Change | Clear) -> int:
        called("ChangeOrClear", message)
        return 0


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize(
    ("handlers", "request_", "expected"),
    [
        ((change,), Increase(1), ["change Increase"]),
        ((change, decrease), Decrease(1), ["decrease Decrease"]),
        ((change, clear_or_increase), Increase(1), ["clear_or_increase Increase"]),
        ((change, clear_or_increase), Decrease(1), ["change Decrease"]),
        ((clear_or_increase,), Clear(), ["clear_or_increase Clear"]),
        ((ChangeOrClear,), Decrease(1), ["ChangeOrClear Decrease"]),
    ],
)
async def test_request_goes_to_the_handler_of_its_nearest_class(
    remote: bool, handlers: tuple[Any, ...], request_: Command[int], expected: list[str]
) -> None:
    receiver = add_catga(CatgaOptions(service_name="receiver"))
    sender = add_catga(CatgaOptions(service_name="sender"))
    for catga in (receiver, sender) if remote else ():
        add_memory_transport(catga, "memory://nearest")
    receiver.add_handlers(*handlers)
    async with receiver.running() as there, sender.running() as here:
        result = await (here if remote else there).mediator.send(request_)

    assert (result.is_success, calls) == (True, expected)


async def test_stream_query_goes_to_the_handler_of_its_base() -> None:
    async def numbers(query: Numbers) -> AsyncIterator[int]:
        called("numbers", query)
        yield 1

    catga = add_catga()
    catga.add_handlers(numbers)
    async with catga.running() as app:
        assert [number async for number in app.mediator.stream(EvenNumbers())] == [1]

    assert calls == ["numbers EvenNumbers"]


def test_two_handlers_of_one_request_in_a_union_are_refused() -> None:
    catga = add_catga()
    with pytest.raises(ConfigurationError, match="Clear has two handlers"):
        catga.add_handlers(ChangeOrClear, clear_or_increase)


async def test_behaviors_and_validators_apply_to_unions() -> None:
    class Around(Behavior[Increase | Clear, int]):
        async def handle(self, message: Any, next: Next[Any, int]) -> CatgaResult[int]:
            called("Around", message)
            return await next(message)

    class Positive(Validator[Increase | Decrease]):
        def validate(self, message: Increase | Decrease) -> list[ValidationProblem]:
            return [] if message.by > 0 else [ValidationProblem("by", "must be positive")]

    catga = add_catga()
    catga.add_handlers(ChangeOrClear)
    catga.add_behavior(Around)
    catga.add_validator(Positive)
    async with catga.running() as app:
        codes = [
            None if (result := await app.mediator.send(each)).is_success else result.error.code
            for each in (Increase(1), Decrease(-1), Change(-1), Clear())
        ]

    assert codes == [None, "VALIDATION_FAILED", None, None]
    assert calls == [
        "Around Increase",
        "ChangeOrClear Increase",
        "ChangeOrClear Change",
        "Around Clear",
        "ChangeOrClear Clear",
    ]


class Changed(Event, Generic[T]):
    to: T


class NumberChanged(Changed[int]):
    pass


class Get(Query[T], Generic[T]):
    pass


class GetNumber(Get[int]):
    pass


async def test_generic_messages_are_handled_by_their_concrete_classes() -> None:
    async def on_number(event: NumberChanged) -> None:
        called("on_number", event)

    async def on_any(event: Changed) -> None:  # type: ignore[type-arg]
        called("on_any", event)

    async def get(query: GetNumber) -> int:
        return 1

    catga = add_catga()
    catga.add_handlers(on_number, on_any, get)
    async with catga.running() as app:
        await app.mediator.publish(NumberChanged(1))
        number = (await app.mediator.send(GetNumber())).unwrap()

    assert (calls, number) == (["on_number NumberChanged", "on_any NumberChanged"], 1)


def refusal(handler: Any) -> str:
    with pytest.raises(ConfigurationError) as refused:
        add_catga().add_handlers(handler)
    return str(refused.value)


async def on_generic(event: Changed[int]) -> None: ...


async def on_open(event: T) -> None: ...


async def on_mixed(event: Stopped | Clear) -> None: ...


async def on_other(event: Stopped | int) -> None: ...


async def maybe(message: Change) -> int | None:
    return None


async def wrongly(message: Change) -> CatgaResult[str] | None:
    return None


async def yields(message: Change) -> Any:
    yield 1


class Wrong(RequestHandler[Stopped, None]):  # type: ignore[type-var]
    async def handle(self, message: Stopped) -> None: ...


class Static(EventHandler[Stopped]):
    @staticmethod
    async def handle(message: Stopped) -> None:  # type: ignore[override,unused-ignore]
        ...


class Narrow(EventHandler[Moved]):
    async def handle(self, message: MovedUp) -> None:  # type: ignore[override]
        ...


@pytest.mark.parametrize(
    ("handler", "texts"),
    [
        (on_generic, ["Changed[int]", "generic message", "class MyChanged(Changed[int])"]),
        (Generically[Stopped], ["class MyGenerically(Generically[Stopped])"]),
        (Generically, ["type variable", "left open"]),
        (on_open, ["type variable", "left open"]),
        (on_mixed, ["Stopped, an event", "Clear, a command", "one handler for each kind"]),
        (on_other, ["int is not a message"]),
        (maybe, ["answers with int | None", "return int", "class Change(Command[int | None])"]),
        (wrongly, ["answers with str | None", "return int", "class Change(Command[str | None])"]),
        (yields, ["yields", "a command"]),
        (
            Wrong,
            [
                "RequestHandler",
                "Stopped (test_handlers_of_several_messages.py",
                "is an event",
                "derive from EventHandler",
            ],
        ),
        (Static, ["without self"]),
        (Narrow, ["declared for Moved", "takes MovedUp"]),
    ],
)
def test_handler_that_could_not_be_delivered_to_is_refused(handler: Any, texts: list[str]) -> None:
    refused = refusal(handler)

    assert [text for text in texts if text not in refused] == []


async def test_registered_subclass_wins_over_one_with_its_wire_name() -> None:
    def define() -> type[Event]:
        @message(name="test.twice")
        class Twice(Stopped):
            pass

        return Twice

    first, second = define(), define()

    class OnSecond(EventHandler[second]):  # type: ignore[valid-type]
        async def handle(self, message: Event) -> None:
            called("OnSecond", message)

    async def on_stopped(event: Stopped) -> None:
        called("on_stopped", event)

    catga = add_catga()
    catga.add_handlers(on_stopped, OnSecond)
    async with catga.running() as app:
        await app.mediator.publish(second())
        await app.mediator.publish(first())

    assert calls == ["on_stopped Twice", "OnSecond Twice", "on_stopped Twice"]
