"""The executor: one transaction id for one transaction, results, operators' verbs, ownership."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from catga_core import CatgaError, CatgaOptions, Command, Event, add_catga
from catga_core.errors import (
    ConfigurationError,
    LockedError,
    SagaConflictError,
    SagaNotFoundError,
    SagaTimeoutError,
)
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas import (
    Saga,
    SagaContext,
    SagaExecutor,
    SagaFilter,
    SagaOptions,
    SagaState,
    add_sagas,
    saga,
)
from catga_testing import ManualClock
from catga_testing.waiting import eventually
from tests.core.sagas.replicas import Data, Replicas, saga_of

NO_LUCK = CatgaError("no luck", code="NO_LUCK")


class Gate:
    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self.opened.wait()


class Placed(Event):
    order: str


class Place(Command[str]):
    order: str


async def test_the_same_id_again_joins_the_saga(replicas: Replicas) -> None:
    gate = Gate()

    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", gate)
        return "done"

    order = saga_of(execute)
    one, two = await replicas.start(order), await replicas.start(order)
    waiting = [asyncio.create_task(each.execute("order-1", order)) for each in (one, two, one)]
    await gate.reached.wait()
    gate.opened.set()

    results = await asyncio.gather(*waiting)

    assert [each.value for each in results] == ["done"] * 3
    assert one.executor.runs.count + two.executor.runs.count <= 1


async def test_the_same_id_with_other_data_or_another_saga_is_a_conflict(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        return "done"

    order, other = saga_of(execute), saga_of(execute, name="other")
    process = await replicas.start(order, other)
    await process.execute("order-1", order, Data(1))

    with pytest.raises(SagaConflictError):
        await process.execute("order-1", order, Data(2))
    with pytest.raises(SagaConflictError):
        await process.execute("order-1", other, Data(1))


async def test_a_recorded_failure_is_the_result_again(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", replicas.effect("charge", fails=[NO_LUCK]))
        return ""

    order = saga_of(execute)
    process = await replicas.start(order)
    await process.execute("order-1", order)

    again = await process.execute("order-1", order)

    assert again.state is SagaState.COMPENSATED
    assert replicas.effects == ["charge"]
    with pytest.raises(CatgaError) as raised:
        again.unwrap()
    assert raised.value.code == "NO_LUCK"


async def test_waiting_for_a_result_ends_in_time(replicas: Replicas) -> None:
    gate = Gate()

    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", gate)
        return "done"

    order = saga_of(execute)
    process = await replicas.start(order)

    with pytest.raises(SagaTimeoutError):
        await process.executor.execute("order-1", Data(), order, timeout=0.05)
    gate.opened.set()

    assert (await process.executor.result("order-1", timeout=5)).value == "done"


async def test_an_unknown_id_is_not_found(replicas: Replicas) -> None:
    process = await replicas.start()
    executor = process.app.get(SagaExecutor)

    for ask in (executor.result, executor.status, executor.cancel, executor.resume):
        with pytest.raises(SagaNotFoundError):
            await ask("order-9")


async def test_a_saga_that_is_not_registered_is_refused(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        return ""

    process = await replicas.start()

    with pytest.raises(ConfigurationError, match="add_sagas"):
        await process.execute("order-1", saga_of(execute))


async def test_a_given_object_runs_the_saga(replicas: Replicas) -> None:
    class Order(Saga[Data, str]):
        def __init__(self, name: str = "registered") -> None:
            self.name = name

        async def execute(self, data: Data, saga: SagaContext) -> str:
            return self.name

    process = await replicas.start(Order)

    result = await process.executor.execute("order-1", Data(), Order("given"), timeout=5)

    assert result.value == "given"


async def test_resuming_a_saga_that_has_ended_changes_nothing(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", replicas.effect("charge", fails=[NO_LUCK] if data.items == 2 else []))
        return "done"

    order = saga_of(execute)
    process = await replicas.start(order)
    await process.execute("order-1", order, Data(1))
    await process.execute("order-2", order, Data(2))

    assert await process.executor.resume("order-1") is SagaState.COMPLETED
    assert await process.executor.resume("order-2") is SagaState.COMPENSATED
    assert replicas.effects == ["charge", "charge"]
    assert (await process.executor.result("order-1", timeout=5)).value == "done"


async def test_of_concurrent_resumes_one_wins(replicas: Replicas) -> None:
    stuck = [OSError("stuck")]

    async def execute(data: Data, saga: SagaContext) -> str:
        async def undo(_: object) -> None:
            replicas.effects.append("undo")
            if stuck:
                raise stuck[0]

        await saga.step("charge", replicas.effect("charge"), compensate=undo)
        raise NO_LUCK

    order = saga_of(execute, compensation_retry=RetryPolicy(max_attempts=1))
    one, two = await replicas.start(order), await replicas.start(order)
    await one.execute("order-1", order)
    stuck.clear()

    answers: list[Any] = await asyncio.gather(
        *(each.executor.resume("order-1") for each in (one, two)), return_exceptions=True
    )
    await one.executor.result("order-1", timeout=5)

    assert replicas.effects == ["charge", "undo", "undo"]
    assert all(isinstance(each, SagaState | LockedError) for each in answers)


async def test_retrying_from_a_step_runs_it_and_what_follows_again(replicas: Replicas) -> None:
    errors = [NO_LUCK]

    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", replicas.effect("charge", result=1))

        async def ship() -> str:
            replicas.effects.append("ship")
            if errors:
                raise errors.pop()
            return "shipped"

        return await saga.step("ship", ship)

    order = saga_of(execute)
    process = await replicas.start(order)
    await process.execute("order-1", order)

    await process.executor.retry_from("order-1", "ship")
    result = await process.executor.result("order-1", timeout=5)

    assert result.value == "shipped"
    assert replicas.effects == ["charge", "ship", "ship"]


async def test_retrying_behind_a_compensated_step_is_refused(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", replicas.effect("charge"), compensate=replicas.effect("refund"))
        raise NO_LUCK

    order = saga_of(execute)
    process = await replicas.start(order)
    await process.execute("order-1", order)

    with pytest.raises(SagaConflictError):
        await process.executor.retry_from("order-1", "charge")
    with pytest.raises(SagaNotFoundError):
        await process.executor.retry_from("order-1", "ship")
    assert (await process.executor.status("order-1")).state is SagaState.COMPENSATED


@pytest.mark.parametrize("wakes", ["in its step", "after its step"])
async def test_a_process_that_stood_still_writes_nothing_of_a_saga_taken_over(
    replicas: Replicas, wakes: str
) -> None:
    gate = Gate()

    async def execute(data: Data, saga: SagaContext) -> str:
        async def charge() -> None:
            replicas.effects.append("charge")
            try:
                if replicas.effects == ["charge"]:
                    await gate()
            except asyncio.CancelledError:
                replicas.effects.append("cancelled")
                raise

        await saga.step("charge", charge)
        return str(await saga.step("ship", replicas.effect("ship", result="shipped")))

    order = saga_of(execute)
    stopped = ManualClock()
    first = await replicas.start(order, clock=stopped)
    await first.executor.start("order-1", Data(), order)
    await gate.reached.wait()
    second = await replicas.start(order)
    await replicas.clock.run_for(31)
    result = await second.executor.result("order-1", timeout=5)

    if wakes == "in its step":
        await stopped.run_for(31)
    else:
        gate.opened.set()
    await eventually(lambda: first.executor.runs.count == 0)

    assert result.value == "shipped"
    assert replicas.effects == ["charge", "charge", "ship"] + ["cancelled"] * (wakes == "in its step")
    assert (await second.executor.result("order-1", timeout=5)).steps == result.steps


async def test_a_stop_hands_sagas_back_at_once(replicas: Replicas) -> None:
    gate = Gate()

    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("first", gate)
        return str(await saga.step("second", replicas.effect("second", result="done")))

    order = saga_of(execute)
    catga = add_catga(CatgaOptions(service_name="orders"))
    from catga_core.clock import Clock
    from catga_core.container import add_stores
    from catga_core.memory.stores import MEMORY_PORTS, memory_stores

    catga.add_singleton(Clock, replicas.clock)
    add_stores(catga, lambda clock: memory_stores(clock, replicas.storage), MEMORY_PORTS, name="memory")
    add_sagas(catga, order)
    async with catga.running() as app:
        await app.get(SagaExecutor).start("order-1", Data(), order)
        await gate.reached.wait()
        asyncio.get_running_loop().call_soon(gate.opened.set)

    # No lease has to run out: the clock stands still.
    second = await replicas.start(order)
    result = await second.executor.result("order-1", timeout=5)

    assert result.value == "done"
    assert replicas.effects == ["second"]


async def test_as_many_sagas_run_at_once_as_allowed(replicas: Replicas) -> None:
    gate = Gate()
    running: list[str] = []

    async def execute(data: Data, saga: SagaContext) -> str:
        async def run() -> None:
            running.append(saga.transaction_id)
            await gate()

        await saga.step("run", run)
        return "done"

    order = saga_of(execute, max_running=2)
    process = await replicas.start(order)
    for number in range(5):
        await process.executor.start(f"order-{number}", Data(), order)
    await eventually(lambda: len(running) == 2)
    await process.app.saga_store.get("order-0")
    assert len(running) == 2

    gate.opened.set()
    for number in range(5):
        await process.executor.result(f"order-{number}", timeout=5)

    assert running == [f"order-{number}" for number in range(5)]


async def test_a_process_runs_no_more_sagas_than_its_concurrency(replicas: Replicas) -> None:
    gate = Gate()
    running: list[str] = []

    async def execute(data: Data, saga: SagaContext) -> str:
        async def run() -> None:
            running.append(saga.transaction_id)
            await gate()

        await saga.step("run", run)
        return "done"

    order = saga_of(execute)
    process = await replicas.start(order, options=SagaOptions(concurrency=2, poll_seconds=0.02))
    for number in range(5):
        await process.executor.start(f"order-{number}", Data(), order)
    await gate.reached.wait()
    assert process.executor.runs.count == 2

    gate.opened.set()
    for number in range(5):
        await process.executor.result(f"order-{number}", timeout=5)

    assert sorted(running) == [f"order-{number}" for number in range(5)]


async def test_status_shows_how_far_a_saga_has_come(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", replicas.effect("charge"))
        saga.progress(0.5, "half")
        await saga.sleep(3600)
        return ""

    order = saga_of(execute, version=3)
    process = await replicas.start(order)
    await process.executor.start("order-1", Data(), order)

    async def waits() -> bool:
        return (await process.executor.status("order-1")).state is SagaState.WAITING

    await eventually(waits)
    status = await process.executor.status("order-1")

    assert (status.name, status.version, status.fraction, status.text) == ("order", 3, 0.5, "half")
    assert [each.name for each in status.steps] == ["charge"]
    assert status.waits_until == replicas.clock.time() + 3600


async def test_sagas_are_found_by_state(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        if data.items == 2:
            raise NO_LUCK
        return ""

    order = saga_of(execute)
    process = await replicas.start(order)
    for number in (1, 2, 3):
        await process.execute(f"order-{number}", order, Data(number))

    page = await process.executor.find(SagaFilter(state=SagaState.COMPLETED))

    assert [each.saga.transaction_id for each in page.records] == ["order-1", "order-3"]


async def test_an_event_starts_a_saga_once(replicas: Replicas) -> None:
    class Fulfil(Saga[Placed, str]):
        async def execute(self, data: Placed, saga: SagaContext) -> str:
            return str(await saga.step("ship", replicas.effect("ship", result=data.order)))

    process = await replicas.start(Fulfil, started_by=Placed, transaction_id=lambda event: event.order)
    for _ in range(2):
        await process.app.mediator.publish(Placed("order-1"), message_id="m-1")

    assert (await process.executor.result("order-1", timeout=5)).value == "order-1"
    assert replicas.effects == ["ship"]


async def test_a_command_is_answered_with_the_result_of_its_saga(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        return f"placed {data.note}"

    order = saga_of(execute)
    process = await replicas.start(
        order,
        started_by=Place,
        transaction_id=lambda command: command.order,
        data=lambda command: Data(note=command.order),
    )

    result = await process.app.mediator.send(Place("order-1"))

    assert result.unwrap() == "placed order-1"


async def test_a_saga_that_starts_in_a_unit_of_work_exists_with_its_commit(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        return str(await saga.step("ship", replicas.effect("ship", result="shipped")))

    order = saga_of(execute)
    process = await replicas.start(order)
    with pytest.raises(LookupError):
        async with process.app.storage.unit_of_work():
            await process.executor.start("order-1", Data(), order)
            raise LookupError
    async with process.app.storage.unit_of_work():
        await process.executor.start("order-2", Data(), order)
        with pytest.raises(CatgaError):
            await process.executor.execute("order-3", Data(), order)

    assert (await process.executor.result("order-2", timeout=5)).value == "shipped"
    with pytest.raises(SagaNotFoundError):
        await process.executor.status("order-1")


async def test_a_saga_begins_again_with_other_data(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("turn", replicas.effect(f"turn {data.items}"))
        if data.items < 3:
            await saga.continue_as_new(Data(data.items + 1))
        return f"{data.items} turns"

    order = saga_of(execute)
    process = await replicas.start(order)

    result = await process.execute("order-1", order, Data(1))

    assert result.value == "3 turns"
    assert replicas.effects == ["turn 1", "turn 2", "turn 3"]
    assert [each.name for each in result.steps] == ["turn"]


async def test_a_thousand_sagas_at_once_are_isolated(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        first = await saga.step("first", lambda: data.items)
        await saga.step("yield", lambda: asyncio.sleep(0))
        return str(await saga.step("second", lambda: first * 2))

    order = saga_of(execute)
    process = await replicas.start(order)

    results = await asyncio.gather(
        *(process.executor.execute(f"order-{number}", Data(number), order) for number in range(1000))
    )

    assert [each.value for each in results] == [str(number * 2) for number in range(1000)]


def test_two_sagas_of_one_name_are_refused() -> None:
    @saga(name="order")
    class One(Saga[Data, str]):
        async def execute(self, data: Data, saga: SagaContext) -> str:
            return ""

    @saga(name="order")
    class Two(Saga[Data, str]):
        async def execute(self, data: Data, saga: SagaContext) -> str:
            return ""

    catga = add_catga(CatgaOptions(service_name="orders"))
    add_sagas(catga, One, Two)

    async def start() -> None:
        async with catga.running():
            pass

    with pytest.raises(ConfigurationError, match="order"):
        asyncio.run(start())


@pytest.mark.parametrize(
    "options", [{"concurrency": 0}, {"lease_seconds": 0}, {"retry_delay_seconds": 60.0}, {"max_attempts": 0}]
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        SagaOptions(**options)


def test_data_that_cannot_be_stored_is_refused() -> None:
    class Unstorable(Saga[asyncio.Lock, str]):
        async def execute(self, data: asyncio.Lock, saga: SagaContext) -> str:
            return ""

    with pytest.raises(ConfigurationError, match="data"):
        add_sagas(add_catga(CatgaOptions(service_name="orders")), Unstorable)
