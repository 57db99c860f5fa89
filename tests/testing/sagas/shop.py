"""A small order world: payments, stock, orders and a carrier, whose receivers deduplicate by message id."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from catga_core import CatgaError, Command, Event, current_context
from catga_core.sagas import Saga, SagaContext, SagaResult
from catga_testing import SagaWorld

T = TypeVar("T")


class PlacedOrder(msgspec.Struct, frozen=True):
    id: str = "order-1"
    total: Decimal = Decimal("100.02")
    postage: Decimal = Decimal("4.99")
    items: Mapping[str, int] = msgspec.field(default_factory=lambda: {"book": 2, "pen": 3})


class Charged(msgspec.Struct, frozen=True):
    id: str
    amount: Decimal


class RegisterOrder(Command[str]):
    order_id: str
    total: Decimal


class WithdrawOrder(Command[None]):
    order_id: str


class OrderSent(Event):
    order_id: str


class Receiver:
    """Does what it is asked for once for each key."""

    def __init__(self) -> None:
        self._done: dict[str, Any] = {}

    def once(self, work: Callable[[], T], key: str | None = None) -> T:
        key = key or current_context().message_id
        if key not in self._done:
            self._done[key] = work()
        result: T = self._done[key]
        return result


class Payments(Receiver):
    def __init__(self) -> None:
        super().__init__()
        self.charged = Decimal(0)
        self.refunded = Decimal(0)
        self.payments: dict[str, Decimal] = {}

    async def charge(self, amount: Decimal, key: str | None = None) -> Charged:
        return self.once(lambda: self._charge(amount), key)

    async def charge_without_key(self, amount: Decimal) -> Charged:
        return self._charge(amount)

    async def refund(self, payment: str) -> None:
        self.once(lambda: self._refund(self.payments[payment]))

    async def refund_amount(self, amount: Decimal) -> None:
        self.once(lambda: self._refund(amount))

    async def refund_without_key(self, payment: str) -> None:
        self._refund(self.payments[payment])

    async def refund_open(self, payment: str) -> None:
        """Refuse a payment that is refunded."""
        if payment not in self.payments:
            raise CatgaError(f"{payment} is refunded already", code="REFUNDED", retryable=False)
        self._refund(self.payments.pop(payment))

    def _charge(self, amount: Decimal) -> Charged:
        payment = f"payment-{len(self.payments) + 1}"
        self.payments[payment] = amount
        self.charged += amount
        return Charged(payment, amount)

    def _refund(self, amount: Decimal) -> None:
        self.refunded += amount


class Stock(Receiver):
    def __init__(self, left: Mapping[str, int]) -> None:
        super().__init__()
        self.left = Counter(left)

    async def reserve(self, item: str, count: int) -> int:
        return self.once(lambda: self._take(item, count))

    async def reserve_what_is_left(self, item: str, count: int) -> int:
        return self.once(lambda: self._take(item, min(count, self.left[item])))

    async def reserve_slowly(self, item: str, count: int) -> int:
        taken = self.once(lambda: self._take(item, count))
        await asyncio.sleep(5)
        return taken

    async def release(self, item: str, count: int) -> None:
        self.once(lambda: self._take(item, -count))

    def available(self, item: str) -> int:
        return self.left[item]

    def _take(self, item: str, count: int) -> int:
        if count > self.left[item]:
            raise CatgaError(f"{item} is sold out", code="SOLD_OUT", retryable=False)
        self.left[item] -= count
        return count


class Carrier(Receiver):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.labels: list[str] = []

    async def send(self, order_id: str, tracking: str) -> str:
        return self.once(lambda: self._add(self.sent, tracking or order_id))

    async def print_label(self, order_id: str) -> None:
        self.once(lambda: self._add(self.labels, order_id))

    async def cancel_label(self, order_id: str) -> None:
        if order_id in self.labels:
            self.labels.remove(order_id)

    @staticmethod
    def _add(found: list[str], text: str) -> str:
        found.append(text)
        return text


class Shop(SagaWorld):
    """The world of the order saga."""

    stock_of: Mapping[str, int] = {"book": 5, "pen": 3}

    def __init__(self) -> None:
        self.payments = Payments()
        self.stock = Stock(self.stock_of)
        self.carrier = Carrier()
        self.orders: list[str] = []
        self.letters: list[str] = []

    def handlers(self) -> Sequence[Callable[..., Any]]:
        return [self.register, self.withdraw, self.announce]

    async def register(self, command: RegisterOrder) -> str:
        return self.once(lambda: self._register(command.order_id))

    async def withdraw(self, command: WithdrawOrder) -> None:
        self.once(lambda: self.orders.remove(command.order_id))

    async def announce(self, event: OrderSent) -> None:
        self.once(lambda: self.letters.append(event.order_id))

    def _register(self, order_id: str) -> str:
        self.orders.append(order_id)
        return order_id


class OrderSaga(Saga[PlacedOrder, str]):
    """The right one: each planted fault is one change of it."""

    def __init__(self, payments: Payments, stock: Stock, carrier: Carrier) -> None:
        self.payments = payments
        self.stock = stock
        self.carrier = carrier

    async def execute(self, data: PlacedOrder, saga: SagaContext) -> str:
        await self.charge(data, saga)
        await self.reserve(data, saga)
        await self.register(data, saga)
        return await self.ship(data, saga)

    async def charge(self, data: PlacedOrder, saga: SagaContext) -> None:
        for name, amount in (("charge", data.total), ("charge postage", data.postage)):
            await saga.step(
                name,
                lambda amount=amount: self.payments.charge(amount),  # type: ignore[misc]  # bound in the loop
                compensate=lambda charged: self.payments.refund(charged.id),
            )

    async def reserve(self, data: PlacedOrder, saga: SagaContext) -> None:
        await saga.gather(*(self.reserve_item(item, count, saga) for item, count in data.items.items()))

    async def reserve_item(self, item: str, count: int, saga: SagaContext) -> int:
        return await saga.step(
            f"reserve {item}",
            lambda: self.stock.reserve(item, count),
            compensate=lambda reserved: self.stock.release(item, reserved),
        )

    async def register(self, data: PlacedOrder, saga: SagaContext) -> None:
        await saga.send(
            "register",
            RegisterOrder(data.id, data.total),
            compensate=lambda order_id: WithdrawOrder(order_id),
        )

    async def ship(self, data: PlacedOrder, saga: SagaContext) -> str:
        await saga.commit_point()
        tracking = str(saga.uuid())
        sent = await saga.step("ship", lambda: self.carrier.send(data.id, tracking))
        await saga.publish(OrderSent(data.id))
        return sent


def everything_adds_up(shop: Shop, result: SagaResult[str]) -> None:
    """Charged = shipped or refunded; the stock balances; money to the cent."""
    order = PlacedOrder()
    paid = shop.payments.charged - shop.payments.refunded
    taken = {item: count - shop.stock.left[item] for item, count in Shop.stock_of.items()}
    if result.is_success:
        price = order.total + order.postage
        assert paid == price, f"charged {shop.payments.charged}, refunded {shop.payments.refunded}"
        assert taken == order.items, f"taken from the stock: {taken}"
        assert shop.orders == [order.id], f"registered {shop.orders}"
        assert shop.carrier.sent == [result.value], f"shipped {shop.carrier.sent}, told {result.value}"
        assert shop.letters == [order.id], f"announced {shop.letters}"
    else:
        assert paid == 0, f"charged {shop.payments.charged}, refunded {shop.payments.refunded}"
        assert set(taken.values()) == {0}, f"taken from the stock: {taken}"
        assert not shop.carrier.sent, f"shipped {shop.carrier.sent}"
        assert not shop.orders, f"registered {shop.orders}"
        assert not shop.letters, f"announced {shop.letters}"
        assert not shop.carrier.labels, f"labels {shop.carrier.labels}"
