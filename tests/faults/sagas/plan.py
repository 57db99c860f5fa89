"""The orders of a run: the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from catga_core import Command, message

# What becomes of an order, and of 1,000 orders how many.
FATES: Final[Mapping[str, int]] = {
    "ships": 470,
    "slow": 60,  # payments takes its time, and answers late
    "waits": 90,  # the saga waits, and is stored meanwhile
    "flaky": 80,  # each service fails first
    "scarce": 60,  # who comes first gets it
    "sold out": 60,
    "declined": 80,
    "fraud": 60,  # after everything is done
    "stubborn": 40,  # as fraud, and each compensation fails first
}
REFUSED: Final = frozenset({"sold out", "declined", "fraud", "stubborn"})
SCARCE: Final = "scarce"
GONE: Final = "gone"
PRODUCTS: Final = ("tea", "coffee", "honey")
PLENTY: Final = 1_000_000


@message(name="faults.place-order")
class PlaceOrder(Command[None], frozen=True):
    """Starts the saga of an order."""

    order_id: str
    product: str
    quantity: int
    price: Decimal
    fate: str

    @property
    def total(self) -> Decimal:
        """What the order costs."""
        return self.quantity * self.price


def planned(seed: int, number: int) -> PlaceOrder:
    """Return an order.

    Args:
        seed: The seed of the run.
        number: The number of the order.
    """
    chance = random.Random(f"{seed} {number}")
    [fate] = chance.choices(list(FATES), list(FATES.values()))
    product = {"scarce": SCARCE, "sold out": GONE}.get(fate) or chance.choice(PRODUCTS)
    quantity = 1 if fate == "scarce" else chance.randint(1, 5)
    return PlaceOrder(f"o-{number}", product, quantity, Decimal(chance.randint(1, 99_999)) / 100, fate)


def stock_of(orders: int) -> Mapping[str, int]:
    """Return how many there are of each product before a run: of a scarce one, for about half of those who want it."""
    scarce = max(1, orders * FATES["scarce"] // 2000)
    return {**dict.fromkeys(PRODUCTS, PLENTY), SCARCE: scarce, GONE: 0}
