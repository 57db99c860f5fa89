"""The saga that places an order, over inventory, payments and orders."""

from __future__ import annotations

import msgspec

from catga_core import CatgaError
from catga_core.runtime import RetryPolicy
from catga_core.sagas import Saga, SagaContext, saga

from ..calls import Patience
from ..inventory.messages import Line, ReleaseStock, ReserveStock
from ..payments.messages import ChargeCard, RefundCard
from .desk import OrderDesk
from .domain import check_prices, total_of
from .messages import REFUSALS, CreateOrder, OrderPlaced

# Retried until the service responds: a decision can refuse an order, an outage cannot.
_UNTIL_ANSWERED = RetryPolicy(max_attempts=None, delay_seconds=0.05, max_delay_seconds=1.0)


class PlaceOrder(msgspec.Struct, frozen=True):
    """The data of an order's saga. The same order in another message is other data: a conflict.

    Args:
        message_id: The message that brought the order.
        order: The order.
    """

    message_id: str
    order: CreateOrder


@saga("order", retry=_UNTIL_ANSWERED, compensation_retry=_UNTIL_ANSWERED)
class OrderSaga(Saga[PlaceOrder, OrderPlaced]):
    """Reserves the goods, charges the card, and records the decision; compensates refused orders."""

    def __init__(self, desk: OrderDesk, patience: Patience) -> None:
        self._desk = desk
        self._timeout = patience.timeout

    async def execute(self, data: PlaceOrder, saga: SagaContext) -> OrderPlaced:
        order = data.order
        reserved = False
        try:
            reservation = await saga.send(
                "reserve",
                ReserveStock(
                    order.order_id, tuple(Line(item.product, item.quantity) for item in order.items)
                ),
                compensate=lambda _: ReleaseStock(order.order_id),
                timeout=self._timeout,
            )
            reserved = True
            check_prices(order.items, reservation.prices)
            total = total_of(order.items, order.discount_percent)
            receipt = await saga.send(
                "charge",
                ChargeCard(order.order_id, order.card, total),
                compensate=lambda receipt: RefundCard(order.order_id, receipt.authorization),
                timeout=self._timeout,
            )
        except CatgaError as refusal:
            if refusal.code in REFUSALS:
                code, why = refusal.code, refusal.message
                await saga.step(
                    "refuse",
                    lambda: self._desk.refuse(
                        order, data.message_id, code=code, why=why, goods_reserved=reserved
                    ),
                    in_unit_of_work=True,
                )
            raise
        # Paid and reserved: the order is accepted and can no longer be cancelled.
        await saga.commit_point()
        await saga.step(
            "accept",
            lambda: self._desk.accept(order, data.message_id, total, receipt.authorization),
            in_unit_of_work=True,
        )
        return OrderPlaced(order.order_id, total, receipt.authorization)

    async def compensate(self, data: PlaceOrder) -> None:
        await self._desk.unwind(data.order, data.message_id)
