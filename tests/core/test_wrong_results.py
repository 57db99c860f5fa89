"""What a handler returned is not the declared result of its message: the same failure wherever it runs."""

from __future__ import annotations

import datetime as dt
import math
import pickle
from collections.abc import Callable
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Literal

import msgspec
import pytest
import structlog

from catga_core import Behavior, CatgaOptions, CatgaResult, Command, Serializer, add_catga
from catga_core.builtin_plugins import add_memory_transport
from catga_core.messages import message_type
from catga_core.messages.serialization import MsgspecSerializer, json_serializer, msgpack_serializer
from catga_core.pipeline import Next
from catga_core.pipeline.returned import returning
from catga_core.validation.returned import returned_for


class Word(StrEnum):
    A = "a"


class Level(IntEnum):
    ONE = 1


class Color(Enum):
    RED = "red"


class Total(msgspec.Struct, frozen=True):
    amount: int


class Number(Command[int]):
    value: Any


class MaybeTotal(Command[Total | None]):
    value: Any


class Numbers(Command[list[int]]):
    value: Any


class Positive(Command[Annotated[int, msgspec.Meta(gt=0)]]):
    value: Any


class Choice(Command[Literal["a", "b"]]):
    value: Any


class Real(Command[float]):
    value: Any


class Anything(Command[Any]):
    value: Any


class Nothing(Command[None]):
    value: Any


class Colored(Command[Color]):
    value: Any


class Priced(Command[dict[str, Decimal]]):
    value: Any


class Large(Total, frozen=True):
    tax: int = 0


class Stamped(msgspec.Struct, frozen=True):
    total: Total | None
    at: dt.datetime


class Texted(Command[str]):
    value: Any


class At(Command[Stamped]):
    value: Any


class Point(Command[tuple[int, str]]):
    value: Any


class Session:
    pass


class PassesOn(Behavior[Any, Any]):
    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        return await next(message)


MESSAGES = (
    Number,
    MaybeTotal,
    Numbers,
    Positive,
    Choice,
    Real,
    Anything,
    Nothing,
    Colored,
    Priced,
    Texted,
    At,
    Point,
)

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
ODD = dt.timezone(dt.timedelta(seconds=30))

RIGHT: list[Any] = [
    Number(1),
    MaybeTotal(None),
    MaybeTotal(Total(1)),
    Numbers([]),
    Numbers([1, 2]),
    Positive(1),
    Choice("a"),
    Real(1.5),
    Real(1),
    Anything({"a": [1, None, 1.5, "x"]}),
    Anything(None),
    Texted("é"),
    At(Stamped(Total(1), NOON)),
    At(Stamped(None, NOON.astimezone(dt.timezone(dt.timedelta(hours=1))))),
    Point((1, "a")),
    Nothing(None),
    Colored(Color.RED),
    Priced({"a": Decimal(1)}),
]
WRONG: list[tuple[Any, list[str]]] = [
    (Number("1"), [""]),
    (Number(None), [""]),
    (Number(True), [""]),
    (Number(1.0), [""]),
    (MaybeTotal({"amount": 1}), [""]),
    (Numbers([1, "2", None]), ["[1]", "[2]"]),
    (Numbers(7), [""]),
    (Positive(0), [""]),
    (Choice("c"), [""]),
    (Real("1.5"), [""]),
    (Nothing(0), [""]),
    (Colored("red"), [""]),
    (Priced({"a": 1.5}), [".values()[0]"]),
    (Priced({1: Decimal(1)}), [".keys()[0]"]),
    (Number(2**64), [""]),
    (Number(Level.ONE), [""]),
    (Texted("\ud800"), [""]),
    (Texted(Word.A), [""]),
    (MaybeTotal(Large(1)), [""]),
    (MaybeTotal(Total("1")), ["amount"]),  # type: ignore[arg-type]  # what is refused
    (Numbers((1, 2)), [""]),
    (Numbers([1, 2**64]), ["[1]"]),
    (Anything(Decimal(1)), [""]),
    (Anything(object()), [""]),
    (Anything(Total(1)), [""]),
    (Anything([NOON, (1,)]), ["[0]", "[1]"]),
    (Anything("\ud800"), [""]),
    (At(Stamped(Large(1), NOON)), ["total"]),
    (At(Stamped(None, NOON.astimezone(ODD))), ["at"]),
    (Point([1, "a"]), [""]),
    (Point((1, "a", 2)), [""]),
]


def handler_of(cls: type[Any], *, scoped: bool, result: bool) -> Any:
    def given(message: Any) -> Any:
        value = (
            GIVEN[message.value] if type(message.value) is str and message.value in GIVEN else message.value
        )
        return CatgaResult.success(value) if result else value

    async def plain(message: Any) -> Any:
        return given(message)

    async def in_scope(message: Any, session: Session) -> Any:
        return given(message)

    handler: Any = in_scope if scoped else plain
    handler.__name__ = f"give_{cls.__name__}"
    handler.__annotations__["message"] = cls
    return handler


