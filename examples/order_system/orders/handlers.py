"""How orders answers."""

from __future__ import annotations

from catga_core import (
    CatgaError,
    CatgaMediator,
    CatgaResult,
    ConcurrencyError,
    RequestHandler,
    current_context,
)
from catga_core.event_sourcing import AggregateRepository
from catga_core.event_sourcing.projections import Projections
from catga_core.interfaces import OutboxStore, Storage
from catga_core.reliability import own_units_of_work

from ..calls import Caller
from ..inventory.messages import Line, ReleaseStock, ReserveStock
from ..payments.messages import ChargeCard
from .domain import Order, changed_price, total_of
from .messages import (
    REFUSALS,
    CreateOrder,
    Decision,
    GetOrder,
    ListDecisions,
    OrderPlaced,
    OrderRefusal,
    Sales,
    SalesReport,
)
from .read_models import SalesBook


@own_units_of_work
class CreateOrderHandler(RequestHandler[CreateOrder, OrderPlaced]):
    """Sets the goods aside, charges the card, decides, and tells everybody.

    It may be asked again for an order whose answer was lost, or whose process was killed, and then goes on where it
    stopped: every step either is in the order's stream, or gives the same answer when it is asked for again.

    Its unit of work is its own, and short: none may be open while others are waited for.
    """

    def __init__(
        self, orders: AggregateRepository[Order], others: Caller, mediator: CatgaMediator, storage: Storage
    ) -> None:
        self._orders = orders
        self._others = others
        self._mediator = mediator
        self._storage = storage

    async def handle(self, message: CreateOrder) -> OrderPlaced | CatgaResult[OrderPlaced]:
        message_id = current_context().message_id
        # Before anybody else is asked: from now on the number belongs to this message, whoever else comes with it.
        order = await self._orders.update(
            message.order_id,
            lambda order: order.receive(message_id, message.customer.email, message.items),
            create=True,
        )
        if order.message_id != message_id:
            return CatgaResult.failure(
                code=OrderRefusal.DUPLICATE_ORDER, message=f"{message.order_id} was ordered before"
            )
        if not order.is_decided:
            await self._decide(order, message)
            order = await self._keep(order)
        if order.must_return_goods:
            await self._return_goods(order)
        return _answer(order)

    async def _decide(self, order: Order, message: CreateOrder) -> None:
        lines = tuple(Line(item.product, item.quantity) for item in message.items)
        reserved = await self._others.ask(
            ReserveStock(order.id, lines), message_id=f"{order.message_id}/reserve"
        )
        if not reserved.is_success:
            _refuse(order, reserved.error, goods_reserved=False)
            return
        changed = changed_price(message.items, reserved.value.prices)
        if changed is not None:
            order.refuse(
                OrderRefusal.PRICE_CHANGED.value, f"{changed} has another price by now", goods_reserved=True
            )
            return
        total = total_of(message.items, message.discount_percent)
        charged = await self._others.ask(
            ChargeCard(order.id, message.card, total), message_id=f"{order.message_id}/charge"
        )
        if charged.is_success:
            order.accept(total, charged.value.authorization)
        else:
            _refuse(order, charged.error, goods_reserved=True)

    async def _keep(self, order: Order) -> Order:
        try:
            # One transaction: there is no decision that nobody is told of, and no news of what was not decided.
            async with self._storage.unit_of_work():
                await self._orders.save(order)
                await self._mediator.publish(order.news())
        except ConcurrencyError:
            # The same message was here twice at the same time, and the other one was quicker.
            return await self._orders.load(order.id)
        return order

    async def _return_goods(self, order: Order) -> None:
        released = await self._others.ask(ReleaseStock(order.id), message_id=f"{order.message_id}/release")
        released.unwrap()
        await self._orders.update(order.id, Order.return_goods)


class GetOrderHandler(RequestHandler[GetOrder, Decision | None]):
    """Looks one order up."""

    def __init__(self, orders: AggregateRepository[Order]) -> None:
        self._orders = orders

    async def handle(self, message: GetOrder) -> Decision | None:
        order = await self._orders.load_or_new(message.order_id)
        return order.decision() if order.is_decided else None


class ListDecisionsHandler(RequestHandler[ListDecisions, tuple[Decision, ...]]):
    """Lists the orders, some at a time."""

    def __init__(self, book: SalesBook, projections: Projections) -> None:
        self._book = book
        self._projections = projections

    async def handle(self, message: ListDecisions) -> tuple[Decision, ...]:
        await self._projections.caught_up(SalesBook.projection_name)
        return tuple(self._book.decisions[message.skip : message.skip + message.limit])


class SalesReportHandler(RequestHandler[SalesReport, Sales]):
    """Adds everything up."""

    def __init__(
        self, book: SalesBook, projections: Projections, outbox: OutboxStore, others: Caller
    ) -> None:
        self._book = book
        self._projections = projections
        self._outbox = outbox
        self._others = others

    async def handle(self, message: SalesReport) -> Sales:
        await self._projections.caught_up(SalesBook.projection_name)
        book = self._book
        return Sales(
            accepted=book.accepted,
            refused=dict(book.refused),
            revenue=book.revenue,
            charges=len(book.charges),
            sold=dict(book.sold),
            under_way=len(book.under_way),
            to_tell=(await self._outbox.stats()).pending,
            sent_again=self._others.sent_again,
        )


def _refuse(order: Order, error: CatgaError, *, goods_reserved: bool) -> None:
    if error.code not in REFUSALS:
        # Not a "no", but no answer: nothing is decided, and the order may be sent again.
        raise error
    order.refuse(error.code, error.message, goods_reserved=goods_reserved)


def _answer(order: Order) -> OrderPlaced | CatgaResult[OrderPlaced]:
    if order.reason:
        return CatgaResult.failure(code=order.reason, message=order.why)
    return OrderPlaced(order.id, order.total, order.authorization)
