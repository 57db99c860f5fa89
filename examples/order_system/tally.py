"""What the one who hands the orders in has seen, to be compared with what the modules say."""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from decimal import Decimal

import msgspec

from catga_core import CatgaError, ErrorCode

from .orders.messages import REFUSALS, CreateOrder, OrderPlaced, OrderRefusal
from .source import BadLine

NOT_AN_ORDER = "NOT_AN_ORDER"
# Refused before orders has looked at it, so there is neither a decision nor a customer to tell.
INVALID = str(ErrorCode.VALIDATION_FAILED)
# These say nothing new of an order: there is no decision behind them, or there was one before.
NOT_DECIDED = frozenset({NOT_AN_ORDER, INVALID, str(OrderRefusal.DUPLICATE_ORDER)})


class Undecided(msgspec.Struct, frozen=True):
    """An order that is neither accepted nor refused: something is broken."""

    number: int
    order_id: str
    error: str


class Sums:
    """What orders add up to."""

    def __init__(self) -> None:
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        self.revenue = Decimal(0)
        self.charges: set[str] = set()
        self.sold: Counter[str] = Counter()

    @property
    def decided(self) -> int:
        """How many orders they are of which there is a decision."""
        return self.accepted + sum(count for code, count in self.refused.items() if code not in NOT_DECIDED)

    def accept(self, order: CreateOrder, placed: OrderPlaced) -> None:
        """Add an accepted order."""
        self.accepted += 1
        self.revenue += placed.total
        self.charges.add(placed.authorization)
        self.sold.update({item.product: item.quantity for item in order.items})


class Tally:
    """Counts as the answers come in.

    Args:
        known: The numbers of the orders that were decided before this run; they are answered from memory.
    """

    def __init__(self, known: AbstractSet[str] = frozenset()) -> None:
        self.read = 0
        self.sums = Sums()
        self.fresh = Sums()
        self.bad_lines: list[BadLine] = []
        self.undecided: list[Undecided] = []
        self.seconds = array("d")
        self._known = known
        self._awaited: list[tuple[Callable[[], bool], asyncio.Event]] = []

    @property
    def done(self) -> int:
        """How many lines have an outcome."""
        return self.sums.accepted + self.sums.refused.total() + len(self.undecided)

    @property
    def remembered(self) -> int:
        """How many orders had been decided before this run."""
        return self.sums.decided - self.fresh.decided

    def bad(self, line: BadLine) -> None:
        """Count a line that is not a valid order."""
        self.sums.refused[NOT_AN_ORDER] += 1
        self.bad_lines.append(line)
        self._note()

    def accept(self, order: CreateOrder, placed: OrderPlaced) -> None:
        """Count an accepted order."""
        for sums in self._counted_in(order):
            sums.accept(order, placed)
        self._note()

    def refuse(self, number: int, order: CreateOrder, error: CatgaError) -> None:
        """Count an order that was not accepted."""
        if error.code in REFUSALS or error.code == INVALID:
            for sums in self._counted_in(order):
                sums.refused[error.code] += 1
        else:
            self.undecided.append(Undecided(number, order.order_id, str(error)))
        self._note()

    async def reached(self, done: int) -> None:
        """Wait until so many lines have an outcome."""
        await self._until(lambda: self.done >= done)

    async def decided(self, orders: int) -> None:
        """Wait until so many orders were decided in this run."""
        await self._until(lambda: self.fresh.decided >= orders)

    def _counted_in(self, order: CreateOrder) -> tuple[Sums, ...]:
        return (self.sums,) if order.order_id in self._known else (self.sums, self.fresh)

    async def _until(self, condition: Callable[[], bool]) -> None:
        event = asyncio.Event()
        self._awaited.append((condition, event))
        self._note()
        await event.wait()

    def _note(self) -> None:
        for condition, event in self._awaited:
            if condition():
                event.set()
