"""Two versions of a message in one cluster: upcasters apply to commands and queries as they do to events."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, Literal

import pytest

from catga_core import CatgaOptions, Command, Event, add_catga, message
from catga_core.event_sourcing import add_upcasters, upcaster
from catga_nats import NatsOptions, add_nats_catga
from catga_testing.servers import NatsServer


@message(name="upgrades.place")
class PlaceOld(Command[str]):
    customer: str
    cents: int


@message(name="upgrades.place", version=2)
class Place(Command[str]):
    customer: str
    amount: Decimal
    note: str = "none"


@message(name="upgrades.buy")
class Buy(Command[str]):
    customer: str
    cents: int


@message(name="upgrades.placed")
class PlacedOld(Event):
    cents: int


@message(name="upgrades.placed", version=2)
class Placed(Event):
    amount: Decimal


def in_amounts(fields: dict[str, Any]) -> dict[str, Any]:
    fields["amount"] = Decimal(fields.pop("cents")) / 100
    return fields


UPCASTERS = (
    upcaster("upgrades.place", from_version=1)(in_amounts),
    upcaster("upgrades.buy", from_version=1, to_name="upgrades.place", to_version=2)(in_amounts),
    upcaster("upgrades.placed", from_version=1)(in_amounts),
)


async def place(command: Place) -> str:
    return f"{command.customer} {command.amount} {command.note}"


def options(server: NatsServer, form: Literal["body", "headers"], format: Any) -> NatsOptions:
    return NatsOptions(server.url, envelope=form, serializer=format, subject_prefix=f"up-{form}-{format}")


def build(settings: NatsOptions, service: str) -> Any:
    catga = add_catga(CatgaOptions(service_name=service))
    add_nats_catga(catga, settings)
    return catga


@pytest.mark.parametrize("form", ["body", "headers"])
@pytest.mark.parametrize("format", ["msgpack", "json"])
async def test_older_command_is_upcast_where_it_is_handled(
    nats_server_shared: NatsServer, form: Literal["body", "headers"], format: Any
) -> None:
    settings = options(nats_server_shared, form, format)
    service, client = build(settings, "shop"), build(settings, "client")
    service.add_handlers(place)
    add_upcasters(service, *UPCASTERS)
    async with service.running(), client.running() as app:
        old = await app.mediator.send(PlaceOld("c-1", 1250), timeout=5)
        new = await app.mediator.send(Place("c-1", Decimal("12.5"), "x"), timeout=5)
        renamed = await app.mediator.send(Buy("c-2", 100), timeout=5)
    assert (old.unwrap(), new.unwrap(), renamed.unwrap()) == ("c-1 12.5 none", "c-1 12.5 x", "c-2 1 none")


@pytest.mark.parametrize("form", ["body", "headers"])
async def test_older_event_is_upcast_where_it_is_handled(
    nats_server_shared: NatsServer, form: Literal["body", "headers"]
) -> None:
    settings = options(nats_server_shared, form, None)
    seen: asyncio.Queue[Placed] = asyncio.Queue()

    async def placed(event: Placed) -> None:
        seen.put_nowait(event)

    service, client = build(settings, "shop"), build(settings, "client")
    service.add_handlers(placed)
    add_upcasters(service, *UPCASTERS)
    async with service.running(), client.running() as app:
        await app.mediator.publish(PlacedOld(50))
        assert await asyncio.wait_for(seen.get(), 5) == Placed(Decimal("0.5"))


@pytest.mark.parametrize("form", ["body", "headers"])
async def test_older_command_without_upcaster_is_refused_with_the_fix(
    nats_server_shared: NatsServer, form: Literal["body", "headers"]
) -> None:
    settings = options(nats_server_shared, form, None)
    service, client = build(settings, "shop"), build(settings, "client")
    service.add_handlers(place)
    async with service.running(), client.running() as app:
        refused = await app.mediator.send(PlaceOld("c-1", 1250), timeout=5)
    assert refused.error.code == "SERIALIZATION_FAILED"
    assert '@upcaster("upgrades.place", from_version=1)' in refused.error.message


@pytest.mark.parametrize("form", ["body", "headers"])
async def test_newer_command_is_refused_by_an_older_process(
    nats_server_shared: NatsServer, form: Literal["body", "headers"]
) -> None:
    async def place_old(command: PlaceOld) -> str:
        return "old"

    settings = options(nats_server_shared, form, None)
    service, client = build(settings, "shop"), build(settings, "client")
    service.add_handlers(place_old)
    async with service.running(), client.running() as app:
        refused = await app.mediator.send(Place("c-1", Decimal(1)), timeout=5)
    assert refused.error.code == "SERIALIZATION_FAILED"
    assert "run the newer version here too" in refused.error.message


async def test_failing_upcaster_is_a_failure_of_the_sender(nats_server_shared: NatsServer) -> None:
    def broken(fields: dict[str, Any]) -> dict[str, Any]:
        raise KeyError(fields["customer"])

    settings = NatsOptions(nats_server_shared.url, subject_prefix="up-broken")
    service, client = build(settings, "shop"), build(settings, "client")
    service.add_handlers(place)
    add_upcasters(service, upcaster("upgrades.place", from_version=1)(broken))
    async with service.running(), client.running() as app:
        failed = await app.mediator.send(PlaceOld("4111", 1), timeout=5)
        works = await app.mediator.send(Place("c", Decimal(1)), timeout=5)
    assert failed.error.code == "SERIALIZATION_FAILED"
    assert "its upcaster raised KeyError" in failed.error.message
    assert "4111" not in failed.error.message
    assert works.is_success


class Wrong(Command[int]):
    number: int


async def test_result_of_another_type_is_a_failure_that_names_the_message(
    nats_server_shared: NatsServer,
) -> None:
    async def wrong(command: Wrong) -> Any:
        return "one"

    settings = NatsOptions(nats_server_shared.url, subject_prefix="up-wrong")
    service, client = build(settings, "shop"), build(settings, "client")
    service.add_handlers(wrong)
    async with service.running(), client.running() as app:
        result = await app.mediator.send(Wrong(1), timeout=5)
        mistyped = await app.mediator.send(Wrong("1"), timeout=5)  # type: ignore[arg-type]  # what is refused
    assert "must be int, is str" in result.error.message
    assert mistyped.error.code == "VALIDATION_FAILED"
    assert mistyped.error.details["errors"] == [{"field": "number", "message": "must be int, is str"}]
