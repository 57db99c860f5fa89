"""A total that does not balance is found, and named."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from catga_core import CatgaContainer
from examples.order_system import compositions
from examples.order_system.cli import main
from examples.order_system.inventory.domain import Refused, Warehouse
from examples.order_system.inventory.messages import Line, Reservation
from examples.order_system.notifications.domain import Mail, MailRoom
from examples.order_system.orders.domain import InMemoryOrders, Order, OrderRepository
from examples.order_system.payments.domain import Bank, Declined


class LosesAnOrder(InMemoryOrders):
    """Forgets one accepted order."""

    def all(self) -> Sequence[Order]:
        return [order for order in super().all() if order.order_id != "A-10000"]


class LosesMail(MailRoom):
    """Throws one mail away and says it was sent."""

    def send(self, order_id: str, mail: Mail) -> bool:
        return order_id != "A-10000" and super().send(order_id, mail)


class NeverReleases(Warehouse):
    """Keeps what was set aside for refused orders."""

    def release(self, order_id: str) -> None:
        pass


class Miscounts(Warehouse):
    """Takes one more off the shelf than it sets aside."""

    def reserve(self, order_id: str, lines: Sequence[Line]) -> Reservation | Refused:
        self._left[lines[0].product] -= 1
        return super().reserve(order_id, lines)


class ChargesOnlyOnce(Bank):
    """Gives every charge the same authorization."""

    async def authorize(self, reference: str, card: str, amount: Decimal) -> str | Declined:
        return "the-same"


class Breaks(Bank):
    """Has no answer."""

    async def authorize(self, reference: str, card: str, amount: Decimal) -> str | Declined:
        raise RuntimeError


@pytest.fixture
def few(tmp_path: Path, shipped: list[str]) -> str:
    file = tmp_path / "few.jsonl"
    file.write_text("\n".join(shipped[:100]), encoding="utf-8")
    return str(file)


@pytest.mark.parametrize(
    ("service", "broken", "named"),
    [
        (OrderRepository, LosesAnOrder, "accepted = orders' own count"),
        (OrderRepository, LosesAnOrder, "revenue = sum of the accepted orders"),
        (MailRoom, LosesMail, "notifications = decided orders: 9"),
        (Warehouse, NeverReleases, "reserved = sold of "),
        (Warehouse, Miscounts, "stock before - reserved = stock left of "),
        (Bank, ChargesOnlyOnce, "charges = accepted: 1 (answered: 1)"),
        (Bank, Breaks, "orders read = accepted + refused"),
    ],
)
def test_what_does_not_balance_is_named(
    few: str, capsys: pytest.CaptureFixture[str], service: Any, broken: Any, named: str
) -> None:
    def compose() -> CatgaContainer:
        catga = compositions.one_process()
        catga.add_singleton(service, broken)  # the last one wins
        return catga

    assert main([few, "--quiet"], compose=compose) == 1
    assert f"DOES NOT BALANCE  {named}" in capsys.readouterr().out


def test_the_same_few_balance_when_nothing_is_broken(few: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([few, "--quiet"]) == 0
    assert "everything balances" in capsys.readouterr().out
