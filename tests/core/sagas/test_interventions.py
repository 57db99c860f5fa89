"""What an operator does with a saga whose code changed: compensates it, or migrates its journal."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from catga_core import CatgaError
from catga_core.errors import ConfigurationError, ConflictError, SagaChangedError, SagaNotFoundError
from catga_core.interfaces import SagaStore
from catga_core.memory.stores import memory_stores
from catga_core.sagas import JournalEntry, SagaContext, SagaFilter, SagaState
from catga_testing.waiting import eventually
from tests.core.sagas.replicas import Data, Execute, Process, Replicas, saga_of


class Packed(msgspec.Struct, frozen=True):
    boxes: int


def code(replicas: Replicas, *names: str, returns: Any = None) -> Execute:
    async def execute(data: Data, saga: SagaContext) -> str:
        found: list[Any] = []
        for name in names:
            run = replicas.effect(name, result=f"{name} done" if returns is None else returns)
            found.append(await saga.step(name, run, compensate=replicas.effect(f"undo {name}")))
        return ", ".join(map(str, found))

    return execute


async def parked(
    replicas: Replicas, old: Execute, new: Execute, *, dies_at: float, **declared: Any
) -> Process:
    """Return a process in which a saga is parked: it was begun by old code, and is run by new code."""
    first = await replicas.start(saga_of(old), dies_at=dies_at)
    await first.executor.start("order-1", Data(), _class_in(first))
    second = await replicas.taken_over(first, saga_of(new, **declared))

    async def is_parked() -> bool:
        return bool((await second.executor.find(SagaFilter(parked=True))).records)

    await eventually(is_parked)
    replicas.effects.clear()
    return second


def _class_in(process: Process) -> Any:
    [type_] = process.executor._types.values()
    return type_.cls


async def stored(process: Process) -> Any:
    return await process.app.get(SagaStore).read("order-1")


# --- the record of a mismatch ---


async def test_a_parked_saga_names_what_it_recorded_and_what_was_asked(replicas: Replicas) -> None:
    process = await parked(
        replicas, code(replicas, "charge", "pack", "ship"), code(replicas, "charge", "wrap"), dies_at=4
    )

    problem = (await process.executor.status("order-1")).problem

    assert isinstance(problem, SagaChangedError)
    assert (problem.recorded, problem.asked) == ("the step 'pack'", "the step 'wrap'")
    assert problem.journal == ["the step 'charge'", "the step 'pack'"]


# --- compensate ---


async def test_a_parked_saga_is_compensated_where_the_code_comes_to_each_step(replicas: Replicas) -> None:
    process = await parked(
        replicas,
        code(replicas, "charge", "pack", "ship", "mail"),
        code(replicas, "charge", "pack", "wrap"),
        dies_at=5,
    )

    with pytest.raises(SagaChangedError) as caught:
        await process.executor.compensate("order-1")
    assert caught.value.recorded == "the step 'ship'"
    state = await process.executor.compensate("order-1", {"ship": None})
    result = await process.executor.result("order-1", timeout=5)

    assert state is SagaState.COMPENSATING
    assert result.state is SagaState.COMPENSATED
    assert isinstance(result.error, SagaChangedError)
    assert replicas.effects == ["undo pack(pack done)", "undo charge(charge done)"]


async def test_steps_that_the_code_does_not_come_to_need_a_compensation_of_the_operator(
    replicas: Replicas,
) -> None:
    process = await parked(
        replicas, code(replicas, "charge", "pack", "ship"), code(replicas, "pay", "pack", "ship"), dies_at=4
    )
    before = await stored(process)

    with pytest.raises(SagaChangedError) as caught:
        await process.executor.compensate("order-1", {"charge": replicas.effect("refund")})
    refused = await stored(process)
    await process.executor.compensate(
        "order-1", {"charge": replicas.effect("refund"), "pack": replicas.effect("unpack")}
    )
    result = await process.executor.result("order-1", timeout=5)

    assert caught.value.recorded == "the step 'pack'"
    assert (refused.entries, refused.record.problem) == (before.entries, before.record.problem)
    assert result.state is SagaState.COMPENSATED
    assert replicas.effects == ["unpack(pack done)", "refund(charge done)"]
    assert [(each.name, each.state.value) for each in result.steps] == [
        ("charge", "compensated"),
        ("pack", "compensated"),
    ]


async def test_a_compensation_of_the_operator_that_fails_is_a_failed_compensation(replicas: Replicas) -> None:
    process = await parked(replicas, code(replicas, "charge", "ship"), code(replicas, "pay"), dies_at=3)

    async def refund(_result: object) -> None:
        raise CatgaError("closed", code="CLOSED", retryable=False)

    await process.executor.compensate("order-1", {"charge": refund})
    result = await process.executor.result("order-1", timeout=5)

    assert result.state is SagaState.COMPENSATION_FAILED
    assert [each.error.code for each in result.steps if each.error is not None] == ["CLOSED"]


async def test_a_crash_while_an_operator_compensates_parks_the_saga_again(replicas: Replicas) -> None:
    old, new = code(replicas, "charge", "pack", "ship"), code(replicas, "pay")
    process = await parked(replicas, old, new, dies_at=4)
    undo = {"charge": replicas.effect("refund"), "pack": replicas.effect("unpack")}
    # The writes: parked, the compensation of `pack` (written before that of `charge` begins).
    process.store.dies_at = process.store.writes + 1.5
    await process.executor.compensate("order-1", undo)
    third = await replicas.taken_over(process, saga_of(new))
    interrupted = await third.executor.result("order-1", timeout=5)

    assert isinstance(interrupted.error, SagaChangedError)
    assert interrupted.state is SagaState.COMPENSATING
    await third.executor.compensate("order-1", undo)
    result = await third.executor.result("order-1", timeout=5)
    assert result.state is SagaState.COMPENSATED
    assert replicas.effects == ["unpack(pack done)", "refund(charge done)"]


async def test_only_a_parked_saga_is_compensated(replicas: Replicas) -> None:
    order = saga_of(code(replicas, "charge"))
    process = await replicas.start(order)
    await process.execute("order-1", order)

    with pytest.raises(ConflictError):
        await process.executor.compensate("order-1")
    with pytest.raises(SagaNotFoundError):
        await process.executor.compensate("order-2")

    assert (await process.executor.status("order-1")).state is SagaState.COMPLETED


async def test_a_saga_behind_its_commit_point_is_not_compensated(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        await saga.step("charge", replicas.effect("charge"), compensate=replicas.effect("refund"))
        await saga.commit_point()
        raise ValueError

    order = saga_of(execute)
    process = await replicas.start(order)
    await process.execute("order-1", order)

    with pytest.raises(ConflictError, match="commit point"):
        await process.executor.compensate("order-1")

    assert replicas.effects == ["charge"]


async def test_a_cancelled_saga_whose_code_changed_is_parked_and_not_half_compensated(
    replicas: Replicas,
) -> None:
    old, new = code(replicas, "charge", "pack", "ship"), code(replicas, "charge", "wrap")
    first = await replicas.start(saga_of(old), dies_at=4)
    await first.executor.start("order-1", Data(), _class_in(first))
    await eventually(lambda: first.store.dead)
    await memory_stores(replicas.clock, replicas.storage)[SagaStore].cancel("order-1")
    replicas.effects.clear()
    second = await replicas.taken_over(first, saga_of(new))

    result = await second.executor.result("order-1", timeout=5)

    assert isinstance(result.error, SagaChangedError)
    assert replicas.effects == []
    third = await replicas.start(saga_of(old))
    second.store.die()
    await third.executor.resume("order-1")
    resumed = await third.executor.result("order-1", timeout=5)
    assert resumed.state is SagaState.CANCELLED
    assert replicas.effects == ["undo pack(pack done)", "undo charge(charge done)"]


# --- migrate ---


def renamed(old: str, new: str) -> Any:
    def migrate(journal: Sequence[JournalEntry]) -> Sequence[JournalEntry]:
        return [each.renamed(new) if each.name == old else each for each in journal]

    return migrate


async def test_a_migrated_saga_goes_on_with_the_new_code(replicas: Replicas) -> None:
    process = await parked(
        replicas, code(replicas, "charge", "ship"), code(replicas, "pay", "ship"), dies_at=3
    )

    await process.executor.migrate("order-1", renamed("charge", "pay"))
    result = await process.executor.result("order-1", timeout=5)

    assert result.value == "charge done, ship done"
    assert replicas.effects == ["ship"]


async def test_a_migration_sees_and_makes_entries(replicas: Replicas) -> None:
    seen: list[tuple[str, str, str, object]] = []

    async def old(data: Data, saga: SagaContext) -> str:
        saga.now()
        await saga.step("charge", replicas.effect("charge", result=7))
        with suppress(CatgaError):
            await saga.gather(
                saga.step("pack", replicas.effect("pack", result=Packed(2))),
                saga.step(
                    "wrap", replicas.effect("wrap", fails=[CatgaError("no", code="NO", retryable=False)])
                ),
            )
        await saga.step("mail", replicas.effect("mail"))
        return ""

    async def new(data: Data, saga: SagaContext) -> str:
        packed = await saga.step("pack", replicas.effect("pack"), returns=Packed)
        paid = await saga.step("pay", replicas.effect("pay"))
        return f"{packed.boxes}, {paid}, {saga.patched('new')}, {await saga.step('ship', lambda: 1)}"

    def migrate(journal: Sequence[JournalEntry]) -> Sequence[JournalEntry]:
        seen.extend((each.kind, each.name, each.branch, each.result) for each in journal)
        [pack] = [each for each in journal if each.name == "pack"]
        [charge] = [each for each in journal if each.name == "charge"]
        return [
            pack.moved("").with_result(Packed(3), returns=Packed),
            JournalEntry.step("pay", charge.result + 1),
            JournalEntry.patch("new"),
        ]

    first = await replicas.start(saga_of(old), dies_at=6)
    await first.executor.start("order-1", Data(), _class_in(first))
    second = await replicas.taken_over(first, saga_of(new))
    await second.executor.result("order-1", timeout=5)
    await second.executor.migrate("order-1", migrate)
    result = await second.executor.result("order-1", timeout=5)

    assert seen[:2] == [("time", "", "", None), ("step", "charge", "", 7)]
    assert sorted(seen[2:]) == [("failed step", "wrap", "0.1/", None), ("step", "pack", "0.0/", Packed(2))]
    assert result.value == "3, 8, True, 1"
    assert all(each.began_at > 0 for each in result.steps)


@pytest.mark.parametrize(
    ("migrate", "error"),
    [
        (lambda journal: journal, SagaChangedError),
        (lambda journal: [*journal, JournalEntry.step("mail")], SagaChangedError),
        (renamed("charge", "ship"), SagaChangedError),
        (lambda journal: None, TypeError),
        (lambda journal: ["charge"], TypeError),
        (lambda journal: journal[0].renamed(""), ValueError),
    ],
)
async def test_a_migration_that_does_not_fit_changes_nothing(
    replicas: Replicas, migrate: Any, error: type[Exception]
) -> None:
    process = await parked(
        replicas, code(replicas, "charge", "ship"), code(replicas, "pay", "ship"), dies_at=3
    )
    before = await stored(process)

    with pytest.raises(error):
        await process.executor.migrate("order-1", migrate)
    after = await stored(process)

    assert after.entries == before.entries
    assert (after.record.problem, after.record.leased) == (before.record.problem, False)
    assert replicas.effects == []
    await process.executor.migrate("order-1", renamed("charge", "pay"))
    assert (await process.executor.result("order-1", timeout=5)).is_success


async def test_a_migration_along_which_the_code_fails_is_refused(replicas: Replicas) -> None:
    async def new(data: Data, saga: SagaContext) -> str:
        paid = await saga.step("pay", lambda: 1)
        return str(paid.amount)  # type: ignore[attr-defined] # what the code makes of another result

    process = await parked(replicas, code(replicas, "charge", "ship"), new, dies_at=3)

    with pytest.raises(ConflictError, match="AttributeError"):
        await process.executor.migrate("order-1", renamed("charge", "pay"))

    assert (await process.executor.status("order-1")).problem is not None


async def test_a_saga_is_migrated_to_another_version(replicas: Replicas) -> None:
    old = saga_of(code(replicas, "charge", "ship"))
    first = await replicas.start(old, dies_at=3)
    await first.executor.start("order-1", Data(), old)
    await eventually(lambda: first.store.dead)
    second = await replicas.start(saga_of(code(replicas, "pay", "ship"), version=2))
    await replicas.clock.run_for(31)

    with pytest.raises(ConfigurationError, match="v1 is not registered"):
        await second.executor.migrate("order-1", renamed("charge", "pay"))
    await second.executor.migrate("order-1", renamed("charge", "pay"), version=2)
    result = await second.executor.result("order-1", timeout=5)

    assert result.value == "charge done, ship done"
    assert (await second.executor.status("order-1")).version == 2


async def test_a_saga_that_waits_is_migrated(replicas: Replicas) -> None:
    def waiting(name: str) -> Execute:
        async def execute(data: Data, saga: SagaContext) -> str:
            await saga.step(name, replicas.effect(name))
            await saga.sleep(1000)
            await saga.step("ship", replicas.effect("ship"))
            return name

        return execute

    old = saga_of(waiting("charge"))
    process = await replicas.start(old, saga_of(waiting("pay"), version=2))
    await process.executor.start("order-1", Data(), old)

    async def waits() -> bool:
        return (await process.executor.status("order-1")).state is SagaState.WAITING

    await eventually(waits)
    await process.executor.migrate("order-1", renamed("charge", "pay"), version=2)
    await eventually(waits)
    await replicas.clock.run_for(1001)
    result = await process.executor.result("order-1", timeout=5)

    assert result.value == "pay"
    assert replicas.effects == ["charge", "ship"]


async def test_a_saga_that_has_ended_is_not_migrated(replicas: Replicas) -> None:
    order = saga_of(code(replicas, "charge"))
    process = await replicas.start(order)
    await process.execute("order-1", order)

    with pytest.raises(ConflictError):
        await process.executor.migrate("order-1", lambda journal: journal)


def test_entries_of_a_journal_refuse_what_they_do_not_have() -> None:
    step, patch = JournalEntry.step("a", 1, branch="0.1/"), JournalEntry.patch("p")

    with pytest.raises(ValueError, match="no result"):
        patch.with_result(1)
    with pytest.raises(ValueError, match="name"):
        JournalEntry.step("")
    assert repr(step) == "<step 'a' in '0.1/'>"
    assert step == JournalEntry.step("a", 1, branch="0.1/") != step.renamed("b")
    assert (patch.kind, patch.name, patch.result, patch.error) == ("patch", "p", None, None)


async def test_a_child_and_a_compensation_that_the_code_does_not_come_to_need_one_of_the_operator(
    replicas: Replicas,
) -> None:
    async def ship(data: Data, saga: SagaContext) -> str:
        return await saga.step("pack", replicas.effect("pack", result="packed"))

    async def old(data: Data, saga: SagaContext) -> str:
        await saga.on_compensate("mail", replicas.effect("never"))
        await saga.saga("shipping", shipping, data)
        await saga.sleep(1000)
        return ""

    async def new(data: Data, saga: SagaContext) -> str:
        return await saga.step("other", replicas.effect("other"))

    shipping = saga_of(ship, name="shipping")
    first = await replicas.start(saga_of(old), shipping)
    [order] = [each.cls for each in first.executor._types.values() if each.cls is not shipping]
    await first.executor.start("order-1", Data(), order)

    async def waits() -> bool:
        return (await first.executor.status("order-1")).waits_until is not None

    await eventually(waits)
    seen: list[JournalEntry] = []
    with pytest.raises(TypeError):
        await first.executor.migrate("order-1", lambda journal: seen.extend(journal))  # type: ignore[arg-type,return-value] # on purpose
    first.store.die()
    second = await replicas.start(saga_of(new), shipping)
    await replicas.clock.run_for(1001)
    await second.executor.result("order-1", timeout=5)
    replicas.effects.clear()

    with pytest.raises(SagaChangedError) as caught:
        await second.executor.compensate("order-1", {"mail": None})
    await second.executor.compensate(
        "order-1", {"mail": replicas.effect("unmail"), "shipping": replicas.effect("unship")}
    )
    result = await second.executor.result("order-1", timeout=5)

    assert [each.kind for each in seen] == ["compensation", "child", "step", "sleep"]
    with pytest.raises(ValueError, match="transaction id of the child"):
        seen[1].renamed("sending")
    assert caught.value.recorded == "the step 'shipping'"
    assert result.state is SagaState.COMPENSATED
    assert replicas.effects == ["unship(None)", "unmail(None)"]
