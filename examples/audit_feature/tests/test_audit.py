"""What is audited, and where an entry goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
import pytest
from catga_audit import (
    AuditEntry,
    AuditFilter,
    AuditOptions,
    AuditOutcome,
    AuditStore,
    AuditWriter,
    MemoryAuditStore,
    add_audit,
)

from catga_core import (
    CatgaContainer,
    CatgaError,
    CatgaMediator,
    CatgaOptions,
    CatgaResult,
    Command,
    ConfigurationError,
    Event,
    Query,
    StreamQuery,
    add_catga,
    message,
)
from catga_core.event_sourcing.subscriptions import add_subscription


class Place(Command[str]):
    order_id: Annotated[str, msgspec.Meta(min_length=1)]


class Placed(Event):
    order_id: str


class Find(Query[str]):
    pass


class Count(StreamQuery[int]):
    pass


@message(context=False)
class Hurry(Command[None]):
    pass


@message(context=False)
class Look(Query[None]):
    pass


class Gate:
    """Lets a test wait until a handler runs, and the handler until the test lets it go on."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()


class PlaceHandler:
    def __init__(self, mediator: CatgaMediator, gate: Gate) -> None:
        self._mediator = mediator
        self._gate = gate

    async def handle(self, message: Place) -> CatgaResult[str]:
        if message.order_id == "taken":
            return CatgaResult.failure(code="CONFLICT", message="the order exists")
        if message.order_id == "broken":
            raise OSError("no disk")
        if message.order_id == "slow":
            self._gate.entered.set()
            await self._gate.open.wait()
        await self._mediator.publish(Placed(message.order_id))
        return CatgaResult.success(message.order_id)


async def send_mail(event: Placed) -> None:
    if event.order_id == "no mail":
        raise CatgaError("no such address", code="VALIDATION_FAILED")


async def print_label(event: Placed) -> None:
    del event


async def find(query: Find) -> str:
    del query
    return "found"


async def count(query: Count) -> AsyncIterator[int]:
    del query
    yield 1


async def hurry(command: Hurry) -> None:
    del command


async def look(query: Look) -> None:
    del query


def shop(audit: AuditOptions | None = None, **options: Any) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name="shop", **options))
    catga.add_singleton(Gate)
    catga.add_handlers(PlaceHandler, find, count)
    # One entry in a batch, so that each is stored at once.
    add_audit(catga, audit or AuditOptions(batch_size=1))
    return catga


async def entries(catga: CatgaContainer, filter: AuditFilter | None = None) -> list[AuditEntry]:
    """Return the entries in the order of their messages' ends, all of them stored."""
    await catga.get(AuditWriter).stop()
    return (await catga.get(AuditStore).find(filter or AuditFilter()))[::-1]


async def test_handled_command_is_audited_with_its_sender() -> None:
    catga = shop()
    async with catga.running() as app:
        await app.mediator.send(Place("o-1"), message_id="m-1", headers={"actor": "ada"})
        [entry] = await entries(catga)

    assert (entry.kind, entry.message, entry.handler) == ("command", "Place", "PlaceHandler")
    assert (entry.message_id, entry.correlation_id, entry.actor) == ("m-1", "m-1", "ada")
    assert (entry.outcome, entry.code) == (AuditOutcome.SUCCEEDED, None)


@pytest.mark.parametrize(
    ("order_id", "code"), [("taken", "CONFLICT"), ("broken", "HANDLER_FAILED"), ("", "VALIDATION_FAILED")]
)
async def test_failed_command_is_audited_with_its_code(order_id: str, code: str) -> None:
    catga = shop()
    async with catga.running() as app:
        result = await app.mediator.send(Place(order_id))
        [entry] = await entries(catga)

    assert not result.is_success
    assert (entry.outcome, entry.code) == (AuditOutcome.FAILED, code)


async def test_timed_out_command_is_audited_as_failed() -> None:
    catga = shop(timeout_seconds=0.01)
    async with catga.running() as app:
        await app.mediator.send(Place("slow"))
        [entry] = await entries(catga)

    assert (entry.outcome, entry.code) == (AuditOutcome.FAILED, "TIMEOUT")


