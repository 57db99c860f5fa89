"""Sagas as steps of sagas: run under their own id, joined, and compensated with the saga around them."""

from __future__ import annotations

import pytest

from catga_core import CatgaError
from catga_core.errors import ConfigurationError, SagaChangedError
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas import SagaContext, SagaState
from catga_testing.waiting import eventually
from tests.core.sagas.replicas import Data, Process, Replicas, saga_of

NO_LUCK = CatgaError("no luck", code="NO_LUCK")


async def test_a_child_gives_its_result_to_the_saga_around_it(replicas: Replicas) -> None:
    async def ship(data: Data, saga: SagaContext) -> str:
        return str(await saga.step("pack", replicas.effect("pack", result=f"packed {data.items}")))

    async def execute(data: Data, saga: SagaContext) -> str:
        return await saga.saga("shipping", shipping, Data(data.items + 1)) + "!"

    shipping = saga_of(ship, name="shipping")
    order = saga_of(execute)
    process = await replicas.start(order, shipping)

    result = await process.execute("order-1", order, Data(1))

    assert result.value == "packed 2!"
    child = await process.executor.status("order-1/shipping#1/saga")
    assert (child.state, child.parent) == (SagaState.COMPLETED, "order-1")


async def test_a_failed_child_fails_the_step(replicas: Replicas) -> None:
    async def ship(data: Data, saga: SagaContext) -> str:
        await saga.step("pack", replicas.effect("pack"), compensate=replicas.effect("unpack"))
        raise NO_LUCK

    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", replicas.effect("charge"), compensate=replicas.effect("refund"))
        return await saga.saga("shipping", shipping, data)

    shipping = saga_of(ship, name="shipping")
    order = saga_of(execute)
    process = await replicas.start(order, shipping)

    result = await process.execute("order-1", order)

    assert result.state is SagaState.COMPENSATED
    assert result.error is not None
    assert result.error.code == "NO_LUCK"
    assert replicas.effects == ["charge", "pack", "unpack(None)", "refund(None)"]


async def test_a_completed_child_is_compensated_with_the_saga_around_it(replicas: Replicas) -> None:
    async def ship(data: Data, saga: SagaContext) -> str:
        await saga.step("pack", replicas.effect("pack", result=1), compensate=replicas.effect("unpack"))
        await saga.step("post", replicas.effect("post", result=2), compensate=replicas.effect("recall"))
        return "shipped"

    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", replicas.effect("charge"), compensate=replicas.effect("refund"))
        await saga.saga("shipping", shipping, data)
        raise NO_LUCK

    shipping = saga_of(ship, name="shipping")
    order = saga_of(execute)
    process = await replicas.start(order, shipping)

    result = await process.execute("order-1", order)

    assert result.state is SagaState.COMPENSATED
    assert replicas.effects == ["charge", "pack", "post", "recall(2)", "unpack(1)", "refund(None)"]
    child = await process.executor.status("order-1/shipping#1/saga")
    assert child.state is SagaState.COMPENSATED


@pytest.mark.parametrize("dies_at", [2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5])
async def test_a_child_runs_once_whichever_process_dies(replicas: Replicas, dies_at: float) -> None:
    async def ship(data: Data, saga: SagaContext) -> str:
        await saga.step("pack", replicas.effect("pack"))
        return "shipped"

    async def execute(data: Data, saga: SagaContext) -> str:
        return await saga.saga("shipping", shipping, data)

    shipping = saga_of(ship, name="shipping")
    order = saga_of(execute)
    first = await replicas.start(order, shipping, dies_at=dies_at)
    await first.executor.start("order-1", Data(), order)
    second = await replicas.taken_over(first, order, shipping)

    result = await second.executor.result("order-1", timeout=5)

    assert result.value == "shipped"
    assert set(replicas.effects) == {"pack"}


async def test_a_child_that_is_not_registered_is_refused(replicas: Replicas) -> None:
    async def ship(data: Data, saga: SagaContext) -> str:
        return "shipped"

    async def execute(data: Data, saga: SagaContext) -> str:
        with pytest.raises(ConfigurationError):
            await saga.saga("shipping", shipping, data)
        return "refused"

    shipping = saga_of(ship, name="shipping")
    order = saga_of(execute)
    process = await replicas.start(order)

    assert (await process.execute("order-1", order)).value == "refused"


@pytest.mark.parametrize("dies", [False, True], ids=["here", "after a crash"])
async def test_a_child_that_runs_is_cancelled_with_the_saga_around_it(replicas: Replicas, dies: bool) -> None:
    async def ship(data: Data, saga: SagaContext) -> str:
        await saga.step("pack", replicas.effect("pack"), compensate=replicas.effect("unpack"))
        await saga.sleep(3600)
        return "shipped"

    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", replicas.effect("charge"), compensate=replicas.effect("refund"))
        return await saga.saga("shipping", shipping, data)

    shipping = saga_of(ship, name="shipping")
    order = saga_of(execute)
    process = await replicas.start(order, shipping)
    await process.executor.start("order-1", Data(), order)
    await eventually(lambda: waits(process, "order-1/shipping#1/saga"))
    await eventually(lambda: waits(process, "order-1"))
    if dies:
        process.store.die()
        process = await replicas.start(order, shipping)

    await process.executor.cancel("order-1")
    result = await process.executor.result("order-1", timeout=5)

    assert result.state is SagaState.CANCELLED
    assert replicas.effects == ["charge", "pack", "unpack(None)", "refund(None)"]
    child = await process.executor.status("order-1/shipping#1/saga")
    assert child.state is SagaState.CANCELLED


async def waits(process: Process, transaction_id: str) -> bool:
    return (await process.executor.status(transaction_id)).state is SagaState.WAITING


async def test_a_child_whose_code_changed_is_a_failed_compensation_of_the_saga_around_it(
    replicas: Replicas,
) -> None:
    name = "pack"

    async def ship(data: Data, saga: SagaContext) -> str:
        return await saga.step(
            name, replicas.effect("pack", result="packed"), compensate=replicas.effect("unpack")
        )

    async def execute(data: Data, saga: SagaContext) -> str:
        nonlocal name
        await saga.saga("shipping", shipping, data)
        name = "wrap"
        raise NO_LUCK

    shipping = saga_of(ship, name="shipping")
    order = saga_of(execute, compensation_retry=RetryPolicy(max_attempts=1))
    process = await replicas.start(order, shipping)

    result = await process.execute("order-1", order)
    child = await process.executor.status("order-1/shipping#1/saga")

    assert result.state is SagaState.COMPENSATION_FAILED
    assert isinstance(child.problem, SagaChangedError)
    assert replicas.effects == ["pack"]
    name = "pack"
    await process.executor.resume("order-1/shipping#1/saga")
    await process.executor.result("order-1/shipping#1/saga", timeout=5)
    await process.executor.resume("order-1")
    assert (await process.executor.result("order-1", timeout=5)).state is SagaState.COMPENSATED
    assert replicas.effects == ["pack", "unpack(packed)"]
