"""A total that does not balance is found, and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from catga_core import CatgaContainer, current_context
from catga_core.event_sourcing.projections import project
from examples.order_system import compositions
from examples.order_system.calls import IN_PROCESS, Patience
from examples.order_system.cli import main
from examples.order_system.inventory.domain import OrderGoods, Shelf
from examples.order_system.inventory.events import GoodsPutBack, GoodsSetAside, OrderGoodsEvent
from examples.order_system.inventory.warehouse import Warehouse
from examples.order_system.notifications.domain import Mail, MailRoom
from examples.order_system.orders.messages import OrderAccepted
from examples.order_system.orders.read_models import SalesBook
from examples.order_system.payments.domain import Bank, Declined, ExampleBank
from examples.order_system.stores import Store


class LosesAnOrder(SalesBook, name="sales-book"):
    """Forgets one accepted order."""

    @project
    def order_accepted(self, event: OrderAccepted) -> None:
        if event.order_id != "A-10000":
            super().order_accepted(event)


class LosesMail(MailRoom):
    """Throws one mail away and says it was sent."""

    async def send(self, order_id: str, mail: Mail) -> None:
        if order_id != "A-10000":
            await super().send(order_id, mail)


class SendsMailTwice(MailRoom):
    """Writes to one customer twice."""

    async def send(self, order_id: str, mail: Mail) -> None:
        for _ in range(1 + (order_id == "A-10000")):
            await super().send(order_id, mail)


class NeverReleases(Warehouse):
    """Keeps what was set aside for refused orders."""

    async def release(self, order_id: str) -> None:
        pass


class Miscounts(Warehouse):
    """Takes one more off the shelf than it sets aside."""

    async def _append(
        self,
        order_id: str,
        goods: OrderGoods,
        event: OrderGoodsEvent,
        shelves: Mapping[str, Shelf],
        moved: Sequence[GoodsSetAside | GoodsPutBack],
    ) -> None:
        wrong = [replace(move, left=move.left - 1) for move in moved]
        await super()._append(order_id, goods, event, shelves, wrong)


class ChargesOnlyOnce(ExampleBank):
    """Gives every charge the same authorization."""

    async def authorize(self, reference: str, card: str, amount: Decimal) -> str | Declined:
        return "the-same"


class Breaks(ExampleBank):
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
        (SalesBook, LosesAnOrder, "accepted = orders' own count"),
        (SalesBook, LosesAnOrder, "revenue = sum of the accepted orders"),
        (MailRoom, LosesMail, "notifications = decided orders: 9"),
        (MailRoom, SendsMailTwice, "one notification for each order: "),
        (Warehouse, NeverReleases, "reserved = sold of "),
        (Warehouse, Miscounts, "stock before - reserved = stock left of "),
        (Bank, ChargesOnlyOnce, "charges = accepted: 1 (answered: 1) = "),
        (Bank, Breaks, "lines read = accepted + refused"),
    ],
)
def test_what_does_not_balance_is_named(
    few: str, capsys: pytest.CaptureFixture[str], service: Any, broken: Any, named: str
) -> None:
    def compose(store: Store) -> CatgaContainer:
        catga = compositions.one_process(store)
        catga.add_singleton(service, broken)  # the last one wins
        catga.add_singleton(Patience, replace(IN_PROCESS, decision=0.5))
        return catga

    assert main([few, "--quiet", "--store", "memory"], compose=compose) == 1
    assert f"DOES NOT BALANCE  {named}" in capsys.readouterr().out


def test_the_same_few_balance_when_nothing_is_broken(few: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([few, "--quiet"]) == 0
    assert "everything balances" in capsys.readouterr().out


def test_one_process_sends_no_request_with_a_deadline(few: str) -> None:
    # With one, a busy machine would make a slow request be sent again.
    deadlines: set[float | None] = set()

    class Looks(ExampleBank):
        async def authorize(self, reference: str, card: str, amount: Decimal) -> str | Declined:
            deadlines.add(current_context().deadline)
            return await super().authorize(reference, card, amount)

    def compose(store: Store) -> CatgaContainer:
        catga = compositions.one_process(store)
        catga.add_singleton(Bank, Looks)
        return catga

    assert main([few, "--quiet", "--store", "memory"], compose=compose) == 0
    assert deadlines == {None}
