"""Records the decision on each order in its stream, and publishes it in the same transaction."""

from __future__ import annotations

from decimal import Decimal

from catga_core import CatgaMediator
from catga_core.event_sourcing import AggregateRepository
from catga_core.interfaces import Storage

from .domain import Order
from .messages import CreateOrder, OrderRefusal


class OrderDesk:
    """Records each decision once.

    Args:
        orders: The orders.
        mediator: Publishes the decisions.
        storage: Where both are written.
    """

    def __init__(self, orders: AggregateRepository[Order], mediator: CatgaMediator, storage: Storage) -> None:
        self._orders = orders
        self._mediator = mediator
        self._storage = storage

    async def accept(self, placed: CreateOrder, message_id: str, total: Decimal, authorization: str) -> None:
        """Record that an order is accepted.

        Raises:
            ConcurrencyError: It was decided before.
        """
        # A new aggregate without a read: the saga decides once. Otherwise the expected version would not match.
        order = Order(placed.order_id)
        order.receive(message_id, placed.customer.email, placed.items)
        order.accept(total, authorization)
        await self._save(order)

    async def refuse(
        self, placed: CreateOrder, message_id: str, *, code: str, why: str, goods_reserved: bool
    ) -> None:
        """Record that an order is refused.

        Args:
            placed: The order.
            message_id: The message that brought it.
            code: The reason.
            why: The reason in words.
            goods_reserved: Whether goods were set aside for it before.

        Raises:
            ConcurrencyError: It was decided before.
        """
        order = Order(placed.order_id)
        order.receive(message_id, placed.customer.email, placed.items)
        order.refuse(code, why, goods_reserved=goods_reserved)
        await self._save(order)

    async def unwind(self, placed: CreateOrder, message_id: str) -> None:
        """Record that an order is undone; an undecided order was cancelled. Idempotent."""
        order = await self._orders.load_or_new(placed.order_id)
        if not order.is_decided:
            code, why = OrderRefusal.ORDER_CANCELLED.value, "the order was cancelled"
            await self.refuse(placed, message_id, code=code, why=why, goods_reserved=False)
        elif not order.is_finished:
            order.return_goods()
            await self._orders.save(order)

    async def _save(self, order: Order) -> None:
        # One transaction: every decision is published, and only decisions are.
        async with self._storage.unit_of_work():
            await self._orders.save(order)
            await self._mediator.publish(order.news())
