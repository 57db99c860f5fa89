"""Types are checked for encoding and decoding, in both formats, when they are registered."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest

from catga_core import CatgaOptions, Command, ConfigurationError, Event, Query, StreamQuery, add_catga
from catga_core.codecs.plan import plan_of
from catga_core.event_sourcing import (
    Aggregate,
    add_aggregate,
    add_events,
    apply,
    every,
)
from catga_core.event_sourcing.projections import Projection, add_projection, project
from catga_core.event_sourcing.subscriptions import add_subscription

if TYPE_CHECKING:
    from fractions import Fraction


class Unknown:
    """A class that msgspec does not know."""


class Home(msgspec.Struct):
    street: str


class Office(msgspec.Struct):
    floor: int


class Hidden(Event):
    part: Fraction


class Union(Event):
    place: Home | Office


class Foreign(Event):
    thing: Unknown


class Alike(Event):
    when: str | dt.date


class Pairs(Event):
    points: dict[tuple[int, int], str]


class Function(Event):
    call: Callable[[], int]


class Extension(Event):
    raw: msgspec.msgpack.Ext


class Deep(Event):
    things: list[Foreign | None]


class Crash(Event):
    either: tuple[int, int] | Annotated[str, msgspec.Meta(max_length=3)] | None


class Inner(msgspec.Struct):
    number: complex


class Nested(Event):
    inner: dict[str, list[Inner | None]]


REFUSED = [
    (Hidden, "Hidden", "part", "name 'Fraction' is not defined"),
    (Union, "Union", "place", "tag=True"),
    (Foreign, "Foreign", "thing", "register_type(Unknown"),
    (Alike, "Alike", "when", "look alike in the bytes"),
    (Pairs, "Pairs", "points", "must be texts or numbers in JSON"),
    (Function, "Function", "call", "cannot be encoded and decoded"),
    (Extension, "Extension", "raw", "exists in msgpack only"),
    (Crash, "Crash", "either", "crashes the process"),
    (Deep, "Foreign", "thing", "register_type(Unknown"),
    (Nested, "Inner", "number", "register_type(complex"),
]


@pytest.mark.parametrize(("cls", "named", "field", "reason"), REFUSED)
def test_type_that_cannot_be_encoded_is_named_with_its_field(
    cls: Any, named: str, field: str, reason: str
) -> None:
    texts = "\n".join(map(str, plan_of(cls).problems))
    assert f"{named} (test_types.py:" in texts
    assert f"field {field!r}" in texts
    assert reason in texts


def test_every_field_that_cannot_be_encoded_is_named() -> None:
    class Both(Event):
        first: Unknown
        second: complex

    texts = list(map(str, plan_of(Both).problems))
    assert len(texts) == 2
    assert "'first'" in texts[0]
    assert "'second'" in texts[1]


class Ask(Query[Unknown]):
    pass


class Order(Command[int]):
    thing: Unknown


class Items(StreamQuery[Unknown]):
    pass


async def ask(message: Ask) -> Any:
    return None


async def order(message: Order) -> int:
    return 1


async def on_foreign(event: Foreign) -> None: ...


async def items(message: Items) -> AsyncIterator[Any]:
    yield None


@pytest.mark.parametrize(
    ("handler", "where"),
    [
        (ask, "Ask (test_types.py"),
        (order, "field 'thing'"),
        (on_foreign, "field 'thing'"),
        (items, "each item"),
    ],
    ids=["result", "command", "event", "stream"],
)
async def test_handler_of_unencodable_message_is_refused_at_start(handler: Any, where: str) -> None:
    catga = add_catga()
    catga.add_handlers(handler)
    with pytest.raises(ConfigurationError) as refused:
        async with catga.running():
            pass
    assert where in str(refused.value)
    assert "Unknown" in str(refused.value)


class Things(Aggregate):
    count: int = 0

    @apply
    def _foreign(self, event: Foreign) -> None:
        self.count += 1


class Counted(Projection):
    @project
    async def foreign(self, event: Foreign) -> None: ...


def _add_events(catga: Any) -> None:
    add_events(catga, Foreign)


def _add_aggregate(catga: Any) -> None:
    add_aggregate(catga, Things)


def _add_projection(catga: Any) -> None:
    add_projection(catga, Counted)


def _add_subscription(catga: Any) -> None:
    add_subscription(catga, "things", on_foreign)


@pytest.mark.parametrize("add", [_add_events, _add_aggregate, _add_projection, _add_subscription])
async def test_stored_event_that_cannot_be_encoded_is_refused_at_start(add: Callable[[Any], None]) -> None:
    catga = add_catga(CatgaOptions())
    with pytest.raises(ConfigurationError, match=r"Foreign \(test_types.py.*\), field 'thing'"):
        add(catga)
        async with catga.running():
            pass


async def test_snapshot_state_that_cannot_be_encoded_is_refused_at_start() -> None:
    class Odd(Aggregate):
        thing: Unknown | None = None

        @apply
        def _union(self, event: Named) -> None: ...

    catga = add_catga()
    with pytest.raises(ConfigurationError, match="Unknown"):
        add_aggregate(catga, Odd, snapshots=every(1))
        async with catga.running():
            pass


class Named(Event):
    name: str


async def test_initial_state_of_another_type_is_refused_at_start() -> None:
    class Account(Aggregate):
        balance: Decimal = 0  # type: ignore[assignment]  # what is refused

        @apply
        def _named(self, event: Named) -> None: ...

    catga = add_catga()
    add_aggregate(catga, Account, snapshots=every(1))
    with pytest.raises(ConfigurationError, match="balance: must be Decimal, is int"):
        async with catga.running():
            pass


async def test_types_of_a_local_scope_are_resolved_where_they_are_registered() -> None:
    class Line(msgspec.Struct):
        sku: str

    class Local(Command[int]):
        lines: list[Line]

    async def local(message: Local) -> int:
        return len(message.lines)

    catga = add_catga()
    catga.add_handlers(local)
    async with catga.running() as app:
        assert (await app.mediator.send(Local([Line("a")]))).unwrap() == 1
    assert not plan_of(Local).problems


async def test_result_given_as_a_name_is_resolved() -> None:
    catga = add_catga()
    catga.add_handlers(later)
    async with catga.running() as app:
        assert (await app.mediator.send(Later())).unwrap() == Home("x")


class Later(Query["Home"]):
    pass


async def later(message: Later) -> Home:
    return Home("x")


class Price(msgspec.Struct):
    amount: Annotated[Decimal, msgspec.Meta(gt=0, le=10, description="a price")]
    limit: Annotated[Decimal | None, msgspec.Meta(ge=1)] = None
    parts: list[Annotated[Decimal, msgspec.Meta(multiple_of=2)]] = []
    either: Annotated[Decimal | int, msgspec.Meta(lt=5)] = 1


@pytest.mark.parametrize("format", ["msgpack", "json"])
def test_constraints_of_decimals_are_checked(format: str) -> None:
    plan = plan_of(Price)
    assert not plan.problems
    assert not plan.findings(Price(Decimal(1), Decimal(1), [Decimal(4)], Decimal(4)), format)
    found = plan.findings(Price(Decimal(0), Decimal(0), [Decimal(3)], 5), format)
    assert [each.path for each in found] == ["amount", "limit", "parts[0]", "either"]
    assert plan.findings(Price(Decimal("NaN")), format)


def test_constraints_of_decimals_keep_the_schema() -> None:
    plan_of(Price)
    schema: Any = msgspec.json.schema(Price)
    assert schema["$defs"]["Price"]["properties"]["amount"]["description"] == "a price"


async def test_events_of_a_local_scope_are_resolved_where_they_are_registered() -> None:
    class Part(msgspec.Struct):
        sku: str

    class Packed(Event):
        parts: list[Part]

    class Parcel(Aggregate):
        count: int = 0

        @apply
        def _packed(self, event: Packed) -> None:
            self.count = len(event.parts)

    catga = add_catga()
    add_aggregate(catga, Parcel)
    async with catga.running() as app:
        await app.event_store.append("parcel-1", Packed([Part("a")]))
        assert [each.event async for each in app.event_store.read("parcel-1")] == [Packed([Part("a")])]