def composed(how: str, *, result: bool) -> Any:
    catga = add_catga(CatgaOptions(service_name="gives"))
    for cls in MESSAGES:
        catga.add_handlers(handler_of(cls, scoped=how == "scoped", result=result))
    if how == "scoped":
        catga.add_scoped(Session)
    if how == "behavior":
        catga.add_behavior(PassesOn)
    return catga


hows = pytest.mark.parametrize("how", ["bare", "behavior", "scoped", "transport"])


# What handlers return that no message could carry over a transport.
GIVEN: dict[str, Any] = {}


async def results_of(how: str, messages: list[Any], *, result: bool) -> list[CatgaResult[Any]]:
    catga = composed(how, result=result)
    GIVEN.clear()
    GIVEN.update({f"given {number}": each.value for number, each in enumerate(messages)})
    messages = [type(each)(f"given {number}") for number, each in enumerate(messages)]
    if how != "transport":
        async with catga.running() as app:
            return [await app.mediator.send(each) for each in messages]
    caller = add_catga(CatgaOptions(service_name="asks"))
    for each in (catga, caller):
        add_memory_transport(each, "memory://wrong-results")
    async with catga.running(), caller.running() as app:
        return [await app.mediator.send(each) for each in messages]


@hows
@pytest.mark.parametrize("result", [False, True])
async def test_right_results_are_successes(how: str, result: bool) -> None:
    results = await results_of(how, RIGHT, result=result)

    assert [found.unwrap() for found in results] == [each.value for each in RIGHT]


@hows
@pytest.mark.parametrize("result", [False, True])
async def test_wrong_results_are_failures_that_list_every_problem(how: str, result: bool) -> None:
    results = await results_of(how, [each for each, _ in WRONG], result=result)

    for (message, fields), found in zip(WRONG, results, strict=True):
        assert not found.is_success, message
        error = found.error
        assert (error.code, error.retryable) == ("SERIALIZATION_FAILED", False)
        assert [each["field"] for each in error.details["errors"]] == fields
        assert (
            f"give_{type(message).__name__} returned a wrong result for {type(message).__name__}"
            in error.message
        )


async def test_wrong_result_is_logged_with_the_message_s_name() -> None:
    with structlog.testing.capture_logs() as lines:
        await results_of("bare", [Number("secret")], result=False)

    [line] = [each for each in lines if each["event"] == "catga.result_refused"]
    assert (line["message_type"], line["handler"], line["log_level"]) == ("Number", "give_Number", "error")
    assert "secret" not in str(line)


async def test_int_for_a_float_becomes_one_as_a_receiver_reads_it() -> None:
    for how in ("bare", "behavior", "scoped", "transport"):
        [found] = await results_of(how, [Real(1)], result=False)

        assert type(found.unwrap()) is float


@pytest.mark.parametrize(
    ("serializer", "refused"),
    [(msgpack_serializer(), [Number(2**64)]), (json_serializer(), [Real(math.nan), Anything(b"x")])],
)
async def test_results_are_checked_for_the_container_s_format(
    serializer: MsgspecSerializer, refused: list[Any]
) -> None:
    catga = add_catga()
    catga.add_singleton(Serializer, serializer)
    catga.add_handlers(*[handler_of(cls, scoped=False, result=False) for cls in MESSAGES])

    async with catga.running() as app:
        sent: list[Any] = [Number(2**64), Real(math.nan), Anything(b"x")]
        failed = [each for each in sent if not (await app.mediator.send(each)).is_success]

    assert failed == refused


class Pickled:
    name = "pickled"

    def encode(self, value: object, /) -> bytes:
        if value == (1, "lost"):
            return pickle.dumps((1, "found"))
        return pickle.dumps(value)

    def decoder(self, type_: Any, /) -> Callable[[bytes | memoryview], Any]:
        return pickle.loads


async def test_results_are_tried_with_a_serializer_of_the_application() -> None:
    catga = add_catga()
    catga.add_singleton(Serializer, Pickled)
    catga.add_handlers(*[handler_of(cls, scoped=False, result=False) for cls in MESSAGES])

    async with catga.running() as app:
        kept = await app.mediator.send(Anything(Decimal("1.0")))
        lost = await app.mediator.send(Point((1, "lost")))

    assert kept.unwrap() == Decimal("1.0")
    assert (lost.error.code, "another value" in lost.error.message) == ("SERIALIZATION_FAILED", True)


def test_result_of_its_declared_class_costs_no_call() -> None:
    def written(cls: type[Any]) -> str:
        return "\n".join(returning(returned_for(message_type(cls), "x", msgpack_serializer())))

    assert written(Nothing) == "if v is not None: return finish(v)\nreturn Success(v)"
    for cls in (Number, Texted, MaybeTotal):
        assert "good(" not in written(cls)
