"""What happens in the warehouse: to each product, and to each order that wants some."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

from catga_core import Event, message

from .messages import Line, StockRefusal


@message(name="inventory.stock-counted", version=1)
class StockCounted(Event, frozen=True):
    """So many of a product were on its shelf before anybody ordered any."""

    product: str
    left: int


@message(name="inventory.goods-set-aside", version=1)
class GoodsSetAside(Event, frozen=True):
    """Some of a product were set aside for an order, and so many are left."""

    product: str
    order_id: str
    quantity: int
    left: int


@message(name="inventory.goods-put-back", version=1)
class GoodsPutBack(Event, frozen=True):
    """What was set aside for an order was put back, and so many are left."""

    product: str
    order_id: str
    quantity: int
    left: int


@message(name="inventory.order-reserved", version=1)
class OrderReserved(Event, frozen=True):
    """The answer to an order was yes: all of it is set aside, at these prices."""

    order_id: str
    lines: tuple[Line, ...]
    prices: dict[str, Decimal]


@message(name="inventory.order-turned-down", version=1)
class OrderTurnedDown(Event, frozen=True):
    """The answer to an order was no."""

    order_id: str
    code: StockRefusal
    why: str


@message(name="inventory.order-released", version=1)
class OrderReleased(Event, frozen=True):
    """What was set aside for an order was put back."""

    order_id: str


ShelfEvent: TypeAlias = StockCounted | GoodsSetAside | GoodsPutBack
"""What a product's stream is made of."""

OrderGoodsEvent: TypeAlias = OrderReserved | OrderTurnedDown | OrderReleased
"""What the stream of an order's goods is made of."""
