"""`Steps`: runs the steps of a saga, or returns what they have recorded."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import msgspec

from catga_core.errors import CatgaError
from catga_core.option_checks import check_name, check_seconds
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas.attempts import Attempts, Ended, step_id
from catga_core.sagas.branches import Branch
from catga_core.sagas.entries import Mark, Step, StepFailed
from catga_core.sagas.execution import Execution
from catga_core.sagas.failures import raised_again, recorded_error
from catga_core.sagas.saga import Saga
from catga_core.sagas.settings import Services
from catga_core.sagas.signals import end_topic
from catga_core.sagas.types import SagaType
from catga_core.sagas.undoing import Done
from catga_core.sagas.values import decode_value, encode_value

_FORWARD = RetryPolicy(max_attempts=None, delay_seconds=0.2, max_delay_seconds=30.0)
"""For steps behind the commit point."""


class Asked(msgspec.Struct, frozen=True):
    """A step that the code asks for; the fields are the arguments of `SagaContext.step`."""

    name: str
    run: Callable[[], Any]
    compensate: Callable[[Any], object] | None = None
    retry: RetryPolicy | None = None
    timeout: float | None = None
    returns: Any = None
    in_unit_of_work: bool = False


class Steps:
    """The steps of one run.

    Args:
        execution: The run.
        type_: The saga's class.
        services: Services and policies.
        correlation_id: The conversation that the saga belongs to.
        traceparent: The trace that the saga belongs to.
    """

    def __init__(
        self,
        execution: Execution,
        type_: SagaType,
        services: Services,
        correlation_id: str,
        traceparent: str | None,
    ) -> None:
        self.done: list[Done] = []
        self._execution = execution
        self._type = type_
        self._services = services
        self._correlation_id = correlation_id
        self._traceparent = traceparent
        self._patches: dict[str, bool] = {}

    async def step(self, asked: Asked) -> Any:
        """Run a step, or return or raise what it has recorded."""
        name = asked.name
        check_name("name", name)
        check_seconds("timeout", asked.timeout, optional=True)
        execution = self._execution
        branch = execution.here()
        branch.begin(name)
        try:
            key = branch.key(name)
            found = execution.recorded(branch, (Step, StepFailed), name)
            if found is None:
                await execution.go_on(branch)
                await execution.journal.durable()
                index, value = await self._run(branch, key, asked)
            else:
                index, entry = found
                if isinstance(entry, StepFailed):
                    raise raised_again(entry.error)
                value = decode_value(entry.value, asked.returns)
            if (compensate := asked.compensate) is not None:
                self._can_undo(index, key, name, lambda: compensate(value))
            return value
        finally:
            branch.busy = None

    async def child(self, name: str, saga: type[Saga[Any, Any]], data: Any, *, compensate: bool) -> Any:
        """Run another saga, or return or raise what it has recorded."""
        execution, children = self._execution, self._services.children
        branch = execution.here()
        child_type = children.type_of(saga)
        branch.begin(name)
        try:
            key = branch.key(name)
            child = step_id(execution.id, key, "saga")
            found = execution.recorded(branch, (Step, StepFailed), name)
            if found is None:
                await execution.go_on(branch)
                await execution.journal.durable()
                began_at = execution.clock.time()
                await children.begin_child(execution.id, child, saga, data)
                found = await self._end_of_child(branch, name, child, child_type, began_at)
            index, entry = found
            if isinstance(entry, StepFailed):
                raise raised_again(entry.error)
            if compensate:
                self._can_undo(index, key, name, lambda: children.compensate_child(child))
            return child_type.decode_result(entry.value.data)
        finally:
            branch.busy = None

    async def on_compensate(self, name: str, compensate: Callable[[], object]) -> None:
        """Record a compensation that belongs to no step."""
        execution = self._execution
        branch = execution.here()
        branch.begin(name)
        try:
            key = branch.key(name)
            index = await self._mark(branch, name, "compensation")
            self._can_undo(index, key, name, compensate)
        finally:
            branch.busy = None

    async def commit_point(self) -> None:
        """Record that nothing is compensated any more."""
        branch = self._execution.here()
        branch.begin("commit point")
        try:
            await self._mark(branch, "commit point", "commit_point")
            self._execution.committed = True
        finally:
            branch.busy = None

    def patched(self, name: str) -> bool:
        """Return whether this run has a change of the code, and record that it has."""
        known = self._patches.get(name)
        if known is not None:
            return known
        execution = self._execution
        branch = execution.here()
        if branch.is_live:
            has = True
            execution.journal.record(Mark(branch.path, name, "patch"))
        else:
            _, entry = branch.recorded[branch.at]
            has = isinstance(entry, Mark) and (entry.kind, entry.name) == ("patch", name)
            if has:
                execution.recorded(branch, Mark, name)
        self._patches[name] = has
        return has

    def attempts(
        self, name: str, key: str, direction: str, retry: RetryPolicy, timeout: float | None
    ) -> Attempts:
        """Return how a step or a compensation is run."""
        return Attempts(
            self._execution.id,
            name,
            step_id(self._execution.id, key, direction),
            self._correlation_id,
            self._traceparent,
            retry,
            timeout,
        )

    # --- parts ---

    async def _run(self, branch: Branch, key: str, asked: Asked) -> tuple[int, Any]:
        execution, mark = self._execution, self._type.mark
        retry = asked.retry or mark.retry or self._services.retry
        timeout = asked.timeout if asked.timeout is not None else mark.step_timeout
        attempts = self.attempts(asked.name, key, "do", _FORWARD if execution.committed else retry, timeout)
        began_at = execution.clock.time()

        async def pause(seconds: float) -> None:
            await execution.pause(branch, seconds)

        def recorded(value: Any, attempt: int) -> Step:
            kept = encode_value(value, asked.returns)
            return Step(branch.path, asked.name, kept, attempt, began_at, execution.clock.time())

        index: int | None = None
        if asked.in_unit_of_work:
            together = _Together(self._services, execution, asked.run, recorded)
            ended = await attempts.run(together.attempt, execution.clock, pause, execution.time_left)
            index = together.index
        else:
            ended = await attempts.run(asked.run, execution.clock, pause, execution.time_left)
        if ended.error is None and index is None:
            try:
                index = execution.journal.record(recorded(ended.value, ended.attempts))
            except CatgaError as refused:
                ended = Ended(None, refused, ended.attempts)
        if ended.error is not None:
            self._failed(branch, asked.name, ended, began_at)
            raise ended.error
        assert index is not None  # noqa: S101 - for type checkers
        return index, ended.value

    def _failed(self, branch: Branch, name: str, ended: Ended, began_at: float) -> None:
        assert ended.error is not None  # noqa: S101 - for type checkers
        error = recorded_error(ended.error, f"the step {name!r}")
        now = self._execution.clock.time()
        self._execution.journal.record(StepFailed(branch.path, name, error, ended.attempts, began_at, now))

    async def _end_of_child(
        self, branch: Branch, name: str, child: str, child_type: SagaType, began_at: float
    ) -> tuple[int, Step | StepFailed]:
        execution = self._execution
        while True:
            try:
                ended = await self._services.children.end_of(child)
            except CatgaError as error:
                kept = recorded_error(error, f"the saga {name!r}")
                failed = StepFailed(branch.path, name, kept, 1, began_at, execution.clock.time())
                return execution.journal.record(failed), failed
            if ended is not None:
                value = encode_value(ended.value, child_type.result)
                entry = Step(branch.path, name, value, 1, began_at, execution.clock.time())
                return execution.journal.record(entry), entry
            await execution.wait(branch, None, end_topic(child))

    async def _mark(self, branch: Branch, name: str, kind: str) -> int:
        found = self._execution.recorded(branch, Mark, name)
        if found is not None:
            return found[0]
        await self._execution.go_on(branch)
        index = self._execution.journal.record(Mark(branch.path, name, kind))
        await self._execution.journal.durable()
        return index

    def _can_undo(self, index: int, key: str, name: str, compensate: Callable[[], object]) -> None:
        self.done.append(Done(index, key, name, compensate))


class _Together:
    """Attempts of a step that is recorded in the unit of work in which it runs."""

    def __init__(
        self,
        services: Services,
        execution: Execution,
        run: Callable[[], Any],
        recorded: Callable[[Any, int], Step],
    ) -> None:
        self.index: int | None = None
        self._services = services
        self._execution = execution
        self._run = run
        self._recorded = recorded
        self._attempts = 0
        self._value: Any = None

    async def attempt(self) -> Any:
        self._attempts += 1
        self.index = await self._execution.journal.together(self._services.storage(), self._work)
        return self._value

    async def _work(self) -> Step:
        found: Any = self._run()
        if inspect.isawaitable(found):
            found = await found
        self._value = found
        return self._recorded(self._value, self._attempts)
