"""A store that is away for a while, or slow: the saga waits for it, and nothing is decided because of it."""

from __future__ import annotations

import asyncio
import math

from catga_core import CatgaError, Event
from catga_core.errors import PersistenceError
from catga_core.sagas import SagaContext, SagaResult, SagaState
from catga_testing.waiting import eventually
from tests.core.sagas.replicas import LEASE, Data, Process, Replicas, saga_of


class Paid(Event):
    order: str


def away(times: int = 2) -> list[Exception]:
    return [PersistenceError("the store is away", retryable=True) for _ in range(times)]


async def ended(replicas: Replicas, process: Process, *, most: float = math.inf) -> SagaResult[str]:
    """Have time pass until the saga has ended, within a number of seconds."""
    began = replicas.clock.monotonic()

    async def has_ended() -> bool:
        assert replicas.clock.monotonic() - began < most
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


async def test_the_end_of_a_child_outlasts_a_commit_that_fails(replicas: Replicas) -> None:
    async def ship(data: Data, saga: SagaContext) -> str:
        return str(await saga.step("pack", replicas.effect("pack", result="packed")))

    async def execute(data: Data, saga: SagaContext) -> str:
        return await saga.saga("shipping", shipping, data)

    shipping = saga_of(ship, name="shipping")
    order = saga_of(execute)
    process = await replicas.start(order, shipping)
    process.store.fails["commit of release"] = away()
    await process.executor.start("order-1", Data(), order)

    result = await ended(replicas, process, most=LEASE / 2)

    assert (result.state, result.value) == (SagaState.COMPLETED, "packed")
    assert replicas.effects == ["pack"]


async def test_the_dead_letter_of_a_saga_outlasts_a_commit_that_fails(replicas: Replicas) -> None:
    undo = replicas.effect("refund", fails=[CatgaError("no", code="NO")])

    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", replicas.effect("charge"), compensate=undo)
        raise CatgaError("no luck", code="NO_LUCK")

    order = saga_of(execute)
    process = await replicas.start(order)
    process.store.fails["commit of release"] = away()
    await process.executor.start("order-1", Data(), order)

    result = await ended(replicas, process, most=LEASE / 2)

    assert result.state is SagaState.COMPENSATION_FAILED
    assert replicas.effects == ["charge", "refund(None)"]
    page = await process.app.dead_letter_queue.find()
    assert [each.attempts for each in page.letters] == [1]


async def test_a_step_ends_with_its_lease_where_the_store_does_not_answer(replicas: Replicas) -> None:
    gate = asyncio.Event()

    async def execute(data: Data, saga: SagaContext) -> str:
        async def charge() -> str:
            replicas.effects.append("charge")
            try:
                if replicas.effects == ["charge"]:
                    await gate.wait()
            except asyncio.CancelledError:
                replicas.effects.append("cancelled")
                raise
            return "charged"

        return await saga.step("charge", charge)

    order = saga_of(execute)
    first = await replicas.start(order)
    await first.executor.start("order-1", Data(), order)
    await eventually(lambda: replicas.effects == ["charge"])
    first.store.hangs |= {"renew", "take"}
    await replicas.clock.run_for(LEASE)
    await eventually(lambda: first.executor.runs.count == 0)
    second = await replicas.start(order)

    result = await ended(replicas, second)

    assert result.value == "charged"
    assert replicas.effects == ["charge", "cancelled", "charge"]
