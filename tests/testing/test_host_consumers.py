"""`test_host` waits for projections, subscriptions and event publishers as it does for messages."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from catga_core import (
    CatgaContainer,
    CatgaMediator,
    CatgaOptions,
    Command,
    Event,
    EventHandler,
    RequestHandler,
    Transport,
    add_catga,
)
from catga_core.event_sourcing import add_event_publisher
from catga_core.event_sourcing.projections import Projection, ProjectionMode, add_projection, project
from catga_core.event_sourcing.subscriptions import add_subscription
from catga_core.interfaces import EventStore
from catga_core.memory import LocalTransport, local_bus
from catga_testing import NotSettledError, Outcome, test_host

_TURNS = 50  # of the loop that each handler takes: whoever does not wait for it comes too early


class Ordered(Event):
    number: int


class Packed(Event):
    number: int


class Invoiced(Event):
    number: int


class Order(Command[None]):
    number: int


class Pack(Command[None]):
    number: int


class Done(list[str]):
    """What was done, in order."""


async def _turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class OrderHandler(RequestHandler[Order, None]):
    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def handle(self, message: Order) -> None:
        await self._store.append(f"order-{message.number}", Ordered(message.number))


class PackHandler(RequestHandler[Pack, None]):
    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def handle(self, message: Pack) -> None:
        await _turns()
        await self._store.append(f"parcel-{message.number}", Packed(message.number))


async def pack(event: Ordered, mediator: CatgaMediator) -> None:
    await _turns()
    (await mediator.send(Pack(event.number))).unwrap()


class Listed(Projection):
    def __init__(self, done: Done) -> None:
        self._done = done

    async def reset(self) -> None:
        """Begin with nothing."""

    @project
    async def packed(self, event: Packed) -> None:
        await _turns()
        self._done.append(f"listed {event.number}")


class InvoicePacked(EventHandler[Packed]):
    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def handle(self, message: Packed) -> None:
        await _turns()
        await self._store.append(f"invoice-{message.number}", Invoiced(message.number))


class Mail(EventHandler[Invoiced]):
    def __init__(self, done: Done) -> None:
        self._done = done

    async def handle(self, message: Invoiced) -> None:
        await _turns()
        self._done.append(f"mailed {message.number}")


def shop(store: str, done: Done, mode: ProjectionMode = ProjectionMode.CATCH_UP) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name="shop", store=store))
    catga.add_singleton(Done, done, instance=True)
    catga.add_handlers(OrderHandler, PackHandler)
    add_subscription(catga, "packing", pack)
    add_projection(catga, Listed, mode=mode)
    add_event_publisher(catga, events=[Packed, Invoiced])
    return catga


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'app.db'}"


@pytest.mark.parametrize("mode", [ProjectionMode.CATCH_UP, ProjectionMode.LIVE, ProjectionMode.IN_MEMORY])
async def test_send_returns_when_every_consumer_is_done(store: str, mode: ProjectionMode) -> None:
    done = Done()
    catga = shop(store, done, mode)
    catga.add_handlers(InvoicePacked, Mail)

    async with test_host(catga) as host:
        for number in (1, 2, 3):
            (await host.send(Order(number))).unwrap()
            assert sorted(done) == [f"listed {number}", f"mailed {number}"]
            done.clear()


async def test_append_is_settled_when_every_consumer_is_done(store: str) -> None:
    done = Done()
    catga = shop(store, done)

    async with test_host(catga) as host:
        await host.app.event_store.append("parcel-1", [Packed(number) for number in range(20)])
        await host.settled()

        assert done == [f"listed {number}" for number in range(20)]


async def test_events_of_an_event_publisher_are_recorded_as_published(store: str) -> None:
    catga = shop(store, Done())
    catga.add_handlers(InvoicePacked, Mail)

    async with test_host(catga) as host:
        await host.send(Order(1))

        published = host.published()
        assert [type(each.message) for each in published] == [Packed, Invoiced]
        assert [each.outcome for each in published] == [Outcome.SUCCEEDED] * 2
        stored = [each.message_id async for each in host.app.event_store.read_all()]
        assert [each.context.message_id for each in published] == stored[1:]


async def test_outbox_events_are_recorded_once(store: str) -> None:
    async def announce(message: Pack, mediator: CatgaMediator) -> None:
        await mediator.publish(Packed(message.number))

    catga = add_catga(CatgaOptions(store=store, enable_outbox=True))
    catga.add_handlers(announce)

    async with test_host(catga) as host:
        await host.send(Pack(1))

        assert [each.message for each in host.published()] == [Packed(1)]


async def test_events_of_an_event_publisher_are_waited_for_in_another_service(store: str) -> None:
    done = Done()

    def over_bus(catga: CatgaContainer) -> CatgaContainer:
        catga.add_singleton(Transport, lambda: LocalTransport(local_bus("host-consumers")))
        return catga

    mail = over_bus(add_catga(CatgaOptions(service_name="mail")))
    mail.add_singleton(Done, done, instance=True)
    mail.add_handlers(InvoicePacked, Mail)
    add_event_publisher(mail)

    async with test_host(mail), test_host(over_bus(shop(store, Done()))) as host:
        (await host.send(Order(7))).unwrap()

        assert done == ["mailed 7"]


async def test_consumer_that_stops_is_named_at_once(store: str) -> None:
    async def fail(event: Ordered) -> None:
        raise ZeroDivisionError

    catga = add_catga(CatgaOptions(service_name="shop", store=store))
    catga.add_handlers(OrderHandler)
    options: Any = {"attempts": 1}
    add_subscription(catga, "failing", fail, **options)

    async with test_host(catga) as host:
        with pytest.raises(NotSettledError) as caught:
            await host.send(Order(1), within=60.0)

    assert "'failing'" in str(caught.value)
    assert "ZeroDivisionError" in str(caught.value)


async def test_consumer_that_is_not_done_in_time_is_named(store: str) -> None:
    release = asyncio.Event()

    async def wait(event: Ordered) -> None:
        await release.wait()

    catga = add_catga(CatgaOptions(service_name="shop", store=store))
    catga.add_handlers(OrderHandler)
    add_subscription(catga, "slow", wait)

    async with test_host(catga) as host:
        with pytest.raises(NotSettledError) as caught:
            await host.send(Order(1), within=0.05)
        release.set()
        await host.settled()

    assert "'slow'" in str(caught.value)
