"""The messages, services and handlers that the other programs use; there is nothing wrong in here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Generic, Protocol, TypeVar

import msgspec

from catga_core import (
    CatgaResult,
    Command,
    Event,
    EventHandler,
    Query,
    RequestHandler,
    StreamHandler,
    StreamQuery,
)

T = TypeVar("T")


class OrderResult(msgspec.Struct, frozen=True):
    order_id: str


class CreateOrder(Command[OrderResult]):
    customer_id: str
    items: list[str]


class CountOrders(Query[int]):
    customer_id: str = ""


class Forget(Command[None]):
    customer_id: str


class ListOrders(StreamQuery[OrderResult]):
    customer_id: str


class OrderCreated(Event):
    order_id: str


class Repository(ABC):
    @abstractmethod
    async def save(self, order: OrderResult) -> None: ...


class SqlRepository(Repository):
    def __init__(self, clock: Gateway, pool_size: int = 4) -> None:
        self.clock = clock
        self.pool_size = pool_size

    async def save(self, order: OrderResult) -> None: ...


class Gateway(Protocol):
    async def charge(self, cents: int) -> bool: ...


class Stripe:
    async def charge(self, cents: int) -> bool:
        return cents > 0


class Mailer:
    def __init__(self, host: str = "localhost") -> None:
        self.host = host


class QuietMailer(Mailer):
    pass


class Unrelated:
    pass


class Store(Generic[T]):
    def put(self, item: T) -> None: ...


class OrderStore(Store[OrderResult]):
    pass


class CreateOrderHandler(RequestHandler[CreateOrder, OrderResult]):
    def __init__(self, orders: Repository) -> None:
        self.orders = orders

    async def handle(self, message: CreateOrder) -> OrderResult | CatgaResult[OrderResult]:
        if not message.items:
            return CatgaResult.failure(code="EMPTY")
        return OrderResult("o-1")


class BareHandler(RequestHandler[CountOrders, int]):
    async def handle(self, message: CountOrders) -> int:
        return 1


class SendEmail(EventHandler[OrderCreated]):
    async def handle(self, message: OrderCreated) -> None: ...


class ListOrdersHandler(StreamHandler[ListOrders, OrderResult]):
    async def handle(self, message: ListOrders) -> AsyncIterator[OrderResult]:
        yield OrderResult(message.customer_id)
