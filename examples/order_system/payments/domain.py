"""The bank that payments talks to."""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from decimal import Decimal

import msgspec

_LIMIT = Decimal("5000.00")
_NO_GOOD = {
    "4000000000000002": "declined by the issuer",
    "4000000000009995": "insufficient funds",
    "4000000000000069": "the card has expired",
}


class Declined(msgspec.Struct, frozen=True):
    """The bank's no."""

    why: str


class Bank(ABC):
    """Authorizes charges; which bank it is, the composition decides."""

    @abstractmethod
    async def authorize(self, reference: str, card: str, amount: Decimal) -> str | Declined:
        """Return an authorization; the same question always gets the same answer."""

    @abstractmethod
    async def refund(self, authorization: str) -> None:
        """Take a charge back; a second time changes nothing."""


class ExampleBank(Bank):
    """A bank for demonstrations, which knows the card networks' published test numbers."""

    def __init__(self, answers_after: float = 0.005) -> None:
        self._answers_after = answers_after

    async def authorize(self, reference: str, card: str, amount: Decimal) -> str | Declined:
        await asyncio.sleep(self._answers_after)  # a bank is never here
        why = _objection(card, amount)
        return Declined(why) if why else _authorization(reference, card, amount)

    async def refund(self, authorization: str) -> None:
        """Do nothing: this bank books nothing, and so has nothing to book back."""
        await asyncio.sleep(self._answers_after)


def passes_luhn(card: str) -> bool:
    """Tell whether the last digit of a card number fits the others."""
    digits = [int(digit) for digit in reversed(card)]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[0::2]) + sum(doubled)) % 10 == 0


def _objection(card: str, amount: Decimal) -> str | None:
    if not passes_luhn(card):
        return "no such card number"
    if amount > _LIMIT:
        return f"more than the limit of {_LIMIT} in one charge"
    return _NO_GOOD.get(card)


def _authorization(reference: str, card: str, amount: Decimal) -> str:
    return hashlib.blake2s(f"{reference}|{card}|{amount}".encode(), digest_size=8).hexdigest()
