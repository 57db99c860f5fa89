"""The warehouse: takes goods from several shelves for one order, all or nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from catga_core import ConcurrencyError
from catga_core.interfaces import NO_STREAM, EventStore, StreamEvents

from .domain import Catalog, OrderGoods, Refused, Shelf, answer
from .events import (
    GoodsPutBack,
    GoodsSetAside,
    OrderGoodsEvent,
    OrderReleased,
    OrderReserved,
    ShelfEvent,
    StockCounted,
)
from .messages import Line, Reservation


class Warehouse:
    """Sets goods aside, order by order.

    Each product has a stream, and so has what each order was answered. What one order changes in several of them is
    appended in one step, and only where each is as it was when it was decided: nothing is sold twice, however many
    processes share the store. Whoever was second gets a conflict, and asks again.

    In one process, orders that have a product in common wait for each other: that is quicker than to meet in a conflict.
    And they have to wait until the answer is there: what was decided upon an append that then did not succeed could find
    its shelf at the very version it expects, with another history.

    Args:
        catalog: What is sold, and for how much.
        events: Where the streams are.
    """

    def __init__(self, catalog: Catalog, events: EventStore) -> None:
        self._products = {product.code: product for product in catalog.products}
        self._events = events
        # As of when this process last looked. Should another have gone on since, the append finds out.
        self._shelves: dict[str, Shelf] = {}
        self._locks = {product: asyncio.Lock() for product in self._products}

    async def start(self) -> None:
        """Count what is on the shelves, where nobody has; a warehouse that has begun goes on with what it has."""
        counted = [
            StreamEvents(_shelf_stream(product.code), StockCounted(product.code, product.stock), NO_STREAM)
            for product in self._products.values()
            if not (await self._shelf(product.code)).version
        ]
        with suppress(ConcurrencyError):  # another process has counted at the same time
            await self._events.append_many(counted)

    async def stop(self) -> None:
        """Do nothing: what happens is in the store at once."""

    async def reserve(self, order_id: str, lines: Sequence[Line]) -> Reservation | Refused:
        """Set everything aside, or nothing, and answer the same to whoever asks again.

        Raises:
            ConcurrencyError: When another was quicker: nothing was set aside, and it may be asked again.
        """
        goods = await self._goods(order_id)
        if goods.answer is not None:
            return goods.answer
        lines = _together(lines)
        async with self._alone_at(line.product for line in lines) as shelves:
            decided = answer(order_id, lines, self._products, shelves)
            moved = [
                GoodsSetAside(
                    line.product, order_id, line.quantity, shelves[line.product].left - line.quantity
                )
                for line in lines
                if isinstance(decided, OrderReserved)
            ]
            await self._append(order_id, goods, decided, shelves, moved)
        found = goods.after(decided).answer
        assert found is not None
        return found

    async def release(self, order_id: str) -> None:
        """Put back what was set aside for an order, if anything still is.

        Raises:
            ConcurrencyError: When another was quicker: nothing was put back, and it may be asked again.
        """
        goods = await self._goods(order_id)
        if not goods.set_aside:
            return
        async with self._alone_at(line.product for line in goods.set_aside) as shelves:
            moved = [
                GoodsPutBack(
                    line.product, order_id, line.quantity, shelves[line.product].left + line.quantity
                )
                for line in goods.set_aside
            ]
            await self._append(order_id, goods, OrderReleased(order_id), shelves, moved)

    async def _append(
        self,
        order_id: str,
        goods: OrderGoods,
        event: OrderGoodsEvent,
        shelves: Mapping[str, Shelf],
        moved: Sequence[GoodsSetAside | GoodsPutBack],
    ) -> None:
        moves = {move.product: move for move in moved}
        changes = [StreamEvents(_goods_stream(order_id), event, goods.version)]
        for product, shelf in shelves.items():
            # A no changes nothing on a shelf, but is held against it as well: another may have put something back.
            events = [moves[product]] if product in moves else []
            changes.append(StreamEvents(_shelf_stream(product), events, shelf.version))
        try:
            await self._events.append_many(changes)
        except BaseException:
            # Not only a conflict: of a write whose outcome is not known, the next look tells what came of it.
            for product in shelves:
                del self._shelves[product]
            raise
        for move in moved:
            self._shelves[move.product] = Shelf(move.left, shelves[move.product].version + 1)

    @asynccontextmanager
    async def _alone_at(self, products: Iterable[str]) -> AsyncGenerator[Mapping[str, Shelf], None]:
        """Wait until no other order of this process is at these shelves, keep it so, and give what is known of them."""
        # All in the same order, so that no two can wait for each other.
        wanted = sorted(self._products.keys() & set(products))
        async with AsyncExitStack() as held:
            for product in wanted:
                await held.enter_async_context(self._locks[product])
            for product in wanted:
                if product not in self._shelves:
                    self._shelves[product] = await self._shelf(product)
            yield {product: self._shelves[product] for product in wanted}

    async def _shelf(self, product: str) -> Shelf:
        """Ask the store how many of a product are left: the last event tells."""
        async for stored in self._events.read(_shelf_stream(product), backward=True, limit=1):
            last: ShelfEvent = stored.event
            return Shelf(last.left, stored.version)
        return Shelf()

    async def _goods(self, order_id: str) -> OrderGoods:
        goods = OrderGoods()
        async for stored in self._events.read(_goods_stream(order_id)):
            goods = goods.after(stored.event)
        return goods


def _together(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Add up what is wanted of one product in several lines."""
    wanted: Counter[str] = Counter()
    for line in lines:
        wanted[line.product] += line.quantity
    return tuple(Line(product, quantity) for product, quantity in wanted.items())


def _shelf_stream(product: str) -> str:
    return f"shelf-{product}"


def _goods_stream(order_id: str) -> str:
    return f"goods-{order_id}"