@pytest.mark.parametrize("roles", [{"serve", "work"}, {"admin"}])
async def test_cancelled_command_is_audited(roles: Any) -> None:
    catga = shop()
    async with catga.running(roles=roles) as app:
        sending = asyncio.create_task(app.mediator.send(Place("slow")))
        await app.get(Gate).entered.wait()
        sending.cancel()
        await asyncio.wait([sending])
        [entry] = await entries(catga)

    assert sending.cancelled()
    assert (entry.outcome, entry.code) == (AuditOutcome.CANCELLED, None)


async def test_rolled_back_command_leaves_its_entry() -> None:
    catga = shop(enable_outbox=True)
    async with catga.running() as app:
        await app.mediator.send(Place("taken"))
        [entry] = await entries(catga)

    assert entry.outcome is AuditOutcome.FAILED


async def test_event_is_audited_once_for_each_handler() -> None:
    catga = shop()
    catga.add_handlers(send_mail, print_label)
    async with catga.running() as app:
        await app.mediator.send(Place("no mail"), message_id="m-1", headers={"actor": "ada"})
        found = await entries(catga, AuditFilter(message="Placed", correlation_id="m-1"))

    assert {each.handler: each.code for each in found} == {
        "send_mail": "VALIDATION_FAILED",
        "print_label": None,
    }
    # Headers travel no further than their message.
    assert {each.actor for each in found} == {None}


async def test_events_that_a_subscription_reads_are_not_audited() -> None:
    catga = shop()
    add_subscription(catga, "labels", print_label)
    async with catga.running() as app:
        await app.event_store.append("order-1", Placed("o-1"))
        await app.subscriptions.caught_up("labels")
        found = await entries(catga)

    assert found == []


@pytest.mark.parametrize(("queries", "audited"), [(False, []), (True, ["Find", "Count"])])
async def test_queries_are_audited_by_option(queries: bool, audited: list[str]) -> None:
    catga = shop(AuditOptions(batch_size=1, queries=queries))
    async with catga.running() as app:
        await app.mediator.send(Find())
        assert [number async for number in app.mediator.stream(Count())] == [1]
        found = await entries(catga)

    assert [each.message for each in found] == audited


async def test_sender_is_named_by_the_header_of_the_options() -> None:
    catga = shop(AuditOptions(batch_size=1, actor_header="user"))
    async with catga.running() as app:
        await app.mediator.send(Place("o-1"), headers={"actor": "ada", "user": "grace"})
        [entry] = await entries(catga)

    assert entry.actor == "grace"


async def test_override_of_the_store_gets_the_entries_of_its_messages() -> None:
    catga, double = shop(AuditOptions()), MemoryAuditStore()
    async with catga.running() as app:
        await app.mediator.send(Place("o-1"), message_id="before")
        with catga.override(AuditStore, double):
            await app.mediator.send(Place("o-2"), message_id="meanwhile")
        await app.mediator.send(Place("o-3"), message_id="after")
        # None of them is stored yet: the override has ended before its entry is.
        assert app.health()["audit"].details["waiting"] == 3
        real = await entries(catga)

    assert [each.message_id for each in real] == ["before", "after"]
    assert [each.message_id for each in await double.find()] == ["meanwhile"]


async def test_store_of_the_application_is_used() -> None:
    catga, store = shop(), MemoryAuditStore()
    catga.add_singleton(AuditStore, store)
    async with catga.running() as app:
        await app.mediator.send(Place("o-1"))

    assert len(await store.find()) == 1


async def test_store_is_a_port_of_the_running_application() -> None:
    async with shop().running() as app:
        assert app.audit_store is app.get(AuditStore)


async def test_audited_message_without_a_context_is_refused() -> None:
    catga = shop()
    catga.add_handlers(hurry, look)
    with pytest.raises(ConfigurationError, match=r"Hurry.*context=False") as raised:
        catga.validate()

    assert len(raised.value.problems) == 1
