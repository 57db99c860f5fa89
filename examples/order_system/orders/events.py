"""What happens to an order on its way to the decision, as orders keeps it for itself.

The decision itself is one of `OrderAccepted` and `OrderRefused`: what the others are told is what is kept.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from catga_core import Event, message


class Wanted(msgspec.Struct, frozen=True):
    """So many of a product. The number of the card is nowhere: a log is for good."""

    product: str
    quantity: int


@message(name="orders.received", version=1)
class OrderReceived(Event, frozen=True):
    """An order came in, and was decided. Its number belongs to the message that brought it."""

    order_id: str
    message_id: str
    email: str
    items: tuple[Wanted, ...]


@message(name="orders.goods-reserved", version=1)
class GoodsReserved(Event, frozen=True):
    """Inventory has set everything aside."""

    order_id: str


@message(name="orders.card-charged", version=1)
class CardCharged(Event, frozen=True):
    """The bank has authorized the charge."""

    order_id: str
    amount: Decimal
    authorization: str


@message(name="orders.goods-returned", version=1)
class GoodsReturned(Event, frozen=True):
    """Inventory has put back what was set aside for an order that was refused."""

    order_id: str
