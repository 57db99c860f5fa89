"""What became of each order: kept in its stream, and told to the others in the same transaction."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from catga_core import CatgaMediator
from catga_core.event_sourcing import AggregateRepository
from catga_core.interfaces import Storage

from .domain import Order
from .messages import CreateOrder, OrderRefusal


class OrderDesk:
    """Records decisions. Each may be recorded again, which changes nothing: the first one stays.

    Args:
        orders: The orders.
        mediator: Publishes what was decided.
        storage: Where both are written.
    """

    def __init__(self, orders: AggregateRepository[Order], mediator: CatgaMediator, storage: Storage) -> None:
        self._orders = orders
        self._mediator = mediator
        self._storage = storage

    async def accept(self, placed: CreateOrder, message_id: str, total: Decimal, authorization: str) -> None:
        """Record that an order is accepted."""
        await self._decide(placed, message_id, lambda order: order.accept(total, authorization))

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
        """
        await self._decide(
            placed, message_id, lambda order: order.refuse(code, why, goods_reserved=goods_reserved)
        )

    async def unwind(self, placed: CreateOrder, message_id: str) -> None:
        """Record that what was done for an order is undone; one that was not decided is refused with that."""
        if (await self._orders.load_or_new(placed.order_id)).is_finished:
            return
        async with self._storage.unit_of_work():
            code, why = OrderRefusal.ORDER_CANCELLED.value, "the order was cancelled"
            await self.refuse(placed, message_id, code=code, why=why, goods_reserved=False)
            order = await self._orders.load(placed.order_id)
            order.return_goods()
            await self._orders.save(order)

    async def _decide(self, placed: CreateOrder, message_id: str, decide: Callable[[Order], None]) -> None:
        # One transaction: there is no decision that nobody is told of, and no news of what was not decided.
        async with self._storage.unit_of_work():
            order = await self._orders.load_or_new(placed.order_id)
            if order.is_decided:
                return
            order.receive(message_id, placed.customer.email, placed.items)
            decide(order)
            await self._orders.save(order)
            await self._mediator.publish(order.news())
