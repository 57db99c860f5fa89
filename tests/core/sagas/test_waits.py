"""Waits: for a time and for events, in no memory, across processes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from catga_core import CatgaOptions, Event, add_catga
from catga_core.errors import ConfigurationError, SagaTimeoutError
from catga_core.sagas import SagaContext, SagaState, add_sagas
from catga_testing.waiting import eventually
from tests.core.sagas.replicas import Data, Process, Replicas, saga_of


class Settled(Event):
    order: str
    amount: int = 0


WAITS = {Settled: lambda event: event.order}


async def state(process: Process, transaction_id: str = "order-1") -> SagaState:
    return (await process.executor.status(transaction_id)).state


async def suspended(process: Process, transaction_id: str = "order-1") -> bool:
    return (await state(process, transaction_id)) is SagaState.WAITING


async def test_a_long_sleep_keeps_nothing_in_memory_and_outlives_the_process(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("before", replicas.effect("before"))
        await saga.sleep(timedelta(days=30))
        await saga.step("after", replicas.effect("after"))
        return "done"

    order = saga_of(execute)
    first = await replicas.start(order)
    await first.executor.start("order-1", Data(), order)
    await eventually(lambda: suspended(first))
    assert first.executor.runs.count == 0
    first.store.die()
    second = await replicas.start(order)

    replicas.clock.advance(30 * 86_400 - 1)
    assert await state(second) is SagaState.WAITING
    replicas.clock.advance(2)
    result = await second.executor.result("order-1", timeout=5)

    assert result.value == "done"
    assert replicas.effects == ["before", "after"]


async def test_a_time_that_came_while_no_process_ran_is_not_missed(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.sleep(until=replicas.clock.now() + timedelta(hours=1))
        return "woken"

    order = saga_of(execute)
    first = await replicas.start(order)
    await first.executor.start("order-1", Data(), order)
    await eventually(lambda: suspended(first))
    first.store.die()
    await replicas.clock.run_for(7200)

    second = await replicas.start(order)

    assert (await second.executor.result("order-1", timeout=5)).value == "woken"


async def test_a_sleep_that_ended_is_not_repeated_when_the_clock_is_set_back(replicas: Replicas) -> None:
    class Back(type(replicas.clock)):  # type: ignore[misc]
        offset = 0.0

        def time(self) -> float:
            return float(super().time()) + self.offset

        def now(self) -> datetime:
            return datetime.fromtimestamp(self.time(), UTC)

    clock = replicas.clock = Back()

    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.sleep(3600)
        await saga.step("first", replicas.effect("first"))
        await saga.step("second", replicas.effect("second"))
        return "done"

    order = saga_of(execute)
    first = await replicas.start(order, dies_at=4)
    await first.executor.start("order-1", Data(), order)
    await eventually(lambda: suspended(first))
    await clock.run_for(3601)
    await eventually(lambda: first.store.dead)
    clock.offset = -1800.0
    second = await replicas.taken_over(first, order)
    await clock.run_for(1800)

    assert (await second.executor.result("order-1", timeout=5)).value == "done"


async def test_an_event_ends_the_wait_for_it(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        event = await saga.wait_for(Settled, key="order-1")
        return str(event.amount)

    order = saga_of(execute, waits_for=WAITS)
    process = await replicas.start(order)
    await process.executor.start("order-1", Data(), order)
    await eventually(lambda: suspended(process))

    await process.app.mediator.publish(Settled("order-2", 1))
    await process.app.mediator.publish(Settled("order-1", 7))

    assert (await process.executor.result("order-1", timeout=5)).value == "7"


async def test_an_event_that_arrived_before_the_wait_counts(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        return str((await saga.wait_for(Settled, key="order-1")).amount)

    order = saga_of(execute, waits_for=WAITS)
    process = await replicas.start(order)
    await process.app.mediator.publish(Settled("order-1", 7))

    result = await process.execute("order-1", order)

    assert result.value == "7"


async def test_each_event_is_received_once_by_a_saga_in_order(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        first = await saga.wait_for(Settled, key="order-1")
        await saga.step("first", lambda: None)
        second = await saga.wait_for(Settled, key="order-1")
        return f"{first.amount} {second.amount}"

    order = saga_of(execute, waits_for=WAITS)
    process = await replicas.start(order)
    await process.executor.start("order-1", Data(), order)
    for amount in (1, 2):
        await process.app.mediator.publish(Settled("order-1", amount))

    assert (await process.executor.result("order-1", timeout=5)).value == "1 2"


async def test_an_event_is_received_by_every_saga_that_waits_for_it(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        return str((await saga.wait_for(Settled, key="all")).amount)

    order = saga_of(execute, waits_for=WAITS)
    process = await replicas.start(order)
    for number in (1, 2):
        await process.executor.start(f"order-{number}", Data(), order)
        await eventually(lambda number=number: suspended(process, f"order-{number}"))  # type: ignore[misc]

    await process.app.mediator.publish(Settled("all", 5))

    for number in (1, 2):
        assert (await process.executor.result(f"order-{number}", timeout=5)).value == "5"


async def test_two_branches_that_wait_for_one_key_receive_an_event_each(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        both = await saga.gather(saga.wait_for(Settled, key="a"), saga.wait_for(Settled, key="a"))
        return str(sorted(each.amount for each in both))

    order = saga_of(execute, waits_for=WAITS)
    process = await replicas.start(order)
    await process.executor.start("order-1", Data(), order)
    await eventually(lambda: suspended(process))
    for amount in (1, 2):
        await process.app.mediator.publish(Settled("a", amount))

    assert (await process.executor.result("order-1", timeout=5)).value == "[1, 2]"


async def test_an_event_that_does_not_arrive_in_time_is_an_error_of_the_wait(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        try:
            await saga.wait_for(Settled, key="order-1", timeout=60)
        except SagaTimeoutError:
            return "late"
        return "in time"

    order = saga_of(execute, waits_for=WAITS)
    process = await replicas.start(order)
    await process.executor.start("order-1", Data(), order)
    await eventually(lambda: suspended(process))
    await replicas.clock.run_for(61)

    assert (await process.executor.result("order-1", timeout=5)).value == "late"


async def test_an_event_is_the_recorded_one_in_another_process(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        event = await saga.wait_for(Settled, key="order-1")
        await saga.step("note", replicas.effect("note"))
        await saga.step("end", replicas.effect("end"))
        return str(event.amount)

    order = saga_of(execute, waits_for=WAITS)
    first = await replicas.start(order, dies_at=3)
    await first.app.mediator.publish(Settled("order-1", 7))
    await first.executor.start("order-1", Data(), order)
    second = await replicas.taken_over(first, order)
    await second.app.mediator.publish(Settled("order-1", 8))

    assert (await second.executor.result("order-1", timeout=5)).value == "7"


async def test_an_event_that_is_delivered_twice_is_received_once(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        first = await saga.wait_for(Settled, key="order-1")
        second = await saga.wait_for(Settled, key="order-1")
        return f"{first.amount} {second.amount}"

    order = saga_of(execute, waits_for=WAITS)
    process = await replicas.start(order)
    for message_id, amount in (("m-1", 1), ("m-1", 1), ("m-2", 2)):
        await process.app.mediator.publish(Settled("order-1", amount), message_id=message_id)

    assert (await process.execute("order-1", order)).value == "1 2"


async def test_an_event_that_is_not_declared_is_refused(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.wait_for(Settled, key="order-1")
        return ""

    order = saga_of(execute)
    process = await replicas.start(order)

    result = await process.execute("order-1", order)

    assert result.state is SagaState.COMPENSATED
    assert result.error is not None
    assert "waits_for" in result.error.message


def test_something_else_than_an_event_cannot_be_waited_for() -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        return ""

    order = saga_of(execute, waits_for={str: str})

    with pytest.raises(ConfigurationError, match="not an event"):
        add_sagas(add_catga(CatgaOptions(service_name="orders")), order)


async def test_a_branch_is_woken_in_time_while_a_step_of_another_runs(replicas: Replicas) -> None:
    gate = asyncio.Event()

    async def execute(data: Data, saga: SagaContext) -> str:
        async def sleeper() -> None:
            await saga.sleep(60)
            await saga.step("after", replicas.effect("after"))

        await saga.gather(sleeper(), saga.step("long", gate.wait))
        return ""

    order = saga_of(execute)
    process = await replicas.start(order)
    await process.executor.start("order-1", Data(), order)
    # In small steps, in which the lease is renewed: another run of the saga would find that the sleep is over.
    for _ in range(50):
        await replicas.clock.run_for(2)
    assert replicas.effects == ["after"]
    gate.set()

    assert (await process.executor.result("order-1", timeout=5)).is_success


async def test_an_event_of_another_process_ends_a_wait_while_a_step_runs(replicas: Replicas) -> None:
    gate = asyncio.Event()

    async def execute(data: Data, saga: SagaContext) -> str:
        async def settled() -> None:
            await saga.wait_for(Settled, key="order-1")
            await saga.step("settled", replicas.effect("settled"))

        await saga.gather(settled(), saga.step("long", gate.wait))
        return ""

    order = saga_of(execute, waits_for=WAITS)
    process = await replicas.start(order)
    await process.executor.start("order-1", Data(), order)

    async def waits() -> bool:
        return bool((await process.executor.status("order-1")).journal)

    await eventually(waits)
    await replicas.clock.run_for(2)
    other = await replicas.start(order)
    await other.app.mediator.publish(Settled("order-1", 1))

    async def is_settled() -> bool:
        await replicas.clock.run_for(0.1)
        return bool(replicas.effects)

    await eventually(is_settled)
    assert process.executor.runs.count == 1
    gate.set()

    assert (await process.executor.result("order-1", timeout=5)).is_success
    assert replicas.effects == ["settled"]


async def test_cancelling_ends_a_wait(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("a", replicas.effect("a"), compensate=replicas.effect("undo a"))
        await saga.wait_for(Settled, key="order-1")
        return ""

    order = saga_of(execute, waits_for=WAITS)
    process = await replicas.start(order)
    await process.executor.start("order-1", Data(), order)
    await eventually(lambda: suspended(process))

    await process.executor.cancel("order-1")
    result = await process.executor.result("order-1", timeout=5)

    assert result.state is SagaState.CANCELLED
    assert replicas.effects == ["a", "undo a(None)"]


async def test_a_short_wait_stays_in_memory(replicas: Replicas) -> None:
    from catga_core.sagas import SagaOptions

    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.sleep(1)
        return "done"

    order = saga_of(execute)
    process = await replicas.start(order, options=SagaOptions(linger_seconds=5.0))
    await process.executor.start("order-1", Data(), order)
    await replicas.clock.sleeping()
    assert process.executor.runs.count == 1

    await eventually(lambda: replicas.clock.sleepers)
    await replicas.clock.run_for(2)

    assert (await process.executor.result("order-1", timeout=5)).value == "done"


@pytest.mark.parametrize("first", ["a", "b", "time"])
async def test_branches_that_wait_for_different_things_go_on_each_by_its_own(
    replicas: Replicas, first: str
) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        async def settled(key: str) -> None:
            await saga.wait_for(Settled, key=key)
            await saga.step(key, replicas.effect(key))

        async def slept() -> None:
            await saga.sleep(100)
            await saga.step("time", replicas.effect("time"))

        await saga.gather(settled("a"), slept(), settled("b"))
        return "done"

    order = saga_of(execute, waits_for=WAITS)
    process = await replicas.start(order)
    await process.executor.start("order-1", Data(), order)
    await eventually(lambda: suspended(process))

    others = [each for each in ("a", "b", "time") if each != first]
    for number, each in enumerate([first, *others], 1):
        if each == "time":
            await replicas.clock.run_for(101)
        else:
            await process.app.mediator.publish(Settled(each, 1))
        await eventually(lambda number=number: len(replicas.effects) == number)  # type: ignore[misc]

    assert (await process.executor.result("order-1", timeout=5)).value == "done"
    assert replicas.effects == [first, *others]
