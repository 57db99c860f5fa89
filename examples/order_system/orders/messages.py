"""What can be asked of orders, and what orders tells the others."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import msgspec

from catga_core import Command, Delivery, Event, Query, message

from ..inventory.messages import ProductCode, Quantity, StockRefusal
from ..payments.messages import CardNumber, PaymentRefusal

OrderId = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]


class OrderRefusal(StrEnum):
    """The code of a failed result when the answer is no, for a reason of the order's own."""

    PRICE_CHANGED = "PRICE_CHANGED"
    DUPLICATE_ORDER = "DUPLICATE_ORDER"
    ORDER_CANCELLED = "ORDER_CANCELLED"


# Every code that says "no" for good; any other failure says "I could not decide".
REFUSALS = frozenset(str(code) for codes in (OrderRefusal, StockRefusal, PaymentRefusal) for code in codes)


class Customer(msgspec.Struct, frozen=True):
    """Who orders."""

    name: str
    email: Annotated[str, msgspec.Meta(pattern=r"^[^@\s]+@[^@\s]+$")]


class Item(msgspec.Struct, frozen=True):
    """So many of a product, at the price the customer was shown."""

    product: ProductCode
    quantity: Quantity
    price: Decimal


class OrderPlaced(msgspec.Struct, frozen=True):
    """The answer to an accepted order."""

    order_id: str
    total: Decimal
    authorization: str


@message(name="orders.create", version=1)
class CreateOrder(Command[OrderPlaced], frozen=True):
    """Buy these items with this card; fails with one of `REFUSALS`."""

    order_id: OrderId
    customer: Customer
    card: CardNumber
    items: Annotated[tuple[Item, ...], msgspec.Meta(min_length=1, max_length=50)]
    discount_percent: Decimal = Decimal(0)


@message(name="orders.accepted", version=1, delivery=Delivery.EXACTLY_ONCE)
class OrderAccepted(Event, frozen=True):
    """An order was paid and its goods are set aside."""

    order_id: str
    email: str
    total: Decimal


@message(name="orders.refused", version=1, delivery=Delivery.EXACTLY_ONCE)
class OrderRefused(Event, frozen=True):
    """An order will not be carried out."""

    order_id: str
    email: str
    reason: str
    why: str = ""


class Decision(msgspec.Struct, frozen=True):
    """What became of one order: accepted with a total, or refused with a reason."""

    order_id: str
    email: str
    total: Decimal | None = None
    reason: str | None = None


@message(name="orders.get", version=1)
class GetOrder(Query[Decision | None], frozen=True):
    """What became of an order; `None` for one that nobody knows."""

    order_id: str


@message(name="orders.list-decisions", version=1)
class ListDecisions(Query[tuple[Decision, ...]], frozen=True):
    """The decisions in the order they were made, some at a time."""

    skip: int = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 500


@message(name="orders.list-unfinished", version=1)
class ListUnfinished(Query[tuple[str, ...]], frozen=True):
    """The numbers of the orders that came in and are not decided, or whose goods are not yet put back."""


class Sales(msgspec.Struct, frozen=True):
    """The figures of all orders that were ever decided.

    Args:
        accepted: How many orders were accepted.
        refused: How many were refused, by reason.
        revenue: The sum of the accepted orders' totals.
        charges: How many different charges the bank has authorized for them.
        sold: How many of each product the accepted orders have.
        compensated: Of how many refused orders the goods that were set aside were put back.
        under_way: How many orders came in and are not finished.
        to_tell: How many decisions nobody was told of yet.
        sent_again: How many requests to other modules had to be sent again, since this process began.
        resumed: How many sagas of another process this one has resumed, since it began.
    """

    accepted: int
    refused: dict[str, int]
    revenue: Decimal
    charges: int
    sold: dict[str, int]
    compensated: int
    under_way: int
    to_tell: int
    sent_again: int
    resumed: int

    @property
    def decided(self) -> int:
        """How many orders were decided."""
        return self.accepted + sum(self.refused.values())


@message(name="orders.sales-report", version=1)
class SalesReport(Query[Sales], frozen=True):
    """The figures of all orders."""
