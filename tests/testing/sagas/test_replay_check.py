"""`replay_check`: recorded journals against today's code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from catga_core import CatgaError, CatgaOptions, add_catga
from catga_core.interfaces import SagaStore
from catga_core.sagas import Saga, SagaContext, SagaExecutor, SagaFilter, SagaState, add_sagas, saga
from catga_testing import ReplayError, SagaJournal, export_journals, replay_check
from tests.testing.sagas.planted import LooksOutsideStep
from tests.testing.sagas.shop import Carrier, OrderSaga, Payments, PlacedOrder, RegisterOrder, Shop, Stock


class Trip(msgspec.Struct):
    days: int = 1


Execute = Callable[[Trip, SagaContext], Awaitable[str]]


def trip(execute: Execute, version: int = 1) -> type[Saga[Trip, str]]:
    @saga("trip", version=version)
    class TripSaga(Saga[Trip, str]):
        async def execute(self, data: Trip, saga: SagaContext) -> str:
            return await execute(data, saga)

    return TripSaga


async def flight_and_hotel(data: Trip, saga: SagaContext) -> str:
    flight = await saga.step("flight", effect, compensate=lambda _: None)
    return flight + await saga.step("hotel", effect)


def effect() -> str:
    raise AssertionError("a replay runs no step")


RECORDED = SagaJournal.of(trip(flight_and_hotel), Trip()).step("flight", "f").step("hotel", "h")


def test_same_code_fits() -> None:
    report = replay_check([RECORDED, RECORDED.to_bytes()], trip(flight_and_hotel))

    assert (report.checked, report.problems) == (2, [])


def test_code_may_go_further_than_the_journal() -> None:
    async def execute(data: Trip, saga: SagaContext) -> str:
        found = await flight_and_hotel(data, saga)
        await saga.sleep(10**9)
        return found + await saga.step("car", effect)

    replay_check([RECORDED], trip(execute))


async def renamed(data: Trip, saga: SagaContext) -> str:
    return await saga.step("fly", effect) + await saga.step("hotel", effect)


async def left_out(data: Trip, saga: SagaContext) -> str:
    return await saga.step("flight", effect)


async def inserted(data: Trip, saga: SagaContext) -> str:
    await saga.step("flight", effect)
    saga.now()
    return await saga.step("hotel", effect)


async def in_branches(data: Trip, saga: SagaContext) -> str:
    await saga.gather(saga.step("flight", effect), saga.step("hotel", effect))
    return ""


@pytest.mark.parametrize(
    ("execute", "recorded", "asked"),
    [
        (renamed, "the step 'flight'", "the step 'fly'"),
        (left_out, "the step 'hotel'", None),
        (inserted, "the step 'hotel'", "the time"),
        (in_branches, "the step 'flight'", None),
    ],
)
def test_changed_code_is_reported(execute: Execute, recorded: str, asked: str | None) -> None:
    with pytest.raises(ReplayError, match="trip v1 tx-1") as raised:
        replay_check([RECORDED], trip(execute))

    (problem,) = raised.value.report.problems
    assert (problem.transaction_id, problem.recorded, problem.asked) == ("tx-1", recorded, asked)


def test_only_the_sagas_that_do_not_fit_are_reported() -> None:
    other = SagaJournal.of(trip(renamed), Trip(), transaction_id="tx-2").step("fly", "f")

    report = replay_check([RECORDED, other], trip(flight_and_hotel), check=False)

    assert [each.transaction_id for each in report.problems] == ["tx-2"]


def test_compensating_saga_fits_where_its_code_comes_to_every_step() -> None:
    journal = RECORDED.failing(CatgaError("no luck"))

    replay_check([journal], trip(flight_and_hotel))

    assert replay_check([journal], trip(left_out), check=False).problems[0].recorded == "the step 'hotel'"


def test_code_that_waits_for_something_else_is_reported() -> None:
    async def execute(data: Trip, saga: SagaContext) -> str:
        await asyncio.get_running_loop().create_future()
        return await flight_and_hotel(data, saga)

    report = replay_check([RECORDED], trip(execute), check=False)

    assert "not the saga's" in report.problems[0].text


def test_new_error_of_the_code_is_reported() -> None:
    async def execute(data: Trip, saga: SagaContext) -> str:
        await flight_and_hotel(data, saga)
        raise AttributeError("nothing there")

    report = replay_check([RECORDED], trip(execute), check=False)

    assert "AttributeError" in report.problems[0].text


def test_recorded_error_of_a_step_fits() -> None:
    journal = SagaJournal.of(trip(flight_and_hotel), Trip()).failed_step("flight", CatgaError("full"))

    replay_check([journal], trip(flight_and_hotel))


def test_missing_version_is_reported() -> None:
    report = replay_check([RECORDED], trip(flight_and_hotel, version=2), check=False)

    assert "trip v2" in report.problems[0].text


def test_data_that_cannot_be_read_is_reported() -> None:
    @saga("trip")
    class Narrowed(Saga[int, str]):
        async def execute(self, data: int, saga: SagaContext) -> str:
            return ""

    report = replay_check([RECORDED], Narrowed, check=False)

    assert "cannot be resumed" in report.problems[0].text


def test_call_of_a_service_outside_of_a_step_is_reported() -> None:
    journal = SagaJournal.of(LooksOutsideStep, PlacedOrder())
    for name in ("charge", "charge postage"):
        journal = journal.step(name)

    report = replay_check([journal], LooksOutsideStep, check=False)
    assert "stock.available() outside of a step" in report.problems[0].text

    replay_check([journal], LooksOutsideStep, services={"stock": Stock(Shop.stock_of)})


async def test_journals_of_a_store_are_exported_and_fit() -> None:
    catga = add_catga(CatgaOptions(service_name="shop"))
    shop = Shop()
    for kind, service in ((Payments, shop.payments), (Stock, shop.stock), (Carrier, shop.carrier)):
        catga.add_singleton(kind, service)

    async def register(command: RegisterOrder) -> str:
        return await shop.register(command)

    catga.add_handlers(register)
    add_sagas(catga, OrderSaga)
    async with catga.running() as app:
        for number in range(3):
            order = PlacedOrder(items={"book": 1})
            result = await app.get(SagaExecutor).execute(f"order-{number}", order, OrderSaga)
            assert result.is_success
        journals = await export_journals(app.get(SagaStore))
        some = await export_journals(app.get(SagaStore), SagaFilter(state=SagaState.COMPLETED), limit=2)
    kept = [each.to_bytes() for each in journals]

    # Within a running loop as well.
    report = replay_check(kept, OrderSaga)

    assert (report.checked, len(some)) == (3, 2)
    assert [each.transaction_id for each in journals] == ["order-0", "order-1", "order-2"]
