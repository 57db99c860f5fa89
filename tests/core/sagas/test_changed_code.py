"""Code that changed under a running saga: found, parked, and run again by an operator's choice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from catga_core.errors import SagaChangedError
from catga_core.sagas import SagaContext, SagaFilter, SagaState
from catga_testing.waiting import eventually
from tests.core.sagas.replicas import Data, Execute, Process, Replicas, saga_of


def steps_of(replicas: Replicas, *names: str) -> Execute:
    async def execute(data: Data, saga: SagaContext) -> str:
        for name in names:
            await saga.step(name, replicas.effect(name))
        return ", ".join(names)

    return execute


async def parked(process: Process) -> bool:
    return bool((await process.executor.find(SagaFilter(parked=True))).records)


async def interrupted(
    replicas: Replicas, execute: Execute, *, dies_at: float = 3, version: int = 1
) -> Process:
    """Return a process that died after it had recorded a step or two."""
    order = saga_of(execute, version=version)
    first = await replicas.start(order, dies_at=dies_at)
    await first.executor.start("order-1", Data(), order)
    return first


@pytest.mark.parametrize(
    ("names", "recorded", "asked"),
    [
        (("pay", "pack", "ship"), "the step 'charge'", "the step 'pay'"),
        (("pack", "charge", "ship"), "the step 'charge'", "the step 'pack'"),
        (("charge",), "the step 'pack'", None),
    ],
)
async def test_a_step_that_does_not_fit_the_journal_parks_the_saga(
    replicas: Replicas, names: tuple[str, ...], recorded: str, asked: str | None
) -> None:
    first = await interrupted(replicas, steps_of(replicas, "charge", "pack", "ship"), dies_at=4)
    await eventually(lambda: first.store.dead)
    effects = list(replicas.effects)
    second = await replicas.taken_over(first, saga_of(steps_of(replicas, *names)))

    result = await second.executor.result("order-1", timeout=5)

    assert isinstance(result.error, SagaChangedError)
    assert (result.error.recorded, result.error.asked) == (recorded, asked)
    assert replicas.effects == effects
    [record] = (await second.executor.find(SagaFilter(parked=True))).records
    assert record.due_at is None


async def test_a_changed_saga_stops_no_other(replicas: Replicas) -> None:
    first = await interrupted(replicas, steps_of(replicas, "charge", "ship"))
    changed = saga_of(steps_of(replicas, "pay", "ship"))
    second = await replicas.taken_over(first, changed)

    result = await second.execute("order-2", changed)

    assert result.value == "pay, ship"


async def test_a_parked_saga_goes_on_with_the_code_that_recorded_it(replicas: Replicas) -> None:
    recorded = steps_of(replicas, "charge", "ship")
    first = await interrupted(replicas, recorded)
    second = await replicas.taken_over(first, saga_of(steps_of(replicas, "pay", "ship")))
    await eventually(lambda: parked(second))
    third = await replicas.start(saga_of(recorded))
    second.store.die()

    await third.executor.resume("order-1")
    result = await third.executor.result("order-1", timeout=5)

    assert result.value == "charge, ship"


async def test_a_saga_is_resumed_by_the_version_that_began_it(replicas: Replicas) -> None:
    old = steps_of(replicas, "charge", "ship")
    first = await interrupted(replicas, old)
    new = saga_of(steps_of(replicas, "pay", "ship"), version=2)
    newest = await replicas.taken_over(first, new)
    assert (await newest.executor.status("order-1")).state is SagaState.RUNNING

    both = await replicas.start(saga_of(old), new)
    result = await both.executor.result("order-1", timeout=5)

    assert result.value == "charge, ship"


def patched(replicas: Replicas, times: int = 1) -> Execute:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", replicas.effect("charge"))
        for _ in range(times):
            if saga.patched("check"):
                await saga.step("check", replicas.effect("check"))
            await saga.step("ship", replicas.effect("ship"))
        return "done"

    return execute


@pytest.mark.parametrize(("dies_at", "has"), [(3, True), (4, False)])
async def test_a_patch_applies_to_sagas_that_have_not_come_so_far(
    replicas: Replicas, dies_at: float, has: bool
) -> None:
    # Dies before it has recorded `ship`, or after.
    first = await interrupted(replicas, steps_of(replicas, "charge", "ship", "mail"), dies_at=dies_at)

    def execute_with(code: Callable[[], Execute]) -> Execute:
        async def execute(data: Data, saga: SagaContext) -> str:
            await code()(data, saga)
            await saga.step("mail", replicas.effect("mail"))
            return "done"

        return execute

    second = await replicas.taken_over(first, saga_of(execute_with(lambda: patched(replicas))))

    result = await second.executor.result("order-1", timeout=5)

    assert result.value == "done"
    assert ("check" in replicas.effects) is has


async def test_an_answer_to_a_patch_stays_the_same_in_one_saga(replicas: Replicas) -> None:
    first = await interrupted(replicas, steps_of(replicas, "charge", "ship", "ship"), dies_at=4)
    second = await replicas.taken_over(first, saga_of(patched(replicas, times=2)))

    result = await second.executor.result("order-1", timeout=5)

    assert result.value == "done"
    assert "check" not in replicas.effects


async def test_an_entry_that_cannot_be_decoded_parks_the_saga(replicas: Replicas) -> None:
    first = await interrupted(replicas, steps_of(replicas, "charge", "ship"))
    await eventually(lambda: first.store.dead)
    [(key, entry)] = [*replicas.storage.part(_entries()).entries.read().items()][:1]
    replicas.storage.part(_entries()).entries.write(None)[key] = b"\x09" + entry[1:]
    second = await replicas.taken_over(first, saga_of(steps_of(replicas, "charge", "ship")))

    result = await second.executor.result("order-1", timeout=5)

    assert result.error is not None
    assert result.error.code == "SERIALIZATION_FAILED"


def _entries() -> type:
    from catga_core.memory.engine.sagas import Sagas

    return Sagas
