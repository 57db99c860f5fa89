"""What the one who hands the orders in has seen, to be compared with what the modules say."""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from decimal import Decimal

import msgspec

from catga_core import CatgaError, ErrorCode

from .orders.messages import REFUSALS, CreateOrder, OrderPlaced
from .source import BadLine

NOT_AN_ORDER = "NOT_AN_ORDER"
# Refused before orders has looked at it, so there is neither a decision nor a customer to tell.
INVALID = str(ErrorCode.VALIDATION_FAILED)


class Undecided(msgspec.Struct, frozen=True):
    """An order that is neither accepted nor refused: something is broken."""

    number: int
    order_id: str
    error: str


class Tally:
    """Counts as the answers come in."""

    def __init__(self) -> None:
        self.read = 0
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        self.revenue = Decimal(0)
        self.charges: set[str] = set()
        self.sold: Counter[str] = Counter()
        self.bad_lines: list[BadLine] = []
        self.undecided: list[Undecided] = []
        self.seconds = array("d")
        self._milestones: list[tuple[int, asyncio.Event]] = []

    @property
    def done(self) -> int:
        """How many lines have an outcome."""
        return self.accepted + self.refused.total() + len(self.undecided)

    def bad(self, line: BadLine) -> None:
        """Count a line that is no order."""
        self.refused[NOT_AN_ORDER] += 1
        self.bad_lines.append(line)
        self._note()

    def accept(self, order: CreateOrder, placed: OrderPlaced) -> None:
        """Count an accepted order."""
        self.accepted += 1
        self.revenue += placed.total
        self.charges.add(placed.authorization)
        self.sold.update({item.product: item.quantity for item in order.items})
        self._note()

    def refuse(self, number: int, order: CreateOrder, error: CatgaError) -> None:
        """Count an order that was not accepted."""
        if error.code in REFUSALS or error.code == INVALID:
            self.refused[error.code] += 1
        else:
            self.undecided.append(Undecided(number, order.order_id, str(error)))
        self._note()

    async def reached(self, done: int) -> None:
        """Wait until so many lines have an outcome."""
        event = asyncio.Event()
        self._milestones.append((done, event))
        self._note()
        await event.wait()

    def _note(self) -> None:
        for done, event in self._milestones:
            if self.done >= done:
                event.set()
