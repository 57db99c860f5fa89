"""An order, from the moment it came in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from catga_core import CatgaError
from catga_core.event_sourcing import Aggregate, apply

from ..money import to_cents
from .events import CardCharged, GoodsReserved, GoodsReturned, OrderReceived, Wanted
from .messages import Decision, Item, OrderAccepted, OrderRefusal, OrderRefused


class Order(Aggregate):
    """One order: what is known of it is what happened to it.

    It belongs to the message that brought it. The same message again gets the same answer, any other is a duplicate.
    """

    message_id: str = ""
    email: str = ""
    total: Decimal = Decimal(0)
    authorization: str = ""
    accepted: bool = False
    reason: str = ""
    why: str = ""
    goods_reserved: bool = False

    @property
    def is_decided(self) -> bool:
        """Whether it was accepted or refused."""
        return self.accepted or bool(self.reason)

    @property
    def is_finished(self) -> bool:
        """Whether it is decided, and nothing is set aside for it that it does not get."""
        return self.accepted or (bool(self.reason) and not self.goods_reserved)

    # --- what can be done with it ---

    def receive(self, message_id: str, email: str, items: Iterable[Item]) -> None:
        """Let it begin; one that has begun stays as it is."""
        if not self.message_id:
            wanted = tuple(Wanted(item.product, item.quantity) for item in items)
            self.raise_event(OrderReceived(self.id, message_id, email, wanted))

    def accept(self, total: Decimal, authorization: str) -> None:
        """Decide for it: its goods are set aside, and it is paid."""
        self.raise_event(GoodsReserved(self.id))
        self.raise_event(CardCharged(self.id, total, authorization))
        self.raise_event(OrderAccepted(self.id, self.email, total))

    def refuse(self, reason: str, why: str, *, goods_reserved: bool) -> None:
        """Decide against it.

        Args:
            reason: The code.
            why: The reason in words.
            goods_reserved: Whether goods were set aside for it before that.
        """
        if goods_reserved:
            self.raise_event(GoodsReserved(self.id))
        self.raise_event(OrderRefused(self.id, self.email, reason, why))

    def return_goods(self) -> None:
        """Note that nothing is set aside for it any more."""
        if self.goods_reserved:
            self.raise_event(GoodsReturned(self.id))

    def decision(self) -> Decision:
        """Return what became of it."""
        if self.accepted:
            return Decision(self.id, self.email, self.total)
        return Decision(self.id, self.email, reason=self.reason)

    def news(self) -> OrderAccepted | OrderRefused:
        """Return what everybody is told once it is decided."""
        if self.accepted:
            return OrderAccepted(self.id, self.email, self.total)
        return OrderRefused(self.id, self.email, self.reason, self.why)

    # --- what that makes of it ---

    @apply
    def _received(self, event: OrderReceived) -> None:
        self.message_id, self.email = event.message_id, event.email

    @apply
    def _goods_reserved(self, event: GoodsReserved) -> None:
        self.goods_reserved = True

    @apply
    def _charged(self, event: CardCharged) -> None:
        self.total, self.authorization = event.amount, event.authorization

    @apply
    def _accepted(self, event: OrderAccepted) -> None:
        self.accepted = True

    @apply
    def _refused(self, event: OrderRefused) -> None:
        self.reason, self.why = event.reason, event.why

    @apply
    def _goods_returned(self, event: GoodsReturned) -> None:
        self.goods_reserved = False


def total_of(items: Iterable[Item], discount_percent: Decimal) -> Decimal:
    """Add up, take the discount off the sum, round once."""
    amount = sum((item.quantity * item.price for item in items), Decimal(0))
    return to_cents(amount * (100 - discount_percent) / 100)


def check_prices(items: Iterable[Item], prices: Mapping[str, Decimal]) -> None:
    """Check that each price is the one the customer was shown.

    Raises:
        CatgaError: `PRICE_CHANGED`: one is not.
    """
    for item in items:
        if prices[item.product] != item.price:
            raise CatgaError(f"{item.product} has another price by now", code=OrderRefusal.PRICE_CHANGED)
