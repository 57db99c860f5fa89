"""What payments puts into a container."""

from __future__ import annotations

from catga_core import CatgaContainer, Module

from .domain import Bank
from .handlers import ChargeCardHandler, RefundCardHandler


class PaymentsModule(Module):
    """Payments, complete but for the bank."""

    needs = (Bank,)

    def register(self, catga: CatgaContainer) -> None:
        catga.add_handlers(ChargeCardHandler, RefundCardHandler)
