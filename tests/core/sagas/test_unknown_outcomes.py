"""A step that may have had its effect is brought to an end before its saga is compensated: without a result, it could not be undone."""

from __future__ import annotations

import asyncio

from catga_core import CatgaError
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas import SagaContext, SagaState
from catga_testing.waiting import eventually
from tests.core.sagas.replicas import Data, Replicas, saga_of

AT_ONCE = RetryPolicy(max_attempts=3, delay_seconds=0.01, max_delay_seconds=0.01)
NO_LUCK = CatgaError("no luck", code="NO_LUCK")


async def test_failed_sibling_does_not_end_the_attempts_of_a_step(replicas: Replicas) -> None:
    reserve = replicas.effect("reserve", result=3, fails=[OSError("the answer was lost")])

    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.gather(
            saga.step("reserve", reserve, retry=AT_ONCE, compensate=replicas.effect("release")),
            saga.step("fails", replicas.effect("fails", fails=[NO_LUCK])),
        )
        return ""

    order = saga_of(execute)
    process = await replicas.start(order)
    await process.executor.start("order-1", Data(), order)
    await eventually(lambda: "fails" in replicas.effects)
    await replicas.clock.sleeping(3)
    await replicas.clock.run_for(1)

    result = await process.executor.result("order-1", timeout=5)

    assert result.state is SagaState.COMPENSATED
    assert replicas.effects == ["reserve", "fails", "reserve", "release(3)"]


async def test_step_of_a_dead_process_runs_again_where_a_sibling_has_failed(replicas: Replicas) -> None:
    reserved = asyncio.Event()

    async def execute(data: Data, saga: SagaContext) -> str:
        async def reserve() -> int:
            replicas.effects.append("reserve")
            # Of the process that dies, the answer never comes.
            await reserved.wait()
            return 3

        async def branch() -> None:
            await saga.step("reserve", reserve, compensate=replicas.effect("release"))
            await saga.step("not begun", replicas.effect("not begun"))

        await saga.gather(branch(), saga.step("fails", replicas.effect("fails", fails=[NO_LUCK])))
        return ""

    order = saga_of(execute)
    # The writes: begin, the failure.
    first = await replicas.start(order, dies_at=2.5)
    await first.executor.start("order-1", Data(), order)
    await eventually(lambda: first.store.dead)
    reserved.set()
    second = await replicas.taken_over(first, order)

    result = await second.executor.result("order-1", timeout=5)

    assert result.state is SagaState.COMPENSATED
    assert replicas.effects == ["reserve", "fails", "reserve", "release(3)"]
