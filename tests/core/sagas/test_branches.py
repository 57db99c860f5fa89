"""Branches of `gather`: at the same time, followed again in the order of the journal, compensated together."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal

import pytest

from catga_core import CatgaError
from catga_core.sagas import SagaContext, SagaState
from catga_testing.waiting import eventually
from tests.core.sagas.replicas import Crashed, Data, Replicas, saga_of

NOT_TODAY = CatgaError("not today", code="NOT_TODAY", retryable=False)

NO_LUCK = CatgaError("no luck", code="NO_LUCK")


async def test_branches_run_at_the_same_time(replicas: Replicas) -> None:
    both = asyncio.Barrier(2)

    async def execute(data: Data, saga: SagaContext) -> str:
        async def meet(result: str) -> str:
            await both.wait()
            return result

        left, right = await saga.gather(
            saga.step("left", lambda: meet("l")), saga.step("right", lambda: meet("r"))
        )
        return left + right

    order = saga_of(execute)
    process = await replicas.start(order)

    result = await process.execute("order-1", order)

    assert result.value == "lr"
    assert {(each.name, each.branch) for each in result.steps} == {("left", "0.0/"), ("right", "0.1/")}


async def test_many_branches_give_their_results_in_order(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        async def ship(number: int) -> int:
            await saga.step("pack", replicas.effect("pack"))
            return await saga.step("ship", lambda: number)

        return str(await saga.gather(*(ship(number) for number in range(5)), ship(9)))

    order = saga_of(execute)
    process = await replicas.start(order)

    result = await process.execute("order-1", order)

    assert result.value == "(0, 1, 2, 3, 4, 9)"


@pytest.mark.parametrize("dies_at", [1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5])
async def test_branches_go_on_where_another_process_left_them(replicas: Replicas, dies_at: float) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        async def branch(name: str, pauses: int) -> str:
            found = ""
            for number in range(3):
                for _ in range(pauses):
                    await asyncio.sleep(0)
                found += await saga.step(f"{name}{number}", f"{name}{number}".lower)
            return found

        parts = await saga.gather(branch("a", 0), branch("b", 3), branch("c", 1))
        return "".join(parts) + str(await saga.step("end", lambda: "!"))

    order = saga_of(execute)
    first = await replicas.start(order, dies_at=dies_at)
    with suppress(Crashed):
        await first.executor.start("order-1", Data(), order)
    second = await replicas.taken_over(first, order)

    result = await second.executor.result("order-1", timeout=5)

    assert result.value == "a0a1a2b0b1b2c0c1c2!"
    assert len(result.steps) == 10


async def test_a_failing_branch_compensates_what_the_others_have_done(replicas: Replicas) -> None:
    failed = asyncio.Event()

    async def execute(data: Data, saga: SagaContext) -> str:
        async def slow() -> int:
            await saga.step("first", replicas.effect("first"), compensate=replicas.effect("undo first"))

            async def run() -> int:
                await failed.wait()
                replicas.effects.append("slow")
                return 7

            await saga.step("slow", run, compensate=replicas.effect("undo slow"))
            return await saga.step("never", replicas.effect("never", result=1))

        async def fails() -> int:
            failed.set()
            raise NO_LUCK

        await saga.gather(slow(), saga.step("fails", fails))
        return ""

    order = saga_of(execute)
    process = await replicas.start(order)

    result = await process.execute("order-1", order)

    assert result.state is SagaState.COMPENSATED
    assert result.error is not None
    assert result.error.code == "NO_LUCK"
    # The step that ran is awaited, so that it is known whether it has to be compensated; the next one does not begin.
    assert replicas.effects == ["first", "slow", "undo slow(7)", "undo first(None)"]


async def test_steps_of_other_branches_are_cancelled_where_asked(replicas: Replicas) -> None:
    reached = asyncio.Event()

    async def execute(data: Data, saga: SagaContext) -> str:
        async def hang() -> None:
            try:
                reached.set()
                await asyncio.Event().wait()
            finally:
                replicas.effects.append("cancelled")

        async def fails() -> None:
            await reached.wait()
            raise NO_LUCK

        await saga.gather(saga.step("hang", hang), saga.step("fails", fails), on_failure="cancel")
        return ""

    order = saga_of(execute)
    process = await replicas.start(order)

    result = await process.execute("order-1", order)

    assert result.error is not None
    assert result.error.code == "NO_LUCK"
    assert replicas.effects == ["cancelled"]


async def test_a_wait_of_another_branch_ends_with_the_failure(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.gather(saga.sleep(3600), saga.step("fails", replicas.effect("fails", fails=[NO_LUCK])))
        return ""

    order = saga_of(execute)
    process = await replicas.start(order)

    result = await process.execute("order-1", order)

    assert result.error is not None
    assert result.error.code == "NO_LUCK"


@pytest.mark.parametrize("dies_at", [2, 2.5, 3, 3.5, 4, 4.5])
async def test_a_failed_branch_is_compensated_in_another_process(replicas: Replicas, dies_at: float) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        failed = asyncio.Event()

        async def other() -> None:
            await saga.step("a", lambda: None, compensate=replicas.effect("undo a"))
            await saga.step("b", failed.wait, compensate=replicas.effect("undo b"))
            await saga.step("c", replicas.effect("c"))

        async def fails() -> None:
            failed.set()
            raise NO_LUCK

        await saga.gather(other(), saga.step("fails", fails))
        return ""

    order = saga_of(execute)
    first = await replicas.start(order, dies_at=dies_at)
    await first.executor.start("order-1", Data(), order)
    second = await replicas.taken_over(first, order)

    result = await second.executor.result("order-1", timeout=5)

    assert result.state is SagaState.COMPENSATED
    assert result.error is not None
    assert result.error.code == "NO_LUCK"
    assert "c" not in replicas.effects
    assert replicas.effects[-1] == "undo a(None)"


async def test_branches_in_branches(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        async def inner(name: str) -> str:
            found = await saga.gather(saga.step(name, lambda: name), saga.step(name, lambda: name.upper()))
            return "".join(found)

        return "".join(await saga.gather(inner("a"), inner("b")))

    order = saga_of(execute)
    first = await replicas.start(order, dies_at=3)
    await first.executor.start("order-1", Data(), order)
    second = await replicas.taken_over(first, order)

    result = await second.executor.result("order-1", timeout=5)

    assert result.value == "aAbB"


@pytest.mark.parametrize("dies_at", [4, 5, 5.5, 6])
async def test_branches_that_were_cancelled_are_compensated_after_a_crash(
    replicas: Replicas, dies_at: float
) -> None:
    async def fails() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        raise NOT_TODAY

    async def execute(data: Data, saga: SagaContext) -> str:
        async def packed() -> None:
            await saga.step("pack", replicas.effect("pack"), compensate=replicas.effect("unpack"))
            await saga.step("hang", asyncio.Event().wait)

        with suppress(CatgaError):
            await saga.gather(saga.step("fails", fails), packed(), on_failure="cancel")
        await saga.step("last", replicas.effect("last"), compensate=replicas.effect("undo last"))
        raise NOT_TODAY

    order = saga_of(execute)
    # The writes: begin, pack, fails, last with the failure, undo last, unpack with the end.
    first = await replicas.start(order, dies_at=dies_at)
    await first.executor.start("order-1", Data(), order)
    second = await replicas.taken_over(first, order)

    result = await second.executor.result("order-1", timeout=5)

    assert result.state is SagaState.COMPENSATED
    assert replicas.effects.count("pack") == 1
    assert {"unpack(None)", "undo last(None)"} <= set(replicas.effects)


@pytest.mark.parametrize("on_failure", ["wait", "cancel"])
async def test_a_saga_goes_on_after_branches_that_ended_before_they_began(
    replicas: Replicas, on_failure: Literal["wait", "cancel"]
) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        async def fails() -> None:
            raise NOT_TODAY

        async def never() -> None:
            await saga.step("never", replicas.effect("never"))

        with suppress(CatgaError):
            await saga.gather(fails(), never(), never(), on_failure=on_failure)
        await saga.sleep(100)
        return "woken"

    order = saga_of(execute)
    process = await replicas.start(order)
    await process.executor.start("order-1", Data(), order)

    async def waits() -> bool:
        return (await process.executor.status("order-1")).state is SagaState.WAITING

    await eventually(waits)
    await replicas.clock.run_for(101)

    assert (await process.executor.result("order-1", timeout=5)).value == "woken"
    assert replicas.effects == []
