"""Cancellations that come while something is being written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from catga_core import CatgaError
from catga_core.errors import PersistenceError
from catga_core.interfaces import NamedValueStore
from catga_core.memory.unit_of_work import MemoryUnitOfWork
from catga_core.sagas import SagaContext, SagaState
from catga_testing.waiting import eventually
from tests.core.sagas.replicas import LEASE, Data, Process, Replicas, saga_of

NO_LUCK = CatgaError("no luck", code="NO_LUCK")


class SlowCommits:
    """Units of work whose commit is done, and reported later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done = asyncio.Event()
        self.reported = asyncio.Event()
        self.slow = False
        commit = MemoryUnitOfWork._commit

        def slowly(unit: MemoryUnitOfWork) -> Awaitable[None] | None:
            commit(unit)
            return self._report() if self.slow else None

        monkeypatch.setattr(MemoryUnitOfWork, "_commit", slowly)

    async def _report(self) -> None:
        self.slow = False
        self.done.set()
        await self.reported.wait()


def charging(processes: list[Process], commits: SlowCommits) -> Callable[[], Awaitable[int]]:
    async def charge() -> int:
        values = processes[0].app.get(NamedValueStore)
        now = (await values.get("charges") or 0) + 1
        await values.set("charges", now)
        commits.slow = True
        return now

    return charge


async def test_a_step_that_is_committed_when_its_time_is_over_is_not_repeated(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits, processes = SlowCommits(monkeypatch), list[Process]()

    async def execute(data: Data, saga: SagaContext) -> str:
        charge = charging(processes, commits)
        charged = await saga.step("charge", charge, in_unit_of_work=True, timeout=1)
        return str(charged)

    order = saga_of(execute)
    processes.append(await replicas.start(order))
    await processes[0].executor.start("order-1", Data(), order)
    await commits.done.wait()
    await replicas.clock.run_for(2)
    commits.reported.set()
    await asyncio.sleep(0.01)
    await replicas.clock.run_for(5)

    result = await processes[0].executor.result("order-1", timeout=5)

    assert (result.state, result.value) == (SagaState.COMPLETED, "1")
    assert await processes[0].app.get(NamedValueStore).get("charges") == 1
    assert [each.name for each in result.steps] == ["charge"]


async def test_a_step_that_is_committed_when_a_sibling_fails_is_compensated(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits, processes = SlowCommits(monkeypatch), list[Process]()

    async def execute(data: Data, saga: SagaContext) -> str:
        async def fail() -> None:
            await commits.done.wait()
            asyncio.get_running_loop().call_later(0.01, commits.reported.set)
            raise NO_LUCK

        charge = saga.step(
            "charge",
            charging(processes, commits),
            compensate=lambda _: replicas.effects.append("refund"),
            in_unit_of_work=True,
        )
        await saga.gather(saga.step("fail", fail), charge, on_failure="cancel")
        return ""

    order = saga_of(execute)
    processes.append(await replicas.start(order))

    result = await processes[0].execute("order-1", order)

    assert result.state is SagaState.COMPENSATED
    assert replicas.effects == ["refund"]
    # Nothing of the journal was written over.
    assert {each.name: each.state.value for each in result.steps} == {
        "charge": "compensated",
        "fail": "failed",
    }


async def test_a_run_that_is_lost_while_it_ends_does_not_cancel_who_waits_for_it(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        return "done"

    order = saga_of(execute)
    first = await replicas.start(order)
    away: list[Exception] = [PersistenceError("the store is away", retryable=True) for _ in range(10_000)]
    first.store.fails |= {"release": away, "renew": away, "take": away}
    waits = asyncio.ensure_future(first.executor.execute("order-1", Data(), order))
    await eventually(lambda: first.executor.runs.count == 1)
    second = await replicas.start(order)

    async def is_lost() -> bool:
        await replicas.clock.run_for(LEASE / 10)
        return first.executor.runs.count == 0

    await eventually(is_lost)
    await eventually(waits.done)

    assert not waits.cancelled()
    assert waits.result().value == "done"
    assert (await second.executor.result("order-1", timeout=5)).value == "done"
