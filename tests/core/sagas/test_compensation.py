"""Compensation: what was done is undone in reverse, each with its own result, whatever fails on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from catga_core import CatgaError, Command, current_context
from catga_core.interfaces import DeadLetterSource, DeadLetterStore
from catga_core.log import SAGA_COMPENSATING
from catga_core.messages.results import Failure
from catga_core.reliability import DeadLetterQueue, add_dead_letters
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas import SagaContext, SagaState, StepState
from catga_core.sagas.replaying import SagaReplayer
from catga_testing.waiting import eventually
from tests.core.sagas.replicas import Data, Process, Replicas, saga_of

ONCE = RetryPolicy(max_attempts=1)
NO_LUCK = CatgaError("no luck", code="NO_LUCK")


class Cancel(Command[None]):
    order: int


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
async def test_failing_step_n_compensates_the_steps_before_it_in_reverse(
    replicas: Replicas, failing: int
) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        for number in range(1, 5):
            fails = [NO_LUCK] if number == failing else []
            run = replicas.effect(f"do {number}", result=number, fails=fails)
            await saga.step(f"step {number}", run, compensate=replicas.effect("undo"))
        return ""

    order = saga_of(execute)
    process = await replicas.start(order)

    result = await process.execute("order-1", order)

    assert result.state is SagaState.COMPENSATED
    assert result.error is not None
    assert result.error.code == "NO_LUCK"
    done = [f"do {number}" for number in range(1, failing + 1)]
    assert replicas.effects == [*done, *(f"undo({number})" for number in range(failing - 1, 0, -1))]
    assert [each.state for each in result.steps] == [StepState.COMPENSATED] * (failing - 1) + [
        StepState.FAILED
    ]


@pytest.mark.parametrize(
    ("error", "level"), [(NO_LUCK, "info"), (CatgaError("away", code="TRANSPORT_FAILED"), "warning")]
)
async def test_a_refusal_is_no_warning(replicas: Replicas, error: CatgaError, level: str) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        raise error

    order = saga_of(execute)
    process = await replicas.start(order)

    with capture_logs() as log:
        await process.execute("order-1", order)

    assert [each["log_level"] for each in log if each["event"] == SAGA_COMPENSATING] == [level]


async def test_a_failure_between_steps_compensates(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", replicas.effect("charge"), compensate=replicas.effect("refund"))
        raise LookupError("nothing there")

    order = saga_of(execute)
    process = await replicas.start(order)

    result = await process.execute("order-1", order)

    assert result.state is SagaState.COMPENSATED
    assert result.error is not None
    assert result.error.details["exception"] == "LookupError"
    assert replicas.effects == ["charge", "refund(None)"]


async def test_an_error_that_the_code_handles_compensates_nothing(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", replicas.effect("charge"), compensate=replicas.effect("refund"))
        try:
            await saga.step("gift", replicas.effect("gift", fails=[NO_LUCK]))
        except CatgaError:
            return "without a gift"
        return "with a gift"

    order = saga_of(execute)
    process = await replicas.start(order)

    result = await process.execute("order-1", order)

    assert result.value == "without a gift"
    assert replicas.effects == ["charge", "gift"]


async def test_a_failing_compensation_does_not_stop_the_others(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("a", replicas.effect("a"), compensate=replicas.effect("undo a"))
        stuck = replicas.effect("undo b", fails=[OSError("stuck")] * 9)
        await saga.step("b", replicas.effect("b"), compensate=stuck)
        await saga.step("c", replicas.effect("c"), compensate=replicas.effect("undo c"))
        raise NO_LUCK

    order = saga_of(
        execute, compensation_retry=RetryPolicy(max_attempts=2, delay_seconds=0, max_delay_seconds=0)
    )
    process = await replicas.start(order)

    result = await process.execute("order-1", order)

    assert result.state is SagaState.COMPENSATION_FAILED
    assert result.error is not None
    assert result.error.code == "NO_LUCK"
    assert replicas.effects[3:] == ["undo c(None)", "undo b(None)", "undo b(None)", "undo a(None)"]
    assert [each.state for each in result.steps] == [
        StepState.COMPENSATED,
        StepState.COMPENSATION_FAILED,
        StepState.COMPENSATED,
    ]


async def test_a_failed_compensation_writes_a_dead_letter_and_can_be_resumed(replicas: Replicas) -> None:
    broken = [OSError("stuck")]

    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("a", replicas.effect("a"), compensate=replicas.effect("undo a"))

        async def undo(_: object) -> None:
            replicas.effects.append("undo b")
            if broken:
                raise broken[0]

        await saga.step("b", replicas.effect("b"), compensate=undo)
        raise NO_LUCK

    order = saga_of(execute, compensation_retry=ONCE)
    process = await replicas.start(order)
    await process.execute("order-1", order)
    letters = (await process.app.get(DeadLetterStore).find()).letters
    broken.clear()

    await process.executor.resume("order-1")
    result = await process.executor.result("order-1", timeout=5)

    assert [(each.id, each.source, each.code) for each in letters] == [
        ("saga:order-1", DeadLetterSource.SAGA, "NO_LUCK")
    ]
    assert result.state is SagaState.COMPENSATED
    # The one that succeeded is not repeated.
    assert replicas.effects == ["a", "b", "undo b", "undo a(None)", "undo b"]


async def test_compensation_goes_on_in_another_process(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        for name in "abc":
            await saga.step(name, replicas.effect(name, result=name), compensate=replicas.effect("undo"))
        raise NO_LUCK

    order = saga_of(execute)
    # Its writes: begin, a, b, c with the failure, undo c, undo b.
    first = await replicas.start(order, dies_at=6)
    await first.executor.start("order-1", Data(), order)
    second = await replicas.taken_over(first, order)

    result = await second.executor.result("order-1", timeout=5)

    assert result.state is SagaState.COMPENSATED
    assert result.error is not None
    assert result.error.code == "NO_LUCK"
    assert replicas.effects == ["a", "b", "c", "undo(c)", "undo(b)", "undo(b)", "undo(a)"]


async def test_the_saga_compensates_after_its_steps(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("a", replicas.effect("a"), compensate=replicas.effect("undo a"))
        raise NO_LUCK

    async def compensate(data: Data) -> None:
        replicas.effects.append(f"compensate {data.note}")

    order = saga_of(execute, compensate=compensate)
    process = await replicas.start(order)

    await process.execute("order-1", order, Data(note="x"))

    assert replicas.effects == ["a", "undo a(None)", "compensate x"]


async def test_a_compensation_may_be_a_command(replicas: Replicas) -> None:
    seen: list[tuple[int, str]] = []

    async def cancel(command: Cancel) -> None:
        seen.append((command.order, current_context().message_id))

    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("create", replicas.effect("create", result=7), compensate=lambda order: Cancel(order))
        raise NO_LUCK

    order = saga_of(execute)
    process = await replicas.start(order, prepare=lambda catga: catga.add_handlers(cancel))

    await process.execute("order-1", order)

    assert seen == [(7, "order-1/create#1/undo")]


async def test_a_compensation_without_a_step_is_registered_before_its_effect(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("a", replicas.effect("a"), compensate=replicas.effect("undo a"))
        await saga.on_compensate("files", replicas.effect("remove files"))
        await saga.step("b", replicas.effect("b", fails=[NO_LUCK]))
        return ""

    order = saga_of(execute)
    process = await replicas.start(order)

    await process.execute("order-1", order)

    assert replicas.effects == ["a", "b", "remove files", "undo a(None)"]


async def test_cancelling_compensates_after_the_step_that_runs(replicas: Replicas) -> None:
    reached, released = asyncio.Event(), asyncio.Event()

    async def execute(data: Data, saga: SagaContext) -> str:
        async def charge() -> int:
            reached.set()
            await released.wait()
            return 7

        await saga.step("charge", charge, compensate=replicas.effect("refund"))
        await saga.step("ship", replicas.effect("ship"))
        return ""

    order = saga_of(execute)
    process = await replicas.start(order)
    await process.executor.start("order-1", Data(), order)
    await reached.wait()

    await process.executor.cancel("order-1")
    released.set()
    result = await process.executor.result("order-1", timeout=5)

    assert result.state is SagaState.CANCELLED
    assert result.error is not None
    assert result.error.code == "SAGA_CANCELLED"
    assert replicas.effects == ["refund(7)"]


@pytest.mark.parametrize("answers", [True, False], ids=["answers", "is still away"])
async def test_cancelling_ends_the_wait_for_another_attempt_with_a_last_one(
    replicas: Replicas, answers: bool
) -> None:
    # The answer of the first attempt was lost: whether b has had its effect is known after a further one.
    run = replicas.effect("b", result=2, fails=[OSError("away")] * (1 if answers else 99))

    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("a", replicas.effect("a", result=1), compensate=replicas.effect("undo"))
        slow = RetryPolicy(max_attempts=None, delay_seconds=3600, max_delay_seconds=3600)
        await saga.step("b", run, retry=slow, compensate=replicas.effect("undo"))
        return ""

    order = saga_of(execute)
    process = await replicas.start(order)
    await process.executor.start("order-1", Data(), order)
    await eventually(lambda: replicas.effects == ["a", "b"])

    await process.executor.cancel("order-1")
    result = await process.executor.result("order-1", timeout=5)

    assert result.state is SagaState.CANCELLED
    assert replicas.effects == ["a", "b", "b", *(["undo(2)"] if answers else []), "undo(1)"]


@pytest.mark.parametrize("how", ["cancelled", "too late"])
async def test_a_step_that_a_process_died_in_is_compensated_also_when_the_saga_ends_meanwhile(
    replicas: Replicas, how: str
) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("a", replicas.effect("a", result=1), compensate=replicas.effect("undo"))
        await saga.step("b", replicas.effect("b", result=2), compensate=replicas.effect("undo"))
        await saga.step("c", replicas.effect("c"))
        return ""

    order = saga_of(execute, timeout=60 if how == "too late" else None)
    # It dies when it has run b, and before that is recorded.
    first = await replicas.start(order, dies_at=3)
    await first.executor.start("order-1", Data(), order)
    await eventually(lambda: first.store.dead)
    second = await replicas.start(order)
    if how == "cancelled":
        await second.executor.cancel("order-1")
    await replicas.clock.run_for(61)

    result = await second.executor.result("order-1", timeout=5)

    assert result.state is (SagaState.CANCELLED if how == "cancelled" else SagaState.COMPENSATED)
    assert replicas.effects == ["a", "b", "b", "undo(2)", "undo(1)"]


async def test_a_saga_that_is_cancelled_before_its_turn_runs_nothing(replicas: Replicas) -> None:
    gate = asyncio.Event()

    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("a", lambda: gate.wait() if data.items == 1 else replicas.effect("a")())
        return ""

    order = saga_of(execute, max_running=1)
    process = await replicas.start(order)
    for number in (1, 2):
        await process.executor.start(f"order-{number}", Data(number), order)

    await process.executor.cancel("order-2")
    gate.set()

    assert (await process.executor.result("order-2", timeout=5)).state is SagaState.CANCELLED
    assert replicas.effects == []


async def test_a_cancellation_is_not_swallowed(replicas: Replicas) -> None:
    reached, released = asyncio.Event(), asyncio.Event()

    async def execute(data: Data, saga: SagaContext) -> str:
        async def wait() -> None:
            reached.set()
            await released.wait()

        try:
            await saga.step("a", wait)
            await saga.step("b", replicas.effect("b"))
        except Exception:  # noqa: BLE001 - what careless code does
            return "swallowed"
        return "done"

    order = saga_of(execute)
    process = await replicas.start(order)
    await process.executor.start("order-1", Data(), order)
    await reached.wait()
    await process.executor.cancel("order-1")
    released.set()

    result = await process.executor.result("order-1", timeout=5)

    assert result.state is SagaState.CANCELLED


@pytest.mark.parametrize("how", ["cancelled", "too late"])
async def test_a_saga_behind_its_commit_point_is_not_compensated_by_another_process(
    replicas: Replicas, how: str
) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", replicas.effect("charge"), compensate=replicas.effect("refund"))
        await saga.commit_point()
        return str(await saga.step("ship", replicas.effect("ship", result="shipped")))

    order = saga_of(execute, timeout=60 if how == "too late" else None)
    # The writes: begin, charge with the commit point, ship with the end.
    first = await replicas.start(order, dies_at=3)
    await first.executor.start("order-1", Data(), order)
    await eventually(lambda: first.store.dead)
    second = await replicas.start(order)
    if how == "cancelled":
        await second.executor.cancel("order-1")
    await replicas.clock.run_for(61)

    result = await second.executor.result("order-1", timeout=5)

    assert result.value == "shipped"
    assert replicas.effects == ["charge", "ship", "ship"]


async def test_behind_the_commit_point_steps_are_retried_forward(replicas: Replicas) -> None:
    ship = replicas.effect("ship", result="shipped", fails=[OSError("away")] * 3)

    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", replicas.effect("charge"), compensate=replicas.effect("refund"))
        await saga.commit_point()
        return str(await saga.step("ship", ship, retry=ONCE))

    order = saga_of(execute)
    process = await replicas.start(order)
    await process.executor.start("order-1", Data(), order)
    await eventually(lambda: "ship" in replicas.effects)
    await process.executor.cancel("order-1")
    async with asyncio.timeout(5):
        while replicas.effects.count("ship") < 4:
            await replicas.clock.run_for(0.5)

    result = await process.executor.result("order-1", timeout=5)

    assert result.value == "shipped"
    assert "refund(None)" not in replicas.effects


async def test_an_error_of_the_code_behind_the_commit_point_parks_the_saga(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", replicas.effect("charge"), compensate=replicas.effect("refund"))
        await saga.commit_point()
        raise NO_LUCK

    order = saga_of(execute)
    process = await replicas.start(order)

    result = await process.execute("order-1", order)

    assert result.state is SagaState.RUNNING
    assert result.error is not None
    assert result.error.code == "NO_LUCK"
    assert replicas.effects == ["charge"]


async def test_a_saga_that_takes_longer_than_its_timeout_is_compensated(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("a", replicas.effect("a"), compensate=replicas.effect("undo a"))
        await saga.sleep(3600)
        return ""

    order = saga_of(execute, timeout=60)
    process = await replicas.start(order)
    await process.executor.start("order-1", Data(), order)
    await eventually(lambda: waiting(process))
    await replicas.clock.run_for(61)

    result = await process.executor.result("order-1", timeout=5)

    assert result.state is SagaState.COMPENSATED
    assert result.error is not None
    assert result.error.code == "TIMEOUT"
    assert replicas.effects == ["a", "undo a(None)"]


async def waiting(process: Any) -> bool:
    status = await process.executor.status("order-1")
    return bool(status.state is SagaState.WAITING)


# --- dead letters ---


async def with_a_letter(replicas: Replicas, broken: list[Exception], **prepare: Any) -> Process:
    async def execute(data: Data, saga: SagaContext) -> str:
        async def undo(_: object) -> None:
            replicas.effects.append("undo a")
            if broken:
                raise broken[0]

        await saga.step("a", replicas.effect("a"), compensate=undo)
        raise NO_LUCK

    order = saga_of(execute, compensation_retry=ONCE)
    process = await replicas.start(order, **prepare)
    await process.execute("order-1", order)
    return process


def queue_of(process: Process) -> DeadLetterQueue:
    return process.app.get(DeadLetterQueue)


async def test_the_replay_of_a_dead_letter_compensates_its_saga(replicas: Replicas) -> None:
    broken: list[Exception] = [OSError("stuck")]
    process = await with_a_letter(replicas, broken)
    broken.clear()

    replayed = await queue_of(process).replay("saga:order-1")

    assert replayed.is_success
    assert (await process.executor.status("order-1")).state is SagaState.COMPENSATED
    assert await queue_of(process).count() == 0
    assert replicas.effects == ["a", "undo a", "undo a"]


async def test_a_replay_that_fails_again_updates_the_dead_letter(replicas: Replicas) -> None:
    process = await with_a_letter(replicas, [OSError("stuck")])

    replayed = await queue_of(process).replay("saga:order-1")
    [letter] = (await queue_of(process).find()).letters

    assert isinstance(replayed, Failure)
    assert (replayed.error.code, letter.replays) == ("NO_LUCK", 1)
    assert (await process.executor.status("order-1")).state is SagaState.COMPENSATION_FAILED


async def test_the_dead_letter_of_a_saga_that_an_operator_resumed_goes_with_its_replay(
    replicas: Replicas,
) -> None:
    broken: list[Exception] = [OSError("stuck")]
    process = await with_a_letter(replicas, broken)
    broken.clear()
    await process.executor.resume("order-1")
    await process.executor.result("order-1", timeout=5)

    replayed = await queue_of(process).replay("saga:order-1")

    assert replayed.is_success
    assert await queue_of(process).count() == 0
    assert replicas.effects == ["a", "undo a", "undo a"]


async def test_a_replay_waits_for_a_time_and_leaves_the_letter(replicas: Replicas) -> None:
    broken: list[Exception] = [OSError("stuck")]
    process = await with_a_letter(replicas, broken)
    letters = process.app.get(DeadLetterStore)
    letter = await letters.get("saga:order-1")
    assert letter is not None
    replayer = SagaReplayer(process.executor, letters, replicas.clock, longest_wait=0)
    broken.clear()

    late = await replayer.replay(letter, 1)
    await process.executor.result("order-1", timeout=5)

    assert isinstance(late, Failure)
    assert late.error.code == "TIMEOUT"
    assert await letters.count() == 1
    assert (await queue_of(process).replay("saga:order-1")).is_success


async def test_a_dead_letter_of_a_saga_has_no_dry_run(replicas: Replicas) -> None:
    process = await with_a_letter(replicas, [OSError("stuck")])

    dry = await queue_of(process).replay("saga:order-1", dry_run=True)

    assert isinstance(dry.result, Failure)
    assert dry.result.error.code == "VALIDATION_FAILED"
    assert replicas.effects == ["a", "undo a"]


async def test_a_dead_letter_of_a_saga_is_replayed_beside_those_of_handlers(
    replicas: Replicas,
) -> None:
    broken: list[Exception] = [OSError("stuck")]
    process = await with_a_letter(replicas, broken, prepare=add_dead_letters)
    broken.clear()

    assert (await queue_of(process).replay("saga:order-1")).is_success
