"""How orders answers."""

from __future__ import annotations

from catga_core import CatgaResult, RequestHandler, current_context
from catga_core.errors import SagaConflictError
from catga_core.event_sourcing import AggregateRepository
from catga_core.event_sourcing.projections import Projections
from catga_core.interfaces import OutboxStore
from catga_core.reliability import own_units_of_work
from catga_core.sagas import SagaExecutor, SagaFilter, SagaState

from ..calls import Patience
from .domain import Order
from .messages import (
    CreateOrder,
    Decision,
    GetOrder,
    ListDecisions,
    ListUnfinished,
    OrderPlaced,
    OrderRefusal,
    Sales,
    SalesReport,
)
from .read_models import SalesBook
from .saga import OrderSaga, PlaceOrder

_PAGE = 1000
# The last one is the state of most, so that an order which is found has been looked up a moment ago.
_UNFINISHED = (SagaState.COMPENSATING, SagaState.WAITING, SagaState.RUNNING)


@own_units_of_work
class CreateOrderHandler(RequestHandler[CreateOrder, OrderPlaced]):
    """Starts the saga of an order, and returns its outcome.

    The transaction id is the number of the order: the same message again joins its saga, or gets the recorded answer, and another
    message with that number is a duplicate. A saga that has no decision yet goes on after its caller has stopped waiting.
    """

    def __init__(self, orders: AggregateRepository[Order], sagas: SagaExecutor, patience: Patience) -> None:
        self._orders = orders
        self._sagas = sagas
        self._timeout = patience.decision

    async def handle(self, message: CreateOrder) -> OrderPlaced | CatgaResult[OrderPlaced]:
        message_id = current_context().message_id
        # Sagas are pruned after a time, decisions are not.
        order = await self._orders.load_or_new(message.order_id)
        if order.is_decided and order.message_id != message_id:
            return _duplicate(message)
        if order.is_finished:
            return _answer(order)
        try:
            result = await self._sagas.execute(
                message.order_id, PlaceOrder(message_id, message), OrderSaga, timeout=self._timeout
            )
        except SagaConflictError:
            return _duplicate(message)
        if result.is_success:
            return result.value
        order = await self._orders.load_or_new(message.order_id)
        return _answer(order) if order.is_decided else result.unwrap()


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


class ListUnfinishedHandler(RequestHandler[ListUnfinished, tuple[str, ...]]):
    """Lists the orders whose sagas have not ended."""

    def __init__(self, sagas: SagaExecutor) -> None:
        self._sagas = sagas

    async def handle(self, message: ListUnfinished) -> tuple[str, ...]:
        return await _unfinished(self._sagas)


class SalesReportHandler(RequestHandler[SalesReport, Sales]):
    """Adds everything up."""

    def __init__(
        self, book: SalesBook, projections: Projections, outbox: OutboxStore, sagas: SagaExecutor
    ) -> None:
        self._book = book
        self._projections = projections
        self._outbox = outbox
        self._sagas = sagas

    async def handle(self, message: SalesReport) -> Sales:
        # In this order: of an order that is finished here, the events and the figures are found below.
        under_way = len(await _unfinished(self._sagas))
        await self._projections.caught_up(SalesBook.projection_name)
        book, counts = self._book, self._sagas.counters
        return Sales(
            accepted=book.accepted,
            refused=dict(book.refused),
            revenue=book.revenue,
            charges=len(book.charges),
            sold=dict(book.sold),
            compensated=book.compensated,
            under_way=under_way,
            to_tell=(await self._outbox.stats()).pending,
            sent_again=counts.retried,
            resumed=counts.resumed,
        )


async def _unfinished(sagas: SagaExecutor) -> tuple[str, ...]:
    found: list[str] = []
    for state in _UNFINISHED:
        after: str | None = None
        while True:
            page = await sagas.find(SagaFilter(state=state), after=after, limit=_PAGE)
            found += [record.saga.transaction_id for record in page.records]
            if (after := page.next) is None:
                break
    return tuple(found)


def _answer(order: Order) -> OrderPlaced | CatgaResult[OrderPlaced]:
    if order.reason:
        return CatgaResult.failure(code=order.reason, message=order.why)
    return OrderPlaced(order.id, order.total, order.authorization)


def _duplicate(message: CreateOrder) -> CatgaResult[OrderPlaced]:
    return CatgaResult.failure(
        code=OrderRefusal.DUPLICATE_ORDER, message=f"{message.order_id} was ordered before"
    )
