"""`given_saga(journal).when_resumed().then_steps(...)`."""

from __future__ import annotations

import pytest

from catga_core import CatgaError, Event
from catga_core.errors import ConfigurationError, SerializationError
from catga_core.sagas import Saga, SagaContext, saga
from catga_testing import NonDeterministicSagaError, SagaJournal, given_saga
from tests.testing.sagas.planted import RandomBranch
from tests.testing.sagas.shop import Charged, OrderSaga, PlacedOrder, Shop

NO_LUCK = CatgaError("no luck", code="NO_LUCK")


class PaymentSettled(Event):
    order_id: str
    cents: int


@saga("settling", waits_for={PaymentSettled: lambda event: event.order_id})
class SettlingSaga(Saga[PlacedOrder, int]):
    async def execute(self, data: PlacedOrder, saga: SagaContext) -> int:
        first = await saga.wait_for(PaymentSettled, key=data.id)
        await saga.sleep(60)
        second = await saga.wait_for(PaymentSettled, key=data.id)
        return first.cents + second.cents


def charged(shop: Shop) -> SagaJournal:
    order = PlacedOrder()
    shop.payments.payments.update({"p-1": order.total, "p-2": order.postage})
    journal = SagaJournal.of(OrderSaga, order)
    return journal.step("charge", Charged("p-1", order.total)).step(
        "charge postage", Charged("p-2", order.postage)
    )


def test_resumed_saga_runs_the_steps_that_are_not_recorded() -> None:
    shop = Shop()
    then = given_saga(charged(shop), OrderSaga, world=shop).when_resumed()

    then.then_steps("reserve book", "reserve pen", "register", "ship", "publish OrderSent")
    then.then_compensated().then_completed(shop.carrier.sent[0])


def test_recorded_branches_are_not_run_again() -> None:
    shop = Shop()
    journal = charged(shop).step("reserve pen", 3, branch="0.1/")

    then = given_saga(journal, OrderSaga, world=shop).when_resumed()

    assert then.steps[:2] == ["reserve book", "register"]


def test_recorded_failure_is_compensated_with_the_recorded_results() -> None:
    shop = Shop()
    journal = charged(shop).failed_step("reserve book", NO_LUCK, branch="0.0/")

    then = given_saga(journal, OrderSaga, world=shop).when_resumed()

    # What the other branch may have begun, it brings to an end first.
    then.then_steps("reserve pen").then_compensated("reserve pen", "charge postage", "charge")
    then.then_failed(code="NO_LUCK", match="luck")
    assert shop.payments.refunded == PlacedOrder().total + PlacedOrder().postage


def test_saga_that_was_being_compensated_goes_on_with_that() -> None:
    shop = Shop()
    then = given_saga(charged(shop).failing(NO_LUCK), OrderSaga, world=shop).when_resumed()

    then.then_steps().then_compensated("charge postage", "charge").then_failed(code="NO_LUCK")


def test_changed_code_is_parked() -> None:
    shop = Shop()
    journal = charged(shop).step("weigh")

    then = given_saga(journal, OrderSaga, world=shop).when_resumed()

    then.then_steps().then_parked(code="SAGA_CHANGED", match="weigh")


def test_event_is_received_where_the_journal_has_one_before() -> None:
    journal = SagaJournal.of(SettlingSaga, PlacedOrder()).received(
        PaymentSettled("order-1", 1), key="order-1"
    )

    given_saga(journal, SettlingSaga).when_resumed().then_waits()
    given_saga(journal, SettlingSaga).when_resumed(PaymentSettled("order-1", 2)).then_completed(3)


def test_journal_is_read_back_from_bytes() -> None:
    shop = Shop()
    given_saga(charged(shop).to_bytes(), OrderSaga, world=shop).when_resumed().then_completed()

    with pytest.raises(SerializationError):
        given_saga(b"something else", OrderSaga)


def test_unmet_expectation_shows_the_timeline() -> None:
    shop = Shop()
    then = given_saga(charged(shop), OrderSaga, world=shop).when_resumed()

    for check in (
        lambda: then.then_steps("ship"),
        lambda: then.then_compensated("charge"),
        lambda: then.then_completed("another result"),
        then.then_failed,
        then.then_parked,
        then.then_waits,
    ):
        with pytest.raises(AssertionError, match=r"carrier\.send"):
            check()


def test_class_of_another_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="settling"):
        given_saga(SagaJournal.of(SettlingSaga, PlacedOrder()), OrderSaga).when_resumed()


def test_code_that_differs_each_time_is_refused() -> None:
    with pytest.raises(NonDeterministicSagaError):
        given_saga(SagaJournal.of(RandomBranch, PlacedOrder()), RandomBranch, world=Shop()).when_resumed()
