"""A request of an older version is handled in process by the handler of the newer one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from catga_core import (
    CatgaContainer,
    Command,
    Query,
    Serializer,
    add_catga,
    current_context,
    message,
)
from catga_core.builtin_plugins import add_memory_transport
from catga_core.event_sourcing import add_upcasters, upcaster
from catga_core.messages.serialization import MsgspecSerializer, json_serializer, msgpack_serializer


@message(name="older.pay")
class PayInCents(Command[str]):
    cents: int


@message(name="older.pay", version=2)
class Pay(Command[str]):
    amount: Decimal


@message(name="older.settle")
class Settle(Command[str]):
    cents: int


@message(name="older.count")
class CountAsText(Query[str]):
    pass


@message(name="older.count", version=2)
class Count(Query[int]):
    pass


@upcaster("older.pay", from_version=1)
def in_amounts(fields: dict[str, Any]) -> dict[str, Any]:
    fields["amount"] = str(Decimal(fields.pop("cents")) / 100)
    return fields


@upcaster("older.settle", from_version=1, to_name="older.pay")
def renamed(fields: dict[str, Any]) -> dict[str, Any]:
    return in_amounts.function(fields)


@upcaster("older.count", from_version=1)
def unchanged(fields: dict[str, Any]) -> dict[str, Any]:
    return fields


async def pay(command: Pay) -> str:
    return f"paid {command.amount} as {current_context().message_id}"


async def count(query: Count) -> int:
    return 5


def shop(serializer: MsgspecSerializer | None = None) -> CatgaContainer:
    catga = add_catga()
    catga.add_handlers(pay, count)
    add_upcasters(catga, in_amounts, renamed, unchanged)
    if serializer is not None:
        catga.add_singleton(Serializer, serializer)
    return catga


async def answers(where: str, *sent: Any, serializer: MsgspecSerializer | None = None) -> list[Any]:
    service = shop(serializer)
    if where == "in process":
        async with service.running() as app:
            return [await app.mediator.send(each, message_id="m-1") for each in sent]
    client = add_catga()
    for each in (service, client):
        add_memory_transport(each, "memory://older-requests")
    async with service.running(), client.running() as app:
        return [await app.mediator.send(each, message_id="m-1") for each in sent]


everywhere = pytest.mark.parametrize("where", ["in process", "memory"])


@everywhere
@pytest.mark.parametrize("serializer", [msgpack_serializer(), json_serializer()])
async def test_older_request_is_upcast(where: str, serializer: MsgspecSerializer) -> None:
    found = await answers(where, PayInCents(150), Settle(7), Pay(Decimal(1)), serializer=serializer)

    assert [each.unwrap() for each in found] == [
        "paid 1.5 as m-1",
        "paid 0.07 as m-1",
        "paid 1 as m-1",
    ]


async def test_older_request_without_options_is_upcast() -> None:
    async with shop().running() as app:
        first, second = await app.mediator.send(PayInCents(150)), await app.mediator.send(PayInCents(1))

    assert (first.unwrap()[:8], second.unwrap()[:9]) == ("paid 1.5", "paid 0.01")


@everywhere
async def test_older_request_that_is_not_valid_is_refused(where: str) -> None:
    [found] = await answers(where, PayInCents("x"))  # type: ignore[arg-type]

    assert found.error.code == "VALIDATION_FAILED"
    assert [each["field"] for each in found.error.details["errors"]] == ["cents"]


@everywhere
async def test_answer_of_another_type_is_a_failure(where: str) -> None:
    [found] = await answers(where, CountAsText())

    assert found.error.code == "SERIALIZATION_FAILED"


@everywhere
async def test_older_request_without_upcasters_has_no_handler(where: str) -> None:
    catga = add_catga()
    catga.add_handlers(pay)
    client = catga
    if where == "memory":
        client = add_catga()
        for each in (catga, client):
            add_memory_transport(each, "memory://older-requests")
    async with catga.running() as app:
        if client is catga:
            found = await app.mediator.send(PayInCents(1))
        else:
            async with client.running() as other:
                found = await other.mediator.send(PayInCents(1))

    assert found.error.code == "HANDLER_NOT_FOUND"


async def test_handler_of_the_older_version_is_preferred() -> None:
    async def in_cents(command: PayInCents) -> str:
        return "in cents"

    catga = shop()
    catga.add_handlers(in_cents)
    async with catga.running() as app:
        found = await app.mediator.send(PayInCents(1))

    assert found.unwrap() == "in cents"
