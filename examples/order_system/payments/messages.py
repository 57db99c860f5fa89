"""What can be asked of payments."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import msgspec

from catga_core import Command, message

CardNumber = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{12,19}$")]


class PaymentRefusal(StrEnum):
    """The code of a failed result when the answer is no."""

    CARD_DECLINED = "CARD_DECLINED"


class Receipt(msgspec.Struct, frozen=True):
    """Proof of a charge; the same charge has the same authorization, however often it is asked for."""

    order_id: str
    amount: Decimal
    authorization: str


@message(name="payments.charge-card", version=1)
class ChargeCard(Command[Receipt], frozen=True):
    """Charge a card once for an order; fails with `CARD_DECLINED`."""

    order_id: str
    card: CardNumber
    amount: Decimal


@message(name="payments.refund-card", version=1)
class RefundCard(Command[None], frozen=True):
    """Give an authorized charge back; giving it back twice changes nothing."""

    order_id: str
    authorization: str
