"""Each module asked more than once: nothing is counted twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from msgspec.structs import replace

from catga_core import CatgaMediator
from catga_core.sagas import SagaExecutor
from catga_testing.waiting import eventually
from examples.order_system import compositions
from examples.order_system.calls import IN_PROCESS, Patience
from examples.order_system.inventory.messages import Line, ReleaseStock, ReserveStock, StockLevel, StockLevels
from examples.order_system.notifications.messages import Mailing, MailingReport
from examples.order_system.orders.messages import (
    CreateOrder,
    Customer,
    Decision,
    GetOrder,
    Item,
    ListUnfinished,
    SalesReport,
)
from examples.order_system.payments.domain import Bank, Declined, ExampleBank, passes_luhn
from examples.order_system.payments.messages import ChargeCard, Receipt

ANN = Customer("Ann Abel", "ann.abel@example.com")
TEA = Item("TEA-ASSAM", 2, Decimal("11.90"))
ORDER = CreateOrder("A-1", ANN, "4242424242424242", (TEA,), Decimal("7.5"))
DECLINED = CreateOrder("A-2", ANN, "4000000000000002", (TEA,))


@pytest.fixture
async def mediator() -> AsyncIterator[CatgaMediator]:
    async with compositions.one_process().running() as app:
        yield app.mediator


async def told(mediator: CatgaMediator, customers: int) -> None:
    """Wait until what was decided has gone out, and so many customers were told of it."""

    async def all_told() -> bool:
        sales = (await mediator.send(SalesReport())).unwrap()
        mailing = (await mediator.send(MailingReport())).unwrap()
        return not sales.to_tell and mailing.sent == customers

    await eventually(all_told)


async def tea(mediator: CatgaMediator) -> StockLevel:
    levels = (await mediator.send(StockLevels())).unwrap()
    return next(level for level in levels if level.product == TEA.product)


async def test_the_same_message_gets_the_same_answer_and_counts_once(mediator: CatgaMediator) -> None:
    answers = [(await mediator.send(ORDER, message_id="m-1")).unwrap() for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0].total == Decimal("22.02")  # 23.80 less 7.5 %: 22.015, and half a cent goes up
    sales = (await mediator.send(SalesReport())).unwrap()
    assert (sales.accepted, sales.charges, sales.revenue) == (1, 1, Decimal("22.02"))
    assert (await tea(mediator)).reserved == 2
    await told(mediator, 1)
    assert (await mediator.send(MailingReport())).unwrap() == Mailing(sent=1, orders=1, waiting=0)


async def test_another_message_with_the_same_order_is_a_duplicate(mediator: CatgaMediator) -> None:
    assert (await mediator.send(ORDER, message_id="m-1")).is_success
    again = await mediator.send(ORDER, message_id="m-2")
    assert again.error.code == "DUPLICATE_ORDER"
    assert (await mediator.send(SalesReport())).unwrap().accepted == 1


async def test_what_a_declined_order_had_set_aside_is_put_back_once(mediator: CatgaMediator) -> None:
    before = await tea(mediator)
    for _ in range(2):
        refused = await mediator.send(DECLINED, message_id="m-1")
        assert (refused.error.code, refused.error.message) == ("CARD_DECLINED", "declined by the issuer")
    assert await tea(mediator) == before
    decision = (await mediator.send(GetOrder("A-2"))).unwrap()
    assert decision == Decision("A-2", ANN.email, reason="CARD_DECLINED")
    assert (await mediator.send(GetOrder("A-3"))).unwrap() is None


async def test_a_reservation_that_comes_late_sets_nothing_aside_again(mediator: CatgaMediator) -> None:
    before = await tea(mediator)
    reserve = ReserveStock("A-9", (Line(TEA.product, 3),))
    first = (await mediator.send(reserve)).unwrap()
    assert (await tea(mediator)).left == before.left - 3
    for _ in range(2):
        assert (await mediator.send(ReleaseStock("A-9"))).is_success
    assert (await mediator.send(reserve)).unwrap() == first
    assert await tea(mediator) == before


async def test_an_order_that_wants_too_much_gets_nothing_of_it(mediator: CatgaMediator) -> None:
    before = await tea(mediator)
    answer = await mediator.send(ReserveStock("A-9", (Line(TEA.product, 1), Line("KETTLE", 9999))))
    assert answer.error.code == "OUT_OF_STOCK"
    assert await tea(mediator) == before


async def test_the_rules_of_an_order_are_all_told_at_once(mediator: CatgaMediator) -> None:
    odd = Item("TEA-ASSAM", 1, Decimal("-0.001"))
    result = await mediator.send(CreateOrder("A-1", ANN, "4242424242424242", (odd, TEA), Decimal(120)))
    assert result.error.code == "VALIDATION_FAILED"
    told = str(result.error.details)
    for field in ("items[0].price", "items[1].product", "discount_percent"):
        assert field in told


async def test_an_order_without_an_answer_from_payments_is_decided_when_there_is_one() -> None:
    catga = compositions.one_process()
    catga.add_singleton(Patience, replace(IN_PROCESS, decision=0.1))
    async with catga.running() as app:
        with catga.override(Bank, Closed()):
            undecided = await app.mediator.send(ORDER, message_id="m-1")
            assert (undecided.error.code, undecided.error.retryable) == ("TIMEOUT", True)
            assert (await app.mediator.send(GetOrder("A-1"))).unwrap() is None
            assert (await app.mediator.send(ListUnfinished())).unwrap() == ("A-1",)
        # Its saga has gone on, though nobody has asked again.
        await told(app.mediator, 1)
        assert (await app.mediator.send(ORDER, message_id="m-1")).unwrap().total == Decimal("22.02")
        assert (await tea(app.mediator)).reserved == 2
        assert (await app.mediator.send(SalesReport())).unwrap().sent_again > 0


async def test_a_cancelled_order_is_refunded_its_goods_are_put_back_and_it_is_refused() -> None:
    catga = compositions.one_process()
    bank = Slow()
    catga.add_singleton(Bank, bank)
    async with catga.running() as app:
        before = await tea(app.mediator)
        placing = asyncio.create_task(app.mediator.send(ORDER, message_id="m-1"))
        await bank.asked.wait()
        await app.get(SagaExecutor).cancel("A-1")
        bank.answers.set()

        assert (await placing).error.code == "ORDER_CANCELLED"
        assert bank.refunded == ["charged A-1"]
        assert await tea(app.mediator) == before
        await told(app.mediator, 1)
        sales = (await app.mediator.send(SalesReport())).unwrap()
        assert (sales.accepted, sales.refused, sales.under_way) == (0, {"ORDER_CANCELLED": 1}, 0)
        assert (await app.mediator.send(ORDER, message_id="m-1")).error.code == "ORDER_CANCELLED"


class Closed(ExampleBank):
    """A bank on a Sunday."""

    async def authorize(self, reference: str, card: str, amount: Decimal) -> str | Declined:
        raise OSError


class Slow(ExampleBank):
    """A bank that answers when it is told to."""

    def __init__(self) -> None:
        super().__init__(answers_after=0)
        self.asked, self.answers = asyncio.Event(), asyncio.Event()
        self.refunded: list[str] = []

    async def authorize(self, reference: str, card: str, amount: Decimal) -> str | Declined:
        self.asked.set()
        await self.answers.wait()
        return f"charged {reference}"

    async def refund(self, authorization: str) -> None:
        self.refunded.append(authorization)


async def test_many_askers_of_one_order_get_one_decision(mediator: CatgaMediator) -> None:
    results = await asyncio.gather(*(mediator.send(ORDER, message_id="m-1") for _ in range(20)))
    assert len({result.unwrap() for result in results}) == 1
    assert (await mediator.send(SalesReport())).unwrap().accepted == 1
    assert (await tea(mediator)).reserved == 2


async def test_every_replica_of_payments_gives_the_same_answer() -> None:
    charge = ChargeCard("A-1", "4242424242424242", Decimal("22.02"))
    receipts: list[Receipt] = []
    for _ in range(2):
        async with compositions.one_process().running() as app:
            receipts.append((await app.mediator.send(charge)).unwrap())
    assert receipts[0] == receipts[1]


@pytest.mark.parametrize(
    ("card", "passes"),
    [
        ("4242424242424242", True),
        ("378282246310005", True),
        ("4242424242424241", False),
        ("000000000000", True),
    ],
)
def test_luhn(card: str, passes: bool) -> None:
    assert passes_luhn(card) is passes
