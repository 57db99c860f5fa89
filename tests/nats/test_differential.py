"""The same hostile messages in process, over the in-process transport and over NATS: the same results, codes and details."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest

from catga_core import (
    CatgaContainer,
    CatgaError,
    CatgaOptions,
    CatgaResult,
    Command,
    Query,
    Validator,
    add_catga,
)
from catga_core.builtin_plugins import add_memory_transport
from catga_core.interfaces import ValidationProblem
from catga_core.messages import message_type
from catga_nats import NatsOptions, add_nats_catga
from catga_testing.servers import NatsServer

pytestmark = pytest.mark.nats

Positive = Annotated[int, msgspec.Meta(ge=1)]


class Line(msgspec.Struct, frozen=True):
    sku: Annotated[str, msgspec.Meta(min_length=2, pattern="^[a-z]")]
    quantity: Positive


class Large(Line, frozen=True):
    size: int = 0


class Model(pydantic.BaseModel):
    x: int


class Word(StrEnum):
    A = "a"


class Number(IntEnum):
    ONE = 1


class Place(Command[int]):
    lines: Annotated[list[Line], msgspec.Meta(min_length=1)]
    note: Annotated[str, msgspec.Meta(max_length=3)] | None = None
    kind: Literal["new", "old"] = "new"
    by_name: dict[str, Positive] = {}


class Give(Query[int]):
    what: str


class GiveLine(Query[Line | None]):
    what: str


class GiveDecimals(Query[list[Decimal]]):
    what: str


class GiveFloat(Query[float]):
    what: str


class GiveWhen(Query[dt.datetime | None]):
    what: str


class GiveAnything(Query[Any]):
    what: str


class GiveModel(Query[Model]):
    what: str


class GiveText(Query[str]):
    what: str


class Fail(Command[int]):
    how: str


class EvenLines(Validator[Place]):
    def validate(self, message: Place) -> list[ValidationProblem]:
        odd = [number for number, line in enumerate(message.lines) if line.quantity % 2]
        return [ValidationProblem(f"lines[{number}].quantity", "must be even") for number in odd]


class Odd(BaseException):
    pass


VALUES: dict[str, Any] = {
    "int": 1,
    "text": "1",
    "none": None,
    "bool": True,
    "float": 1.0,
    "list": [1],
    "line": Line("ab", 2),
    "dict": {"sku": "ab", "quantity": 2},
    "huge": 1 << 40,
    "more than 64 bits": 1 << 70,
    "decimal": Decimal(1),
    "decimals": [Decimal(1)],
    "tuple": (Decimal(1),),
    "derived": Large("ab", 2, 3),
    "mistyped field": Line("ab", "2"),  # type: ignore[arg-type]  # what is refused
    "model": Model(x=1),
    "invalid model": Model.model_construct(x="one"),
    "date": dt.date(2026, 1, 1),
    "time": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    "naive": dt.datetime(2026, 1, 1),  # noqa: DTZ001 - a value like any other
    "odd offset": dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(seconds=30))),
    "not a number": float("nan"),
    "infinite": float("inf"),
    "enumerated text": Word.A,
    "enumerated number": Number.ONE,
    "surrogate": "\ud800",
    "set": {1},
    "bytes": b"x",
    "keys": {1: "a"},
    "nested": {"a": [Decimal(1), (1,)]},
    "class": int,
}


async def place(message: Place) -> int:
    return sum(line.quantity for line in message.lines)


async def give(message: Give) -> int:
    return VALUES[message.what]  # type: ignore[no-any-return]


async def give_line(message: GiveLine) -> Line | None:
    value = VALUES[message.what]
    return CatgaResult.success(value) if message.what == "text" else value  # type: ignore[return-value]


def giver(cls: type[Any]) -> Callable[[Any], Any]:
    async def give_value(message: Any) -> Any:
        return VALUES[message.what]

    give_value.__name__ = f"give_{cls.__name__}"
    give_value.__annotations__ = {"message": cls, "return": message_type(cls).result}
    return give_value


GIVING = (GiveDecimals, GiveFloat, GiveWhen, GiveAnything, GiveModel, GiveText)


async def fail(message: Fail) -> int:
    match message.how:
        case "error":
            raise LookupError("secret \x00 text")
        case "own code":
            raise CatgaError(
                "out", code="OUT_OF_STOCK", retryable=True, details={"left": [0, None, {"a": 1.5}]}
            )
        case "result":
            return CatgaResult.failure(code="CONFLICT", message="again", details={"version": 3})  # type: ignore[return-value]
        case "no code":
            raise CatgaError
        case "details":
            raise CatgaError(
                "no",
                details={
                    "price": Decimal("1.50"),
                    "what": object(),
                    "line": Line("ab", 2),
                    "huge": 1 << 70,
                    "word": Word.A,
                },
            )
        case "long":
            raise ValueError("x" * 3_000_000)
        case "long details":
            raise CatgaError("no", code="LONG", details={"text": "x" * 3_000_000})
        case "cancelled":
            raise asyncio.CancelledError
        case "awaits cancelled":
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(future.cancel)
            return await future
        case "base exception":
            raise Odd("odd")
        case "group":
            raise BaseExceptionGroup("several", [Odd(), ValueError()])
        case "closed":
            raise GeneratorExit
        case "timeout":
            raise TimeoutError
        case "recursion":
            return await fail(message)
        case "surrogate":
            raise ValueError("\ud800")
        case "forgotten await":
            return fail(Fail("result"))  # type: ignore[return-value]
    raise AssertionError(message.how)


MESSAGES: list[Any] = [
    Place([Line("ab", 2), Line("cd", 4)]),
    Place([]),
    Place([Line("", 0), Line("Ab", -2)], note="long", by_name={"x": 0, "y": -1}),
    Place([Line("ab", 1), Line("cd", 3)]),
    Place([Line("a", 3), Line("cd", 1)], note="long"),
    Place([Line("ab", 2)], note="\x00"),
    Place([Line("ab", "2"), Line(3, 2)], note=7),  # type: ignore[arg-type]
    Place([Line("ab", 2)], kind="odd"),  # type: ignore[arg-type]
    Place(None),  # type: ignore[arg-type]
    *[Give(what) for what in VALUES],
    *[GiveLine(what) for what in VALUES],
    *[cls(what) for cls in GIVING for what in VALUES],
    *[
        Fail(how)
        for how in (
            "error",
            "own code",
            "result",
            "no code",
            "details",
            "long",
            "long details",
            "cancelled",
            "awaits cancelled",
            "base exception",
            "group",
            "closed",
            "timeout",
            "recursion",
            "surrogate",
            "forgotten await",
        )
    ],
]


Format = Literal["msgpack", "json"]


def serving(serializer: Format = "msgpack") -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name="serves", serializer=serializer))
    catga.add_handlers(place, give, give_line, fail, *map(giver, GIVING))
    catga.add_validator(EvenLines)
    return catga


def comparable(result: CatgaResult[Any]) -> Any:
    if result.is_success:
        value = result.value
        # "Not a number" is unlike itself.
        return "success", type(value), repr(value) if value != value else value
    error = result.error
    return error.code, error.retryable, error.message, dict(error.details)


async def in_process(serializer: Format = "msgpack") -> list[Any]:
    async with serving(serializer).running() as app:
        return [comparable(await app.mediator.send(each)) for each in MESSAGES]


async def over(add: Callable[[CatgaContainer], None], serializer: Format = "msgpack") -> list[Any]:
    server, client = (
        serving(serializer),
        add_catga(CatgaOptions(service_name="asks", serializer=serializer)),
    )
    for each in (server, client):
        add(each)
    async with server.running(), client.running() as app, asyncio.timeout(60):
        return [comparable(await app.mediator.send(each, timeout=20)) for each in MESSAGES]


def difference(expected: list[Any], found: list[Any]) -> list[str]:
    return [
        f"{message}:\n  in process {one}\n  transport  {other}"
        for message, one, other in zip(MESSAGES, expected, found, strict=True)
        if one != other
    ]


async def test_in_process_transport_gives_the_results_of_one_process() -> None:
    expected = await in_process()
    found = await over(lambda catga: add_memory_transport(catga, "memory://differential"))

    assert difference(expected, found) == []


@pytest.mark.parametrize("serializer", ["msgpack", "json"])
@pytest.mark.parametrize("envelope", ["body", "headers"])
async def test_nats_gives_the_results_of_one_process(
    nats_server_shared: NatsServer,
    serializer: Format,
    envelope: Literal["body", "headers"],
) -> None:
    options = NatsOptions(
        servers=nats_server_shared.url,
        envelope=envelope,
        subject_prefix=f"diff-{serializer}-{envelope}",
    )
    expected = await in_process(serializer)
    found = await over(lambda catga: add_nats_catga(catga, options), serializer)

    assert difference(expected, found) == []


async def test_validation_lists_every_problem_over_nats(nats_server_shared: NatsServer) -> None:
    options = NatsOptions(servers=nats_server_shared.url, subject_prefix="all-problems")
    found = await over(lambda catga: add_nats_catga(catga, options))

    code, _, _, details = found[4]
    assert code == "VALIDATION_FAILED"
    assert [each["field"] for each in details["errors"]] == [
        "lines[0].sku",
        "note",
        "lines[0].quantity",
        "lines[1].quantity",
    ]
    assert {each[0] for each in found} >= {"success", "OUT_OF_STOCK", "CONFLICT", "HANDLER_FAILED"}
