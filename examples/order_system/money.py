"""Amounts of money: always `Decimal`, rounded to the cent in one place."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")


def to_cents(amount: Decimal) -> Decimal:
    """Round to the cent, half a cent upwards, as on a receipt."""
    return amount.quantize(CENT, rounding=ROUND_HALF_UP)
