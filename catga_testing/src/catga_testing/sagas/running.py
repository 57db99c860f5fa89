"""Runs a saga once, across all the processes that die during it."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from typing import Any

import msgspec

from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.saga_records import SagaState, SavedSaga
from catga_core.interfaces.saga_store import SagaStore
from catga_core.interfaces.stores import Stores
from catga_core.memory.stores import MemoryDeadLetterStore, MemorySagaStore, MemoryStorage
from catga_core.messages.registry import MessageRegistry
from catga_core.sagas import SagaOptions, SagaResult
from catga_core.sagas.records import result_of
from catga_testing.sagas.deliveries import Deliveries
from catga_testing.sagas.faults import Fault
from catga_testing.sagas.process import Kind, Process
from catga_testing.sagas.timeline import Moment
from catga_testing.sagas.trial import CrashedError, Trial
from catga_testing.sagas.virtual_time import VirtualClock, VirtualLoop, end_other_tasks
from catga_testing.sagas.world import bind, handlers_of, services_of


class Subject(msgspec.Struct, frozen=True):
    """What is explored.

    Args:
        transaction_id: The transaction id of the saga.
        data: What it begins with.
        kinds: The sagas, by name and version; the explored one is the first.
        world: Makes a world.
        invariant: Checks the world and the result; raises, or returns `False`, where something is wrong.
        options: How sagas are run.
        within: Virtual seconds for one run.
        ends: How a run without faults ends, `None` for any final state.
        cancel: Whether it is cancelled as well.
    """

    transaction_id: str
    data: Any
    kinds: Mapping[tuple[str, int], Kind]
    world: Callable[[], Any]
    invariant: Callable[[Any, SagaResult[Any]], object]
    options: SagaOptions
    within: float
    ends: SagaState | None
    cancel: bool = False


class Ran(msgspec.Struct, frozen=True):
    """What was seen in one run.

    Args:
        faults: The faults that were injected.
        problem: What is wrong, `None` for nothing.
        further: Faults that could be added.
        seconds: The virtual seconds that it took.
        moments: Its timeline.
        points: The changes after which its processes could crash.
    """

    faults: tuple[Fault, ...]
    problem: str | None
    further: list[Fault]
    seconds: float
    moments: list[Moment]
    points: int


class OneRun:
    """One run, in the running virtual loop.

    Args:
        subject: What is explored.
        faults: The faults.
    """

    def __init__(self, subject: Subject, faults: Iterable[Fault]) -> None:
        self._subject = subject
        self._faults = tuple(faults)
        self.trial: Trial = Trial(self._faults, self._cancel if subject.cancel else None)
        self._clock = VirtualClock()
        self._storage = storage = MemoryStorage()
        self._store = MemorySagaStore(storage, self._clock)
        self._stores = Stores(
            storage, {SagaStore: self._store, DeadLetterStore: MemoryDeadLetterStore(storage)}
        )
        self._world = subject.world()
        types = [each.read for each in subject.kinds.values()]
        self._deliveries = Deliveries(self.trial, handlers_of(self._world), types, self._store, self._notify)
        self._process: Process | None = None
        self._processes = 0
        self._cancelling: asyncio.Task[None] | None = None
        bind(self._world, self._deliveries)

    async def run(self) -> Ran:
        """Run the saga to its end, and check its outcome."""
        loop = asyncio.get_running_loop()
        if isinstance(loop, VirtualLoop):
            loop.rewind()
        began = loop.time()
        # Retries are spread at random; a run must be the same each time.
        state = random.getstate()
        random.seed(0)
        try:
            problem = await self._run_to_end(began)
            if problem is None:
                problem = await self._check()
        finally:
            random.setstate(state)
            if self._process is not None:
                self._process.life.dead = True
            await end_other_tasks()
        seconds = asyncio.get_running_loop().time() - began
        moments = [msgspec.structs.replace(each, at=each.at - began) for each in self.trial.moments]
        further = self.trial.further if self.trial.injected_all else []
        return Ran(self._faults, problem, further, seconds, moments, self.trial.changes)

    # --- parts ---

    async def _run_to_end(self, began: float) -> str | None:
        subject, trial = self._subject, self.trial
        loop = asyncio.get_running_loop()
        process = await self._next_process()
        while True:
            if trial.runaway:
                return "the saga does not end: it ran thousands of steps"
            if process.life.dead:
                process = await self._next_process()
            try:
                await self._start(process)
            except CrashedError:
                continue
            while not process.life.dead:
                if await self._has_ended() and not trial.pending:
                    return None
                left = began + subject.within - loop.time()
                if left <= 0:
                    return f"the saga has not ended within {subject.within:g} virtual seconds"
                if await self._is_stuck():
                    return "the saga waits for an event that was not published"
                await self._next_change(left)

    async def _start(self, process: Process) -> None:
        """Start the saga; the caller asks again after a crash."""
        saga = next(iter(self._subject.kinds.values())).read.cls
        await process.executor.start(self._subject.transaction_id, self._subject.data, saga)

    async def _next_process(self) -> Process:
        subject, trial = self._subject, self.trial
        self._processes += 1
        trial.died.clear()
        if self._processes > 1:
            trial.note(self._processes, "another process starts")
        process = Process(
            self._processes,
            trial,
            subject.kinds,
            services_of(self._world),
            self._stores,
            self._deliveries,
            self._clock,
            MessageRegistry(),
            subject.options,
        )
        self._process = process
        await process.start()
        return process

    async def _has_ended(self) -> bool:
        record = await self._store.get(self._subject.transaction_id)
        return record is not None and (record.state.is_final or record.problem is not None)

    async def _is_stuck(self) -> bool:
        record = await self._store.get(self._subject.transaction_id)
        waits = record is not None and not record.leased and record.due_at is None
        if not waits or self.trial.pending:
            return False
        page = await self._store.find()
        # A child saga may run.
        return all(each.due_at is None for each in page.records)

    async def _next_change(self, left: float) -> None:
        """Wait until the saga has ended, the process has died, or it may be stuck."""
        limit = min(left, 4 * self._subject.options.lease_seconds)
        ended = asyncio.ensure_future(self._store.wait_final(self._subject.transaction_id, timeout=limit))
        died = asyncio.ensure_future(self.trial.died.wait())
        await asyncio.wait([ended, died], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        died.cancel()
        if self.trial.pending and await self._has_ended():
            # Late deliveries are part of the run.
            await asyncio.sleep(1.0)

    def _cancel(self) -> None:
        """Cancel the saga, as a client does that asks any process."""

        async def cancel() -> None:
            await self._store.cancel(self._subject.transaction_id)
            if self._process is not None:
                self._process.executor.runs.interrupt(self._subject.transaction_id)

        self._cancelling = asyncio.Task(cancel(), loop=asyncio.get_running_loop(), context=Context())

    def _notify(self, topic: str) -> None:
        if self._process is not None and not self._process.life.dead:
            self._process.executor.notify(topic)

    async def _check(self) -> str | None:
        saved = await self._store.read(self._subject.transaction_id)
        if saved is None:
            return "the saga was lost"
        record, result = saved.record, self._result_of(saved)
        if record.problem is not None:
            return f"the saga is parked: {result.error}"
        if record.state is SagaState.COMPENSATION_FAILED:
            return (
                f"a compensation failed for good, and an operator is needed: {_failed_compensation(result)}"
            )
        if not self._faults and self._subject.ends not in {None, record.state}:
            return f"without any fault the saga ends as {record.state.value}: {result.error}"
        try:
            found = self._subject.invariant(self._world, result)
            if inspect.isawaitable(found):
                found = await found
        except Exception as error:  # noqa: BLE001 - whatever it is, the invariant does not hold
            return f"the invariant does not hold: {str(error) or type(error).__name__}"
        return "the invariant does not hold" if found is False else None

    def _result_of(self, saved: SavedSaga) -> SagaResult[Any]:
        kind = self._subject.kinds.get((saved.record.saga.name, saved.record.saga.version))
        return result_of(saved, None if kind is None else kind.read)


def _failed_compensation(result: SagaResult[Any]) -> str:
    failed = [each for each in result.steps if each.state.value == "compensation_failed"]
    return ", ".join(f"{each.name!r}: {each.error}" for each in failed) or "compensate of the saga"
