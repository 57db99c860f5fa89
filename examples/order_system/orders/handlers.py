"""How orders answers."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from decimal import Decimal

from msgspec.structs import replace

from catga_core import (
    CatgaError,
    CatgaMediator,
    CatgaResult,
    RequestHandler,
    current_context,
)

from ..calls import Caller
from ..inventory.messages import Line, ReleaseStock, ReserveStock
from ..payments.messages import ChargeCard
from .domain import Order, OrderRepository, changed_price, total_of
from .messages import (
    REFUSALS,
    CreateOrder,
    Decision,
    GetOrder,
    ListDecisions,
    OrderAccepted,
    OrderPlaced,
    OrderRefusal,
    OrderRefused,
    Sales,
    SalesReport,
)


class CreateOrderHandler(RequestHandler[CreateOrder, OrderPlaced]):
    """Sets the goods aside, charges the card, and tells everybody.

    It may be asked again for an order whose answer was lost, and then goes on where it stopped: every step either
    is remembered here, or gives the same answer when it is asked for again.
    """

    def __init__(self, orders: OrderRepository, others: Caller, mediator: CatgaMediator) -> None:
        self._orders = orders
        self._others = others
        self._mediator = mediator

    async def handle(self, message: CreateOrder) -> OrderPlaced | CatgaResult[OrderPlaced]:
        message_id = current_context().message_id
        async with self._orders.alone(message.order_id):
            order = self._orders.find(message.order_id)
            if order is None:
                order = await self._decide(message, message_id)
                self._orders.save(order)
            elif order.message_id != message_id:
                return CatgaResult.failure(
                    code=OrderRefusal.DUPLICATE_ORDER, message=f"{message.order_id} was ordered before"
                )
            if order.to_release:
                await self._release(order)
        # An event may be lost on the way, or told twice. Listeners who cannot live with that ask `ListDecisions`.
        with suppress(CatgaError):
            await self._mediator.publish(_news(order))
        return _answer(order)

    async def _decide(self, message: CreateOrder, message_id: str) -> Order:
        order = Order(message.order_id, message_id, message.customer.email)
        lines = tuple(Line(item.product, item.quantity) for item in message.items)
        reserved = await self._others.ask(
            ReserveStock(message.order_id, lines), message_id=f"{message_id}/reserve"
        )
        if not reserved.is_success:
            return _refused(order, reserved.error)
        changed = changed_price(message.items, reserved.value.prices)
        if changed is not None:
            error = CatgaError(f"{changed} has another price by now", code=OrderRefusal.PRICE_CHANGED)
            return _refused(order, error, to_release=True)
        total = total_of(message.items, message.discount_percent)
        charged = await self._others.ask(
            ChargeCard(message.order_id, message.card, total), message_id=f"{message_id}/charge"
        )
        if not charged.is_success:
            return _refused(order, charged.error, to_release=True)
        return replace(order, total=total, authorization=charged.value.authorization)

    async def _release(self, order: Order) -> None:
        released = await self._others.ask(
            ReleaseStock(order.order_id), message_id=f"{order.message_id}/release"
        )
        released.unwrap()
        self._orders.save(replace(order, to_release=False))


class GetOrderHandler(RequestHandler[GetOrder, Decision | None]):
    """Looks one order up."""

    def __init__(self, orders: OrderRepository) -> None:
        self._orders = orders

    async def handle(self, message: GetOrder) -> Decision | None:
        order = self._orders.find(message.order_id)
        return None if order is None else _decision(order)


class ListDecisionsHandler(RequestHandler[ListDecisions, tuple[Decision, ...]]):
    """Lists the orders, some at a time."""

    def __init__(self, orders: OrderRepository) -> None:
        self._orders = orders

    async def handle(self, message: ListDecisions) -> tuple[Decision, ...]:
        asked_for = self._orders.all()[message.skip : message.skip + message.limit]
        return tuple(_decision(order) for order in asked_for)


class SalesReportHandler(RequestHandler[SalesReport, Sales]):
    """Adds the day up."""

    def __init__(self, orders: OrderRepository, others: Caller) -> None:
        self._orders = orders
        self._others = others

    async def handle(self, message: SalesReport) -> Sales:
        orders = self._orders.all()
        accepted = [order for order in orders if order.accepted]
        return Sales(
            accepted=len(accepted),
            refused=dict(Counter(order.reason for order in orders if order.reason is not None)),
            revenue=sum((order.total for order in accepted if order.total is not None), Decimal(0)),
            charges=len({order.authorization for order in accepted} - {None}),
            sent_again=self._others.sent_again,
        )


def _refused(order: Order, error: CatgaError, *, to_release: bool = False) -> Order:
    if error.code not in REFUSALS:
        # Not a "no", but no answer: nothing is decided, and the order may be sent again.
        raise error
    return replace(order, reason=error.code, why=error.message, to_release=to_release)


def _news(order: Order) -> OrderAccepted | OrderRefused:
    if order.reason is not None:
        return OrderRefused(order.order_id, order.email, order.reason)
    return OrderAccepted(order.order_id, order.email, _total(order))


def _answer(order: Order) -> OrderPlaced | CatgaResult[OrderPlaced]:
    if order.reason is not None:
        return CatgaResult.failure(code=order.reason, message=order.why)
    return OrderPlaced(order.order_id, _total(order), order.authorization or "")


def _decision(order: Order) -> Decision:
    return Decision(order.order_id, order.email, order.total, order.reason)


def _total(order: Order) -> Decimal:
    return order.total or Decimal(0)
