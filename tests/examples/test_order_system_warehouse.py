"""Several processes take from the same shelves: nothing is sold twice, and no order is turned down in error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from catga_core import CatgaApp, ConcurrencyError
from catga_core.interfaces import EventStore, StoredEvent
from examples.order_system import compositions
from examples.order_system.inventory.domain import Catalog, Product, Refused
from examples.order_system.inventory.messages import Line, Reservation, StockRefusal
from examples.order_system.inventory.warehouse import Warehouse

CATALOG = Catalog(
    (Product("CUP", "a cup", Decimal("3.00"), 10), Product("POT", "a pot", Decimal("9.00"), 10))
)


@pytest.fixture
async def app() -> AsyncIterator[CatgaApp]:
    async with compositions.one_process().running() as app:
        yield app


@pytest.fixture
async def two(app: CatgaApp) -> tuple[Warehouse, Warehouse]:
    """Two processes on one store."""
    found = Warehouse(CATALOG, app.event_store), Warehouse(CATALOG, app.event_store)
    await asyncio.gather(*(each.start() for each in found))
    return found


def cups(quantity: int) -> list[Line]:
    return [Line("CUP", quantity)]


async def test_goods_are_counted_once(two: tuple[Warehouse, Warehouse]) -> None:
    one, other = two
    await other.start()
    assert isinstance(await one.reserve("A-1", cups(10)), Reservation)
    assert await other.reserve("A-2", cups(1)) == Refused(StockRefusal.OUT_OF_STOCK, "not enough of CUP")


async def test_what_another_has_taken_is_not_sold_again(two: tuple[Warehouse, Warehouse]) -> None:
    one, other = two
    await one.reserve("A-1", cups(1))
    await other.reserve("A-2", cups(9))
    with pytest.raises(ConcurrencyError):
        await one.reserve("A-3", cups(1))
    assert isinstance(await one.reserve("A-3", cups(1)), Refused)


async def test_what_another_has_put_back_is_not_refused(two: tuple[Warehouse, Warehouse]) -> None:
    one, other = two
    await one.reserve("A-1", cups(10))
    assert isinstance(await other.reserve("A-2", cups(1)), Refused)
    await one.release("A-1")
    with pytest.raises(ConcurrencyError):
        await other.reserve("A-3", cups(1))
    assert isinstance(await other.reserve("A-3", cups(1)), Reservation)


async def test_of_many_at_once_as_many_get_some_as_there_is(two: tuple[Warehouse, Warehouse]) -> None:
    async def stubborn(warehouse: Warehouse, order: str) -> bool:
        while True:
            try:
                return isinstance(
                    await warehouse.reserve(order, [Line("POT", 1), Line("CUP", 2)]), Reservation
                )
            except ConcurrencyError:
                await asyncio.sleep(0)

    got = await asyncio.gather(*(stubborn(two[number % 2], f"A-{number}") for number in range(20)))
    assert sum(got) == 5


async def test_one_product_in_several_lines_is_added_up(two: tuple[Warehouse, Warehouse]) -> None:
    warehouse, _ = two
    assert isinstance(await warehouse.reserve("A-1", [*cups(6), *cups(6)]), Refused)
    assert isinstance(await warehouse.reserve("A-2", [*cups(6), *cups(4)]), Reservation)
    await warehouse.release("A-2")
    assert isinstance(await warehouse.reserve("A-3", cups(10)), Reservation)


class Slow:
    """An event store whose reading waits, until it is told to go on."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.reading = asyncio.Event()
        self.go_on = asyncio.Event()

    async def read(self, stream_id: str, **options: Any) -> AsyncGenerator[StoredEvent, None]:
        if stream_id.startswith("shelf-"):
            self.reading.set()
            await self.go_on.wait()
        async for stored in self._store.read(stream_id, **options):
            yield stored

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_a_request_that_is_given_up_while_it_looks_leaves_nothing_wrong_behind(app: CatgaApp) -> None:
    await Warehouse(CATALOG, app.event_store).start()
    store: Any = Slow(app.event_store)
    warehouse = Warehouse(CATALOG, store)
    asked = asyncio.create_task(warehouse.reserve("A-1", cups(1)))
    await store.reading.wait()
    asked.cancel()
    await asyncio.wait([asked])
    store.go_on.set()
    assert isinstance(await warehouse.reserve("A-2", cups(1)), Reservation)
