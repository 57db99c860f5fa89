"""What orders is asked for, worked out from its events and kept ready."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from catga_core.event_sourcing.projections import Projection, project

from .events import CardCharged, GoodsReturned, OrderReceived, Wanted
from .messages import Decision, OrderAccepted, OrderRefused


class SalesBook(Projection, name="sales-book"):
    """All decisions in the order they were made, and what they add up to."""

    def __init__(self) -> None:
        self.decisions: list[Decision] = []
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        self.revenue = Decimal(0)
        self.charges: set[str] = set()
        self.sold: Counter[str] = Counter()
        self.compensated = 0
        self._wanted: dict[str, Sequence[Wanted]] = {}

    @project
    def received(self, event: OrderReceived) -> None:
        self._wanted[event.order_id] = event.items

    @project
    def charged(self, event: CardCharged) -> None:
        self.charges.add(event.authorization)

    @project
    def order_accepted(self, event: OrderAccepted) -> None:
        self.accepted += 1
        self.revenue += event.total
        for wanted in self._wanted.pop(event.order_id):
            self.sold[wanted.product] += wanted.quantity
        self.decisions.append(Decision(event.order_id, event.email, event.total))

    @project
    def order_refused(self, event: OrderRefused) -> None:
        self.refused[event.reason] += 1
        del self._wanted[event.order_id]
        self.decisions.append(Decision(event.order_id, event.email, reason=event.reason))

    @project
    def goods_returned(self, event: GoodsReturned) -> None:
        self.compensated += 1
