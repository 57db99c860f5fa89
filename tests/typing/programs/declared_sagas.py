"""Sagas as data: functions know the data and the results that they are given."""

from __future__ import annotations

from typing import assert_type

import msgspec

from catga_core import CatgaApp, CatgaContainer, Command, Module, add_catga, add_module
from catga_core.sagas import (
    SagaDefinition,
    SagaExecutor,
    SagaResult,
    add_sagas,
    child,
    parallel,
    sequence,
    sleep,
    step,
    when,
)


class Basket(msgspec.Struct):
    order_id: str
    amount: int


class Receipt(msgspec.Struct):
    number: str


class ChargeBasket(Command[Receipt]):
    amount: int


class RefundBasket(Command[None]):
    number: str


basket = SagaDefinition(
    "basket",
    step(
        "charge",
        lambda values: ChargeBasket(values.data.amount),
        compensate=lambda values, receipt: RefundBasket(receipt.number),
    ),
    step("again", ChargeBasket, compensate=RefundBasket),
    parallel(
        sequence(step("a", ChargeBasket), sleep(1)),
        when(lambda values: values.data.amount > 10, step("b", ChargeBasket), otherwise=[sleep(1)]),
    ),
    data=Basket,
    returns=lambda values: values.data.order_id,
    result=str,
)
assert_type(basket, SagaDefinition[Basket, str])
around = SagaDefinition("around", child("basket", basket, lambda values: Basket(values.data, 1)), data=str)
assert_type(around, SagaDefinition[str, None])

wrong = SagaDefinition(
    "wrong",
    step(
        "charge",
        # E: mypy[attr-defined] pyright[reportAttributeAccessIssue,reportUnknownArgumentType,reportUnknownMemberType]
        lambda values: ChargeBasket(values.data.amounts),
    ),
    data=Basket,
)


def compose() -> None:
    catga = add_catga()
    catga.add_sagas(basket, around)
    catga.add_sagas(Basket)  # E: mypy[arg-type] pyright[reportArgumentType]
    plain: CatgaContainer = catga
    add_module(plain, BasketModule)


class BasketModule(Module):
    def register(self, catga: CatgaContainer) -> None:
        add_sagas(catga, basket)


async def run(app: CatgaApp) -> None:
    result = await app.get(SagaExecutor).execute("basket-1", Basket("o-1", 12), basket)
    assert_type(result, SagaResult[str])
