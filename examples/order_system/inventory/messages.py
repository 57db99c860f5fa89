"""What can be asked of inventory."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import msgspec

from catga_core import Command, Query, message

ProductCode = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
Quantity = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class StockRefusal(StrEnum):
    """The code of a failed result when the answer is no."""

    UNKNOWN_PRODUCT = "UNKNOWN_PRODUCT"
    OUT_OF_STOCK = "OUT_OF_STOCK"


class Line(msgspec.Struct, frozen=True):
    """So many of a product."""

    product: ProductCode
    quantity: Quantity


class Reservation(msgspec.Struct, frozen=True):
    """What is set aside for an order, and what one of each product costs."""

    order_id: str
    prices: dict[str, Decimal]


@message(name="inventory.reserve-stock", version=1)
class ReserveStock(Command[Reservation], frozen=True):
    """Set aside everything an order wants, or nothing; fails with a `StockRefusal`.

    The first answer for an order is the answer for good.
    """

    order_id: str
    lines: tuple[Line, ...]


@message(name="inventory.release-stock", version=1)
class ReleaseStock(Command[None], frozen=True):
    """Put back what was set aside for an order; putting it back twice changes nothing."""

    order_id: str


class StockLevel(msgspec.Struct, frozen=True):
    """How many there were in the morning, how many are set aside, and how many are left."""

    product: str
    before: int
    reserved: int
    left: int


@message(name="inventory.stock-levels", version=1)
class StockLevels(Query[tuple[StockLevel, ...]], frozen=True):
    """How many of every product are left."""
