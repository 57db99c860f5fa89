"""An order and what is known of it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal

import msgspec

from ..money import to_cents
from .messages import Item


class Order(msgspec.Struct, frozen=True):
    """An order that was decided.

    Parameters:
        order_id: the customer's number for it.
        message_id: the message that brought it; the same message again gets the same answer.
        email: who is to be told.
        total: what it costs, `None` when it never came to that.
        authorization: the bank's, of an accepted order.
        reason: the code, of a refused one.
        why: the reason in words.
        to_release: whether goods are still set aside for a refused order.
    """

    order_id: str
    message_id: str
    email: str
    total: Decimal | None = None
    authorization: str | None = None
    reason: str | None = None
    why: str = ""
    to_release: bool = False

    @property
    def accepted(self) -> bool:
        """Whether it was accepted."""
        return self.reason is None


def total_of(items: Iterable[Item], discount_percent: Decimal) -> Decimal:
    """Add up, take the discount off the sum, round once."""
    amount = sum((item.quantity * item.price for item in items), Decimal(0))
    return to_cents(amount * (100 - discount_percent) / 100)


def changed_price(items: Iterable[Item], prices: Mapping[str, Decimal]) -> str | None:
    """Return the first product whose price is not the one the customer was shown."""
    return next((item.product for item in items if prices[item.product] != item.price), None)


class OrderRepository(ABC):
    """Keeps the orders that were decided."""

    @abstractmethod
    def alone(self, order_id: str) -> AbstractAsyncContextManager[None]:
        """Wait until nobody else works on this order, and keep it so for a block."""

    @abstractmethod
    def find(self, order_id: str) -> Order | None:
        """Return an order, `None` for one that nobody knows."""

    @abstractmethod
    def save(self, order: Order) -> None:
        """Keep an order, in place of what was known of it."""

    @abstractmethod
    def all(self) -> Sequence[Order]:
        """Return all orders in the order they were decided."""


class InMemoryOrders(OrderRepository):
    """Keeps the orders as long as the process lives."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._interested: Counter[str] = Counter()

    @asynccontextmanager
    async def alone(self, order_id: str) -> AsyncGenerator[None, None]:
        self._interested[order_id] += 1
        try:
            async with self._locks.setdefault(order_id, asyncio.Lock()):
                yield
        finally:
            self._interested[order_id] -= 1
            if not self._interested[order_id]:
                del self._interested[order_id], self._locks[order_id]

    def find(self, order_id: str) -> Order | None:
        return self._orders.get(order_id)

    def save(self, order: Order) -> None:
        self._orders[order.order_id] = order

    def all(self) -> Sequence[Order]:
        return tuple(self._orders.values())
