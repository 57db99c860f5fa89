"""Random histories beside a model: starts, crashes, takeovers, repetitions, cancellations and time, in any order."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from catga_core import CatgaError, current_context
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas import Saga, SagaContext, SagaResult, SagaState, saga
from catga_testing.waiting import eventually
from tests.core.sagas.replicas import LEASE, Crashed, Process, Replicas

Kind = Literal["step", "fails", "pause", "branches"]
KINDS: list[Kind] = ["step", "fails", "pause", "branches"]


class Plan(msgspec.Struct, frozen=True):
    """What a saga does."""

    number: int
    parts: tuple[Kind, ...]


class Start(msgspec.Struct, frozen=True):
    number: int


class Cancel(msgspec.Struct, frozen=True):
    number: int


class Crash(msgspec.Struct, frozen=True):
    """The process dies before its nth write from now, or after it with n + 0.5."""

    writes: float


class Turn(msgspec.Struct, frozen=True):
    """The loop gets so many turns."""

    count: int


class Tick(msgspec.Struct, frozen=True):
    seconds: int


Action = Start | Cancel | Crash | Turn | Tick

ACTIONS = st.lists(
    st.one_of(
        st.builds(Start, st.integers(0, 2)),
        st.builds(Cancel, st.integers(0, 2)),
        st.builds(Crash, st.sampled_from([0, 1, 1.5, 2, 2.5, 3, 3.5, 5, 5.5])),
        st.builds(Turn, st.integers(1, 30)),
        st.builds(Tick, st.sampled_from([1, 5, int(LEASE) + 1])),
    ),
    min_size=3,
    max_size=14,
)
PLANS = st.tuples(*(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4).map(tuple) for _ in range(3)))


class World:
    """The services of a saga: they do each thing once for a message id, and outlive every process."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.done: list[str] = []
        self.undone: list[str] = []

    async def do(self, name: str) -> str:
        await asyncio.sleep(0)
        if self._is_new():
            self.done.append(name)
        await asyncio.sleep(0)
        return name

    async def undo(self, name: str) -> None:
        await asyncio.sleep(0)
        if self._is_new():
            self.undone.append(name)

    def _is_new(self) -> bool:
        message_id = current_context().message_id
        new = message_id not in self.seen
        self.seen.add(message_id)
        return new


def saga_in(world: World) -> type[Saga[Plan, str]]:
    @saga(name="plan", retry=RetryPolicy(max_attempts=1))
    class Planned(Saga[Plan, str]):
        async def execute(self, data: Plan, saga: SagaContext) -> str:
            for index, kind in enumerate(data.parts):
                await self._run(f"{data.number}.{index}", kind, saga)
            return "done"

        async def _run(self, name: str, kind: Kind, saga: SagaContext) -> None:
            if kind == "pause":
                await saga.sleep(3)
            elif kind == "fails":
                raise CatgaError(name, code="NO_LUCK")
            elif kind == "branches":
                await saga.gather(self._step(f"{name}.a", saga), self._step(f"{name}.b", saga))
            else:
                await self._step(name, saga)

        async def _step(self, name: str, saga: SagaContext) -> None:
            await saga.step(name, lambda: world.do(name), compensate=world.undo)

    return Planned


class History:
    """Follows the actions, and looks at the end whether what happened can have happened."""

    def __init__(self, plans: tuple[tuple[Kind, ...], ...]) -> None:
        self.plans = [Plan(number, parts) for number, parts in enumerate(plans)]
        self.world = World()
        self.saga = saga_in(self.world)
        self.started: set[int] = set()
        self.cancelled: set[int] = set()
        self.results: list[SagaResult[str]] = []

    async def run(self, actions: list[Action]) -> None:
        # The tasks of processes that died are nobody's.
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _facts: None)
        replicas = Replicas()
        async with replicas.running:
            process = await replicas.start(self.saga)
            for action in actions:
                await self._act(replicas, process, action)
                if process.store.dead:
                    process = await replicas.start(self.saga)
            process.store.die()
            await self._end(replicas, await replicas.start(self.saga))
        self._check()

    async def _act(self, replicas: Replicas, process: Process, action: Action) -> None:
        match action:
            case Start(number):
                self.started.add(number)
                with suppress(Crashed):
                    await process.executor.start(f"plan-{number}", self.plans[number], self.saga)
            case Cancel(number) if number in self.started:
                with suppress(Crashed, CatgaError):
                    await process.executor.cancel(f"plan-{number}")
                    self.cancelled.add(number)
            case Crash(writes):
                process.store.dies_at = process.store.writes + writes
                if not writes:
                    process.store.die()
            case Turn(count):
                for _ in range(count):
                    await asyncio.sleep(0)
            case Tick(seconds):
                await replicas.clock.run_for(seconds)
            case _:
                pass

    async def _end(self, replicas: Replicas, process: Process) -> None:
        for number in self.started:
            await process.executor.start(f"plan-{number}", self.plans[number], self.saga)

        async def all_ended() -> bool:
            await replicas.clock.run_for(2)
            page = await process.executor.find()
            return all(each.state.is_final or each.problem is not None for each in page.records)

        await eventually(all_ended)
        for number in sorted(self.started):
            self.results.append(await process.executor.result(f"plan-{number}", timeout=5))

    def _check(self) -> None:
        world = self.world
        assert len(set(world.done)) == len(world.done), "nothing is done twice"
        assert len(set(world.undone)) == len(world.undone), "nothing is undone twice"
        for result in self.results:
            number = int(result.transaction_id.removeprefix("plan-"))
            fails = "fails" in self.plans[number].parts
            done = [name for name in world.done if name.startswith(f"{number}.")]
            undone = [name for name in world.undone if name.startswith(f"{number}.")]
            if result.state is SagaState.COMPLETED:
                assert not fails
                assert sorted(done) == sorted(_names(self.plans[number]))
                assert not undone
                continue
            assert result.state in {SagaState.COMPENSATED, SagaState.CANCELLED}
            assert fails or number in self.cancelled
            assert sorted(undone) == sorted(done), "all that was done is undone"
            if "branches" not in self.plans[number].parts:
                assert undone == done[::-1], "in reverse"


def _names(plan: Plan) -> list[str]:
    names: list[str] = []
    for index, kind in enumerate(plan.parts):
        name = f"{plan.number}.{index}"
        names += [name] if kind == "step" else [f"{name}.a", f"{name}.b"] if kind == "branches" else []
    return names


@settings(max_examples=60, deadline=None)
@given(plans=PLANS, actions=ACTIONS)
def test_what_was_done_is_finished_or_undone(
    plans: tuple[tuple[Kind, ...], ...], actions: list[Action]
) -> None:
    asyncio.run(History(plans).run(actions))
