"""A store that is away for a while, or slow: the saga waits for it, and nothing is decided because of it."""

from __future__ import annotations

from catga_core import Event
from catga_core.errors import PersistenceError
from catga_core.sagas import SagaContext, SagaResult, SagaState
from catga_testing.waiting import eventually
from tests.core.sagas.replicas import Data, Process, Replicas, saga_of


class Paid(Event):
    order: str


def away(times: int = 2) -> list[Exception]:
    return [PersistenceError("the store is away", retryable=True) for _ in range(times)]


async def ended(replicas: Replicas, process: Process) -> SagaResult[str]:
    async def has_ended() -> bool:
        await replicas.clock.run_for(0.5)
        record = await process.store.get("order-1")
        return record.state.is_final or record.problem is not None

    await eventually(has_ended)
    return await process.executor.result("order-1", timeout=5)


async def test_a_wait_outlasts_a_store_that_is_away(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("reserve", replicas.effect("reserve"), compensate=replicas.effect("release"))
        paid = await saga.wait_for(Paid, key="order-1")
        return paid.order

    order = saga_of(execute, waits_for={Paid: lambda event: event.order})
    process = await replicas.start(order)
    await process.app.mediator.publish(Paid("order-1"))
    process.store.fails["signals"] = away()
    await process.executor.start("order-1", Data(), order)

    result = await ended(replicas, process)

    assert (result.state, result.value) == (SagaState.COMPLETED, "order-1")
    assert replicas.effects == ["reserve"]
    assert not process.store.fails["signals"]


async def test_a_child_outlasts_a_store_that_is_away(replicas: Replicas) -> None:
    processes: list[Process] = []

    async def ship(data: Data, saga: SagaContext) -> str:
        # What reads its end.
        processes[0].store.fails["read"] = away()
        return "shipped"

    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", replicas.effect("charge"), compensate=replicas.effect("refund"))
        processes[0].store.fails["begin"] = away()
        return await saga.saga("shipping", shipping, data)

    shipping = saga_of(ship, name="shipping")
    order = saga_of(execute)
    process = await replicas.start(order, shipping)
    processes.append(process)
    await process.executor.start("order-1", Data(), order)

    result = await ended(replicas, process)

    assert (result.state, result.value) == (SagaState.COMPLETED, "shipped")
    assert replicas.effects == ["charge"]
