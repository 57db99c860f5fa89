"""Handlers, behaviors, validators and marked messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, assert_type

from shop import (
    BareHandler,
    CreateOrder,
    CreateOrderHandler,
    ListOrders,
    ListOrdersHandler,
    OrderCreated,
    OrderResult,
    SendEmail,
)

from catga_core import (
    Behavior,
    CatgaContainer,
    CatgaResult,
    Command,
    Event,
    EventHandler,
    MessageContext,
    Next,
    RequestHandler,
    StreamHandler,
    ValidationProblem,
    Validator,
    current_context,
    message,
)


@message(name="orders.pay", version=2)
class Pay(Command[bool]):
    cents: int


@message()
class Paid(Event):
    cents: int


@message(title="orders.pay")  # E: mypy[call-arg] pyright[reportCallIssue, reportUntypedClassDecorator]
class Titled(Event):
    pass


@message(name="orders.none")  # E: pyright[reportArgumentType, reportUntypedClassDecorator]
class NoMessage:  # E: mypy[type-var]
    pass


class Timed(Behavior[Any, Any]):
    order = -50

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        return await next(message)


class OnlyOrders(Behavior[CreateOrder, OrderResult]):
    async def handle(
        self, message: CreateOrder, next: Next[CreateOrder, OrderResult]
    ) -> CatgaResult[OrderResult]:
        result = await next(message)
        assert_type(result, CatgaResult[OrderResult])
        return result


class NotEmpty(Validator[CreateOrder]):
    def validate(self, message: CreateOrder) -> Iterable[ValidationProblem]:
        if not message.items:
            yield ValidationProblem("items", "is empty")


class NotEmptyLater(Validator[CreateOrder]):
    async def validate(self, message: CreateOrder) -> list[ValidationProblem]:
        return []


async def pay(message: Pay) -> bool:
    assert_type(message.cents, int)
    assert_type(Pay(3), Pay)
    assert_type(current_context(), MessageContext)
    return True


def register(catga: CatgaContainer) -> None:
    catga.add_handlers(CreateOrderHandler, BareHandler, SendEmail, ListOrdersHandler, pay)
    catga.add_behavior(Timed, order=3, when=lambda described: described.version == 1)
    catga.add_behavior(OnlyOrders)
    catga.add_validator(NotEmpty, NotEmptyLater())
    catga.add_behavior(NotEmpty)  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_validator(Timed())  # E: mypy[arg-type] pyright[reportArgumentType]
    catga.add_handlers("pay")  # E: mypy[arg-type] pyright[reportArgumentType]


class WrongResult(RequestHandler[CreateOrder, OrderResult]):
    # E: mypy[override] pyright[reportIncompatibleMethodOverride]
    async def handle(self, message: CreateOrder) -> str:
        return "o-1"


class WrongValue(RequestHandler[CreateOrder, OrderResult]):
    async def handle(self, message: CreateOrder) -> OrderResult:
        return "o-1"  # E: mypy[return-value] pyright[reportReturnType]


class WrongMessage(RequestHandler[CreateOrder, OrderResult]):
    # E: mypy[override] pyright[reportIncompatibleMethodOverride]
    async def handle(self, message: Pay) -> OrderResult:
        return OrderResult("o-1")


class NotAsync(RequestHandler[CreateOrder, OrderResult]):
    # E: mypy[override] pyright[reportIncompatibleMethodOverride]
    def handle(self, message: CreateOrder) -> OrderResult:
        return OrderResult("o-1")


class WrongEvent(EventHandler[OrderCreated]):
    # E: mypy[override] pyright[reportIncompatibleMethodOverride]
    async def handle(self, message: OrderCreated) -> int:
        return 1


class WrongItems(StreamHandler[ListOrders, OrderResult]):
    # E: mypy[override] pyright[reportIncompatibleMethodOverride]
    async def handle(self, message: ListOrders) -> AsyncIterator[int]:
        yield 1


class NoRequest(RequestHandler[OrderCreated, None]):  # E: mypy[type-var] pyright[reportInvalidTypeArguments]
    async def handle(self, message: OrderCreated) -> None: ...


class WrongBehavior(Behavior[CreateOrder, OrderResult]):
    async def handle(
        self, message: CreateOrder, next: Next[CreateOrder, OrderResult]
    ) -> CatgaResult[OrderResult]:
        await next(Pay(3))  # E: mypy[arg-type] pyright[reportArgumentType]
        return OrderResult("o-1")  # E: mypy[return-value] pyright[reportReturnType]


class WrongValidator(Validator[CreateOrder]):
    # E: mypy[override] pyright[reportIncompatibleMethodOverride]
    def validate(self, message: CreateOrder) -> list[str]:
        return []
