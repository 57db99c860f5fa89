"""Steps: run once, recorded, retried, and known to receivers by one id."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from catga_core import CatgaError, Command, current_context
from catga_core.errors import SerializationError
from catga_core.interfaces import NamedValueStore
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas import SagaContext, SagaState, StepState
from tests.core.sagas.replicas import Data, Replicas, saga_of

AT_ONCE = RetryPolicy(max_attempts=3, delay_seconds=0, max_delay_seconds=0)


class Payment(msgspec.Struct, frozen=True):
    id: str
    amount: Decimal


class Reserve(Command[int]):
    items: int


async def test_a_saga_returns_what_its_code_returns(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        first = await saga.step("first", replicas.effect("first", result=data.items))
        second = await saga.step("second", lambda: first + 1)
        return f"{first}, {second}"

    order = saga_of(execute)
    process = await replicas.start(order)

    result = await process.execute("order-1", order, Data(items=4))

    assert (result.state, result.value) == (SagaState.COMPLETED, "4, 5")
    assert [(each.name, each.state, each.attempts) for each in result.steps] == [
        ("first", StepState.COMPLETED, 1),
        ("second", StepState.COMPLETED, 1),
    ]


async def test_a_recorded_step_is_not_run_again(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        charged = await saga.step("charge", replicas.effect("charge", result=7))
        return str(charged + await saga.step("ship", replicas.effect("ship", result=1)))

    order = saga_of(execute)
    # The writes: begin, charge, ship with the end.
    first = await replicas.start(order, dies_at=3)
    await first.executor.start("order-1", Data(), order)
    second = await replicas.taken_over(first, order)

    result = await second.executor.result("order-1", timeout=5)

    assert result.value == "8"
    assert replicas.effects == ["charge", "ship", "ship"]
    assert (second.executor.counters.resumed, second.executor.counters.retried) == (1, 0)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        7,
        1.5,
        "text",
        b"bytes",
        Decimal("1.20"),
        Payment("p-1", Decimal(2)),
        [Payment("p-1", Decimal(2))],
        {"a": [1, 2]},
        (1, "b", None),
        {3, 4},
        [],
        [1, "a"],
    ],
)
async def test_a_recorded_result_is_the_one_that_was_returned(replicas: Replicas, value: Any) -> None:
    seen: list[Any] = []

    async def execute(data: Data, saga: SagaContext) -> str:
        seen.append(await saga.step("value", lambda: value))
        await saga.step("second", replicas.effect("second"))
        return ""

    order = saga_of(execute)
    first = await replicas.start(order, dies_at=3)
    await first.executor.start("order-1", Data(), order)
    second = await replicas.taken_over(first, order)

    await second.executor.result("order-1", timeout=5)

    assert [type(each) for each in seen] == [type(value)] * 2
    assert seen == [value, value]


async def test_a_result_that_cannot_be_recorded_fails_the_step(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("lock", asyncio.Lock)
        return ""

    order = saga_of(execute)
    process = await replicas.start(order)

    result = await process.execute("order-1", order)

    assert result.state is SagaState.COMPENSATED
    assert isinstance(result.error, SerializationError)


async def test_a_declared_type_gives_the_result_its_class(replicas: Replicas) -> None:
    seen: list[object] = []

    async def execute(data: Data, saga: SagaContext) -> str:
        seen.append(
            await saga.step("mixed", lambda: [[Payment("a", Decimal(1))], []], returns=list[list[Payment]])
        )
        await saga.step("second", lambda: None)
        return ""

    order = saga_of(execute)
    first = await replicas.start(order, dies_at=3)
    await first.executor.start("order-1", Data(), order)
    second = await replicas.taken_over(first, order)

    await second.executor.result("order-1", timeout=5)

    assert seen == [[[Payment("a", Decimal(1))], []]] * 2


async def test_a_failed_attempt_is_tried_again(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        run = replicas.effect("charge", result="paid", fails=[OSError("away"), OSError("away")])
        return str(await saga.step("charge", run, retry=AT_ONCE))

    order = saga_of(execute)
    process = await replicas.start(order)

    result = await process.execute("order-1", order)

    assert result.value == "paid"
    assert result.steps[0].attempts == 3
    assert (process.executor.counters.resumed, process.executor.counters.retried) == (0, 2)


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (CatgaError("declined", code="DECLINED"), 1),
        (CatgaError("away", code="TRANSPORT_FAILED"), 3),
        # The service restarts, or lost its database.
        (CatgaError("away", code="HANDLER_NOT_FOUND"), 3),
        (CatgaError("away", code="HANDLER_FAILED"), 3),
    ],
)
async def test_only_errors_that_may_pass_are_retried(
    replicas: Replicas, error: CatgaError, attempts: int
) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        return str(await saga.step("charge", replicas.effect("charge", fails=[error] * 3), retry=AT_ONCE))

    order = saga_of(execute)
    process = await replicas.start(order)

    result = await process.execute("order-1", order)

    assert result.state is SagaState.COMPENSATED
    assert result.error is not None
    assert result.error.code == error.code
    assert replicas.effects == ["charge"] * attempts


async def test_every_attempt_has_the_same_message_id(replicas: Replicas) -> None:
    ids: list[str] = []

    async def execute(data: Data, saga: SagaContext) -> str:
        async def charge() -> None:
            ids.append(current_context().message_id)
            if len(ids) < 3:
                raise OSError

        for _ in range(2):
            await saga.step("charge", charge, retry=AT_ONCE)
        return ""

    order = saga_of(execute)
    first = await replicas.start(order, dies_at=2)
    await first.executor.start("order-1", Data(), order)
    second = await replicas.taken_over(first, order)
    await second.executor.result("order-1", timeout=5)

    # Three attempts, one more in the second process, and the second occurrence.
    assert len(ids) == 5
    assert len(set(ids[:4])) == 1
    assert ids[4] != ids[0]


async def test_a_command_is_sent_with_the_id_of_its_step(replicas: Replicas) -> None:
    seen: list[tuple[str, str]] = []

    async def execute(data: Data, saga: SagaContext) -> str:
        reserved = await saga.send("reserve", Reserve(data.items))
        return str(reserved)

    async def reserve(command: Reserve) -> int:
        context = current_context()
        seen.append((context.message_id, context.correlation_id))
        return command.items * 2

    order = saga_of(execute)
    process = await replicas.start(order, prepare=lambda catga: catga.add_handlers(reserve))

    result = await process.execute("order-1", order, Data(items=3))

    assert result.value == "6"
    assert seen == [("order-1/reserve#1/do", "order-1")]


async def test_an_error_is_raised_again_with_its_class_and_its_data(replicas: Replicas) -> None:
    caught: list[BaseException] = []

    class DeclinedError(CatgaError):
        def __init__(self, limit: int) -> None:
            super().__init__(f"over {limit}", code="DECLINED", details={"limit": limit})
            self.limit = limit

    async def execute(data: Data, saga: SagaContext) -> str:
        for error in (DeclinedError(5), ValueError("no", 3)):
            try:
                await saga.step(
                    "charge", replicas.effect("charge", fails=[error]), retry=RetryPolicy(max_attempts=1)
                )
            except (DeclinedError, ValueError) as raised:
                caught.append(raised)
        await saga.step("last", replicas.effect("last"))
        return "caught"

    order = saga_of(execute)
    first = await replicas.start(order, dies_at=4)
    await first.executor.start("order-1", Data(), order)
    second = await replicas.taken_over(first, order)

    result = await second.executor.result("order-1", timeout=5)

    assert result.value == "caught"
    declined, value = caught[2:]
    assert isinstance(declined, DeclinedError)
    assert (declined.code, declined.limit, dict(declined.details)) == ("DECLINED", 5, {"limit": 5})
    assert isinstance(value, ValueError)
    assert value.args == ("no", 3)
    assert replicas.effects == ["charge", "charge", "last", "last"]


async def test_a_step_that_takes_too_long_fails(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("hang", asyncio.Event().wait, timeout=5, retry=RetryPolicy(max_attempts=1))
        return ""

    order = saga_of(execute)
    process = await replicas.start(order)
    await process.executor.start("order-1", Data(), order)
    await replicas.clock.sleeping()
    await replicas.clock.run_for(6)

    result = await process.executor.result("order-1", timeout=5)

    assert result.state is SagaState.COMPENSATED
    assert result.error is not None
    assert result.error.code == "TIMEOUT"


async def test_steps_of_one_branch_do_not_overlap(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await asyncio.gather(
            saga.step("a", lambda: asyncio.sleep(0)), saga.step("b", lambda: asyncio.sleep(0))
        )
        return ""

    order = saga_of(execute)
    process = await replicas.start(order)

    result = await process.execute("order-1", order)

    assert result.error is not None
    assert result.error.code == "INTERNAL_ERROR"


async def test_what_differs_each_time_is_the_same_in_another_process(replicas: Replicas) -> None:
    seen: list[object] = []

    async def execute(data: Data, saga: SagaContext) -> str:
        seen.append((saga.now(), saga.random(), saga.uuid(), saga.uuid()))
        await saga.step("first", replicas.effect("first"))
        await saga.step("second", replicas.effect("second"))
        return ""

    order = saga_of(execute)
    first = await replicas.start(order, dies_at=3)
    await first.executor.start("order-1", Data(), order)
    second = await replicas.taken_over(first, order)
    await second.executor.result("order-1", timeout=5)

    assert seen[0] == seen[1]
    assert isinstance(seen[0], tuple)
    assert seen[0][2] != seen[0][3]


async def test_a_step_in_a_unit_of_work_is_recorded_with_its_effect(replicas: Replicas) -> None:
    values: list[NamedValueStore] = []

    async def execute(data: Data, saga: SagaContext) -> str:
        async def count() -> int:
            now = (await values[-1].get("charges") or 0) + 1
            await values[-1].set("charges", now)
            return now

        return str(await saga.step("charge", count, in_unit_of_work=True))

    order = saga_of(execute)
    first = await replicas.start(order, dies_at=2.5)
    values.append(first.app.get(NamedValueStore))
    await first.executor.start("order-1", Data(), order)
    second = await replicas.taken_over(first, order)
    values.append(second.app.get(NamedValueStore))

    result = await second.executor.result("order-1", timeout=5)

    # It died within the unit of work, after the entry was written: neither is there.
    assert result.value == "1"
    assert await values[-1].get("charges") == 1
