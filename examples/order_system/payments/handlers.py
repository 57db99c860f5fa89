"""How payments answers."""

from __future__ import annotations

from catga_core import CatgaResult, RequestHandler

from .domain import Bank, Declined
from .messages import ChargeCard, PaymentRefusal, Receipt, RefundCard


class ChargeCardHandler(RequestHandler[ChargeCard, Receipt]):
    """Asks the bank; remembers nothing."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    async def handle(self, message: ChargeCard) -> Receipt | CatgaResult[Receipt]:
        answer = await self._bank.authorize(message.order_id, message.card, message.amount)
        if isinstance(answer, Declined):
            return CatgaResult.failure(code=PaymentRefusal.CARD_DECLINED, message=answer.why)
        return Receipt(message.order_id, message.amount, answer)


class RefundCardHandler(RequestHandler[RefundCard, None]):
    """Has the bank take a charge back."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    async def handle(self, message: RefundCard) -> None:
        await self._bank.refund(message.authorization)
