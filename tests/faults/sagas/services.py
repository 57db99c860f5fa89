"""The three services that a saga's steps are commands to. Each does its work once for each message id."""

from __future__ import annotations

import sqlite3
from decimal import Decimal

from catga_core import CatgaContainer, CatgaOptions, Command, RequestHandler, add_catga, message
from tests.faults.sagas.ledger import Ledger, note

INVENTORY, PAYMENTS, SHIPPING = "inventory", "payments", "shipping"
UNDONE_BY = {"reserve": "release", "charge": "refund", "ship": "recall"}
"""What each action is undone by."""


@message(name="faults.reserve")
class ReserveGoods(Command[str], frozen=True):
    """Set goods aside, or be refused with `SOLD_OUT`."""

    order_id: str
    product: str
    quantity: int
    fate: str


@message(name="faults.release")
class ReleaseGoods(Command[str], frozen=True):
    """Put goods back."""

    order_id: str
    product: str
    quantity: int
    fate: str


@message(name="faults.charge")
class ChargeMoney(Command[str], frozen=True):
    """Charge an amount, or be refused with `DECLINED`; returns the charge."""

    order_id: str
    amount: Decimal
    fate: str


@message(name="faults.refund")
class RefundMoney(Command[str], frozen=True):
    """Give a charge back."""

    order_id: str
    charge: str
    amount: Decimal
    fate: str


@message(name="faults.ship")
class ShipParcel(Command[str], frozen=True):
    """Send a parcel; returns the parcel."""

    order_id: str
    fate: str


@message(name="faults.recall")
class RecallParcel(Command[str], frozen=True):
    """Fetch a parcel back."""

    order_id: str
    parcel: str
    fate: str


class Reserve(RequestHandler[ReserveGoods, str]):
    """Takes goods off the shelf."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def handle(self, message: ReserveGoods) -> str:
        """Take them."""

        def work(file: sqlite3.Connection) -> str:
            taken = file.execute(
                "UPDATE stock SET counted = counted - ? WHERE product = ? AND counted >= ?",
                (message.quantity, message.product, message.quantity),
            )
            if not taken.rowcount:
                return "!SOLD_OUT"
            note(file, "reserve", message.order_id, message.quantity)
            return "reserved"

        return await self._ledger.once(message.fate, work)


class Release(RequestHandler[ReleaseGoods, str]):
    """Puts goods back on the shelf."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def handle(self, message: ReleaseGoods) -> str:
        """Put them back."""

        def work(file: sqlite3.Connection) -> str:
            file.execute(
                "UPDATE stock SET counted = counted + ? WHERE product = ?",
                (message.quantity, message.product),
            )
            note(file, "release", message.order_id, message.quantity)
            return "released"

        return await self._ledger.once(message.fate, work)


class Charge(RequestHandler[ChargeMoney, str]):
    """Charges."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def handle(self, message: ChargeMoney) -> str:
        """Charge."""

        def work(file: sqlite3.Connection) -> str:
            if message.fate == "declined":
                return "!DECLINED"
            note(file, "charge", message.order_id, message.amount)
            return f"charge of {message.order_id}"

        return await self._ledger.once(message.fate, work)


class Refund(RequestHandler[RefundMoney, str]):
    """Refunds."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def handle(self, message: RefundMoney) -> str:
        """Refund."""

        def work(file: sqlite3.Connection) -> str:
            note(file, "refund", message.charge.removeprefix("charge of "), message.amount)
            return "refunded"

        return await self._ledger.once(message.fate, work)


class Ship(RequestHandler[ShipParcel, str]):
    """Ships."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def handle(self, message: ShipParcel) -> str:
        """Ship."""

        def work(file: sqlite3.Connection) -> str:
            note(file, "ship", message.order_id, 1)
            return f"parcel of {message.order_id}"

        return await self._ledger.once(message.fate, work)


class Recall(RequestHandler[RecallParcel, str]):
    """Fetches a parcel back."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def handle(self, message: RecallParcel) -> str:
        """Fetch it."""

        def work(file: sqlite3.Connection) -> str:
            note(file, "recall", message.parcel.removeprefix("parcel of "), 1)
            return "recalled"

        return await self._ledger.once(message.fate, work)


_HANDLERS = {INVENTORY: (Reserve, Release), PAYMENTS: (Charge, Refund), SHIPPING: (Ship, Recall)}
SERVICES = tuple(_HANDLERS)


def service(name: str, ledger: Ledger) -> CatgaContainer:
    """Put a service together.

    Args:
        name: Which one.
        ledger: Its file.
    """
    catga = add_catga(CatgaOptions(service_name=name))
    catga.add_singleton(Ledger, ledger)
    catga.add_handlers(*_HANDLERS[name])
    return catga
