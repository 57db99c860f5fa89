"""Types that msgspec does not know: registered ones, and pydantic's models."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import types
from decimal import Decimal
from typing import Any

import pytest

from catga_core import CatgaError, Command, ConfigurationError, Event, add_catga, register_type
from catga_core.codecs.plan import plan_of
from catga_core.event_sourcing import add_events
from catga_core.messages.exact import exact_encoder
from catga_core.messages.serialization import json_serializer, msgpack_serializer

SERIALIZERS = [msgpack_serializer(), json_serializer()]


class Money:
    def __init__(self, amount: Decimal, currency: str) -> None:
        self.amount = amount
        self.currency = currency

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.amount, self.currency))


class Coins(Money):
    pass


register_type(
    Money,
    encode=lambda money: [money.amount, money.currency],
    decode=lambda parts: Money(Decimal(parts[0]), parts[1]),
)


class Lossy:
    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lossy) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]  # as a class with __eq__ has it


register_type(Lossy, encode=lambda _: 0, decode=Lossy)


class Priced(Event):
    price: Money
    others: list[Money] = []
    limit: Money | None = None


@pytest.mark.parametrize("serializer", SERIALIZERS, ids=["msgpack", "json"])
def test_registered_type_is_kept(serializer: Any) -> None:
    event = Priced(Money(Decimal("1.50"), "EUR"), [Money(Decimal(1), "USD")])
    assert serializer.decoder(Priced)(exact_encoder(serializer, Priced)(event)) == event
    with pytest.raises(CatgaError, match="price: must be exactly Money, is Coins"):
        exact_encoder(serializer, Priced)(Priced(Coins(Decimal(1), "EUR")))


class Lost(Event):
    value: Lossy


@pytest.mark.parametrize("serializer", SERIALIZERS, ids=["msgpack", "json"])
def test_registered_type_that_loses_a_value_is_refused(serializer: Any) -> None:
    encode = exact_encoder(serializer, Lost)
    assert encode(Lost(Lossy(0)))
    with pytest.raises(CatgaError, match="value: is another Lossy when it is read back"):
        encode(Lost(Lossy(5)))


class Bought(Event):
    price: Money


async def test_registered_type_works_in_a_store() -> None:
    catga = add_catga()
    add_events(catga, Bought)
    async with catga.running() as app:
        await app.event_store.append("s", Bought(Money(Decimal("1.0"), "EUR")))
        assert [each.event async for each in app.event_store.read("s")] == [
            Bought(Money(Decimal("1.0"), "EUR"))
        ]


@pytest.mark.parametrize(
    ("cls", "arguments", "text"),
    [
        ("Money", {"encode": str, "decode": str}, "takes a class"),
        (complex, {"encode": 5, "decode": complex}, "encode of complex must be a function"),
        (dt.date, {"encode": str, "decode": str}, "encoded by Catga itself"),
    ],
)
def test_invalid_registration_is_refused(cls: Any, arguments: Any, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        register_type(cls, **arguments)


# --- pydantic ---


@pytest.fixture(scope="module")
def model() -> Any:
    pydantic: Any = pytest.importorskip("pydantic")
    line: Any = pydantic.create_model("Line", sku=(str, ...), price=(Decimal, ...))
    return pydantic.create_model(
        "Order",
        id=(int, pydantic.Field(alias="orderId")),
        day=(dt.date, ...),
        lines=(list.__class_getitem__(line), []),
        note=(str | None, None),
        anything=(Any, None),
    )


def order_of(model: Any, **more: Any) -> Any:
    lines = [{"sku": "a", "price": "1.50"}]
    return model.model_validate({"orderId": 1, "day": "2024-01-02", "lines": lines, **more})


@pytest.mark.parametrize("serializer", SERIALIZERS, ids=["msgpack", "json"])
def test_pydantic_model_is_kept_as_field_and_as_result(serializer: Any, model: Any) -> None:
    order = order_of(model)
    for type_, value in ((model, order), (list[model], [order]), (model | None, order)):
        assert not plan_of(type_).problems
        assert serializer.decoder(type_)(exact_encoder(serializer, type_)(value)) == value


@pytest.mark.parametrize("serializer", SERIALIZERS, ids=["msgpack", "json"])
def test_pydantic_model_that_would_change_is_refused(serializer: Any, model: Any) -> None:
    encode = exact_encoder(serializer, model)
    for value in (
        order_of(model, anything=Decimal(1)),
        order_of(model, anything={1, 2}),
        order_of(model).model_copy(update={"id": "x"}),
    ):
        with pytest.raises(CatgaError) as refused:
            encode(value)
        assert refused.value.code == "SERIALIZATION_FAILED"


async def test_pydantic_model_works_in_a_message_and_as_its_result(model: Any) -> None:
    base: Any = Command[model]
    Place: Any = types.new_class(
        "Place", (base,), exec_body=lambda body: body.update({"__annotations__": {"order": model}})
    )

    async def place(message: Any) -> Any:
        return message.order

    place.__annotations__["message"] = Place
    catga = add_catga()
    catga.add_handlers(place)
    async with catga.running() as app:
        assert (await app.mediator.send(Place(order_of(model)))).unwrap() == order_of(model)


def test_pydantic_model_as_a_message_is_refused_with_what_to_write(model: Any) -> None:
    async def handler(message: Any) -> None: ...

    handler.__annotations__["message"] = model
    with pytest.raises(ConfigurationError, match=r"pydantic model: write class Order\(Command\[R\]\)"):
        add_catga().add_handlers(handler)


def test_pydantic_is_not_imported_by_codecs() -> None:
    program = (
        "import sys, dependency_injector.providers\n"
        "for name in [each for each in sys.modules if each.split('.')[0].startswith('pydantic')]: del sys.modules[name]\n"
        "import catga_core, catga_core.event_sourcing\n"
        "from catga_core.codecs.plan import plan_of\n"
        "from catga_core import Event\n"
        "class Made(Event):\n    number: int\n"
        "plan_of(Made).check('json').good(Made(1))\n"
        "print([each for each in sys.modules if each.startswith('pydantic')])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
