"""The warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import msgspec

from .messages import Line, Reservation, StockLevel, StockRefusal


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


class Warehouse:
    """Counts what is on the shelves and what is set aside, order by order.

    Nothing in here waits, so no two orders can ever be in the middle of it at the same time.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._products = {product.code: product for product in catalog.products}
        self._left = {product.code: product.stock for product in catalog.products}
        self._reserved = dict.fromkeys(self._products, 0)
        self._answers: dict[str, Reservation | Refused] = {}
        self._set_aside: dict[str, Sequence[Line]] = {}

    def reserve(self, order_id: str, lines: Sequence[Line]) -> Reservation | Refused:
        """Set everything aside, or nothing, and answer the same to whoever asks again."""
        answer = self._answers.get(order_id)
        if answer is None:
            answer = self._answers[order_id] = self._decide(order_id, lines)
        return answer

    def release(self, order_id: str) -> None:
        """Put back what was set aside for an order, if anything still is."""
        # The answer stays: a request that was delayed on its way must not set the goods aside a second time.
        self._move(self._set_aside.pop(order_id, ()), -1)

    def levels(self) -> tuple[StockLevel, ...]:
        """Count everything."""
        return tuple(
            StockLevel(code, product.stock, self._reserved[code], self._left[code])
            for code, product in self._products.items()
        )

    def _decide(self, order_id: str, lines: Sequence[Line]) -> Reservation | Refused:
        for line in lines:
            if line.product not in self._products:
                return Refused(StockRefusal.UNKNOWN_PRODUCT, f"there is no product {line.product}")
        for line in lines:
            if line.quantity > self._left[line.product]:
                return Refused(StockRefusal.OUT_OF_STOCK, f"not enough of {line.product}")
        self._move(lines, 1)
        self._set_aside[order_id] = lines
        return Reservation(order_id, {line.product: self._products[line.product].price for line in lines})

    def _move(self, lines: Sequence[Line], sign: int) -> None:
        for line in lines:
            self._left[line.product] -= sign * line.quantity
            self._reserved[line.product] += sign * line.quantity
