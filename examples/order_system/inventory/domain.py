"""The goods, and what is set aside for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import msgspec

from .events import OrderGoodsEvent, OrderReleased, OrderReserved, OrderTurnedDown
from .messages import Line, Reservation, StockRefusal


class Product(msgspec.Struct, frozen=True):
    """One thing that is sold."""

    code: str
    name: str
    price: Decimal
    stock: int


class Catalog(msgspec.Struct, frozen=True):
    """Everything that is sold."""

    products: tuple[Product, ...]


def load_catalog(path: Path) -> Catalog:
    """Read a catalog from its JSON file."""
    return msgspec.json.decode(path.read_bytes(), type=Catalog)


class Refused(msgspec.Struct, frozen=True):
    """The warehouse's no."""

    code: StockRefusal
    why: str


class Shelf(msgspec.Struct, frozen=True):
    """One product: how many of it nobody has ordered, after so many events of its stream."""

    left: int = 0
    version: int = 0


class OrderGoods(msgspec.Struct, frozen=True):
    """What one order was answered, for good, and what is set aside for it now, after so many events of its stream."""

    answer: Reservation | Refused | None = None
    set_aside: tuple[Line, ...] = ()
    version: int = 0

    def after(self, event: OrderGoodsEvent) -> OrderGoods:
        """Return what an event makes of it."""
        match event:
            case OrderReserved(order_id=order_id, lines=lines, prices=prices):
                return OrderGoods(Reservation(order_id, prices), lines, self.version + 1)
            case OrderTurnedDown(code=code, why=why):
                return OrderGoods(Refused(code, why), (), self.version + 1)
            case OrderReleased():
                # The answer stays: a request that comes late must not take the goods a second time.
                return OrderGoods(self.answer, (), self.version + 1)


def answer(
    order_id: str, lines: Sequence[Line], products: Mapping[str, Product], shelves: Mapping[str, Shelf]
) -> OrderReserved | OrderTurnedDown:
    """Decide whether an order can have all that it wants.

    Args:
        order_id: The order.
        lines: What it wants.
        products: What is sold.
        shelves: Those of the wanted products that are sold.
    """
    for line in lines:
        if line.product not in products:
            why = f"there is no product {line.product}"
            return OrderTurnedDown(order_id, StockRefusal.UNKNOWN_PRODUCT, why)
    for line in lines:
        if line.quantity > shelves[line.product].left:
            return OrderTurnedDown(order_id, StockRefusal.OUT_OF_STOCK, f"not enough of {line.product}")
    return OrderReserved(
        order_id, tuple(lines), {line.product: products[line.product].price for line in lines}
    )
