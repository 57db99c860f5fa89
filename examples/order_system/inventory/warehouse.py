"""The warehouse: takes goods from several shelves for one order, all or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

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

    Between looking at the shelves and appending, nothing here waits. So the requests of one process come to the store in
    the order in which they were decided, and need not wait for each other: what is on its way counts as done, and should
    it not arrive, what was decided after it meets a conflict.

    Parameters:
        catalog: what is sold, and for how much.
        events: where the streams are.
    """

    def __init__(self, catalog: Catalog, events: EventStore) -> None:
        self._products = {product.code: product for product in catalog.products}
        self._events = events
        # As of when this process last looked. Should another have gone on since, the append finds out.
        self._shelves: dict[str, Shelf] = {}

    async def start(self) -> None:
        """Count what is on the shelves, where nobody has; a warehouse that has begun goes on with what it has."""
        await self._look(self._products)
        counted = [
            StreamEvents(_shelf_stream(product.code), StockCounted(product.code, product.stock), NO_STREAM)
            for product in self._products.values()
            if not self._shelves[product.code].version
        ]
        with suppress(ConcurrencyError):  # another process has counted at the same time
            await self._events.append_many(counted)
        self._shelves.clear()

    async def stop(self) -> None:
        """Do nothing: what happens is in the store at once."""

    async def reserve(self, order_id: str, lines: Sequence[Line]) -> Reservation | Refused:
        """Set everything aside, or nothing, and answer the same to whoever asks again.

        Raises:
            ConcurrencyError: when another was quicker: nothing was set aside, and it may be asked again.
        """
        goods = await self._goods(order_id)
        if goods.answer is not None:
            return goods.answer
        await self._look(line.product for line in lines)
        decided = answer(order_id, lines, self._products, self._shelves)
        moved = [
            GoodsSetAside(
                line.product, order_id, line.quantity, self._shelves[line.product].left - line.quantity
            )
            for line in lines
            if isinstance(decided, OrderReserved)
        ]
        await self._append(order_id, goods, decided, moved)
        found = goods.after(decided).answer
        assert found is not None
        return found

    async def release(self, order_id: str) -> None:
        """Put back what was set aside for an order, if anything still is.

        Raises:
            ConcurrencyError: when another was quicker: nothing was put back, and it may be asked again.
        """
        goods = await self._goods(order_id)
        if not goods.set_aside:
            return
        await self._look(line.product for line in goods.set_aside)
        moved = [
            GoodsPutBack(
                line.product, order_id, line.quantity, self._shelves[line.product].left + line.quantity
            )
            for line in goods.set_aside
        ]
        await self._append(order_id, goods, OrderReleased(order_id), moved)

    async def _append(
        self,
        order_id: str,
        goods: OrderGoods,
        event: OrderGoodsEvent,
        moved: Sequence[GoodsSetAside | GoodsPutBack],
    ) -> None:
        changes = [StreamEvents(_goods_stream(order_id), event, goods.version)]
        for move in moved:
            shelf = self._shelves[move.product]
            changes.append(StreamEvents(_shelf_stream(move.product), move, shelf.version))
            self._shelves[move.product] = Shelf(move.left, shelf.version + 1)
        try:
            await self._events.append_many(changes)
        except BaseException:
            # Not only a conflict: of a write whose outcome is not known, the next look tells what came of it.
            for move in moved:
                self._shelves.pop(move.product, None)
            raise

    async def _look(self, products: Iterable[str]) -> None:
        """Look at those products that this process has not in mind, until it has all of them: others may forget some."""
        wanted = self._products.keys() & set(products)
        while missing := wanted - self._shelves.keys():
            for code in missing:
                shelf = Shelf()
                async for stored in self._events.read(_shelf_stream(code), backward=True, limit=1):
                    last: ShelfEvent = stored.event
                    shelf = Shelf(last.left, stored.version)
                self._shelves.setdefault(code, shelf)

    async def _goods(self, order_id: str) -> OrderGoods:
        goods = OrderGoods()
        async for stored in self._events.read(_goods_stream(order_id)):
            goods = goods.after(stored.event)
        return goods


def _shelf_stream(product: str) -> str:
    return f"shelf-{product}"


def _goods_stream(order_id: str) -> str:
    return f"goods-{order_id}"
