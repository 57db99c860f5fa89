"""`Steps`: runs the steps of a saga, or returns their recorded results."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from catga_core.errors import CatgaError
from catga_core.messages.context import active_context
from catga_core.messages.message_context import MessageContext
from catga_core.option_checks import check_name, check_seconds
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas.attempts import Attempts, Ended, step_id
from catga_core.sagas.branches import Branch
from catga_core.sagas.entries import COMMIT_POINT, Mark, Step, StepFailed
from catga_core.sagas.execution import Execution
from catga_core.sagas.failures import raised_again, recorded_error
from catga_core.sagas.saga import Saga
from catga_core.sagas.settings import Services
from catga_core.sagas.signals import end_topic
from catga_core.sagas.stops import SagaStop
from catga_core.sagas.types import SagaType
from catga_core.sagas.undoing import Done
from catga_core.sagas.values import decode_value, encode_value

_FORWARD = RetryPolicy(max_attempts=None, delay_seconds=0.2, max_delay_seconds=30.0)
"""For steps behind the commit point."""


_STEPS = (Step, StepFailed)


class Asked(msgspec.Struct, frozen=True):
    """A step that the code asks for; the fields are the arguments of `SagaContext.step`."""

    name: str
    run: Callable[[], Any]
    compensate: Callable[[Any], object] | None = None
    retry: RetryPolicy | None = None
    timeout: float | None = None
    returns: Any = None
    in_unit_of_work: bool = False


def _is_plain(asked: Asked) -> bool:
    name: object = asked.name
    return type(name) is str and callable(asked.run)


def _check(asked: Asked) -> None:
    """Check the arguments of a step, before it has any effect.

    Raises:
        TypeError: `run` or `compensate` is not a function.
        ValueError: `name` or `timeout` is invalid.
    """
    check_name("name", asked.name)
    check_seconds("timeout", asked.timeout, optional=True)
    functions: tuple[tuple[str, Any], ...] = (("run", asked.run), ("compensate", asked.compensate))
    for argument, value in functions:
        if callable(value) or (value is None and argument == "compensate"):
            continue
        if inspect.iscoroutine(value):
            # Closed, it does not warn by itself as well.
            value.close()
        msg = (
            f"{argument} of the step {asked.name!r} must be a function; got {value!r}. Pass the function itself, or "
            "lambda: pay(order)."
        )
        raise TypeError(msg)


class Steps:
    """The steps of one run.

    Args:
        execution: The run.
        type_: The saga's class.
        services: Services and policies.
        correlation_id: The saga's correlation id.
        traceparent: The saga's trace context.
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
        """Run a step, or return or raise its recorded outcome."""
        name = asked.name
        # The arguments of most steps need no closer look.
        if not name or asked.compensate is not None or asked.timeout is not None or not _is_plain(asked):
            _check(asked)
        execution = self._execution
        branch = execution.here()
        branch.begin(name)
        try:
            key = branch.key(name)
            found = execution.recorded(branch, _STEPS, name)
            if found is None:
                if execution.history.left:
                    await execution.wait_for_others(branch)
                execution.check_step(branch)
                if execution.journal.is_behind:
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
        """Run a child saga, or return or raise its recorded outcome."""
        execution, children = self._execution, self._services.children
        branch = execution.here()
        child_type = children.type_of(saga)
        branch.begin(name)
        try:
            key = branch.key(name)
            child = step_id(execution.id, key, "saga")
            # Recorded before it begins, so that a cancellation in the meantime finds it.
            index = await self._mark(branch, name, "child")
            if compensate:
                self._can_undo(index, key, name, lambda: children.compensate_child(child))
            found = execution.recorded(branch, _STEPS, name)
            if found is None:
                await execution.go_on(branch)
                began_at = execution.clock.time()
                await execution.surely(branch, lambda: children.begin_child(execution.id, child, saga, data))
                found = await self._end_of_child(branch, name, child, child_type, began_at)
            _, entry = found
            if isinstance(entry, StepFailed):
                raise raised_again(entry.error)
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
        """Record the commit point."""
        branch = self._execution.here()
        branch.begin("commit point")
        try:
            await self._mark(branch, "commit point", COMMIT_POINT)
            self._execution.committed = True
        finally:
            branch.busy = None

    def patched(self, name: str) -> bool:
        """Return whether this saga runs a code change, and record it."""
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
        """Return the settings of the attempts of a step or a compensation."""
        return Attempts(
            self._execution.id,
            name,
            step_id(self._execution.id, key, direction),
            self._correlation_id,
            self._traceparent,
            retry,
            timeout,
        )

    async def together(self, work: Callable[[], Awaitable[Step]]) -> int:
        """Run work and record its entry in one unit of work."""
        return await self._execution.journal.together(self._services.storage(), work)

    # --- parts ---

    async def _run(self, branch: Branch, key: str, asked: Asked) -> tuple[int, Any]:
        execution, mark = self._execution, self._type.mark
        clock = execution.clock
        timeout = asked.timeout if asked.timeout is not None else mark.step_timeout
        began_at = clock.time()
        together: _Together | None = None
        run, failed = asked.run, None
        if asked.in_unit_of_work:
            together = _Together(self, branch, asked, began_at)
            run = together.attempt
        if together is None and timeout is None and execution.has_no_deadline:
            # Nearly every step: one attempt that succeeds costs nothing that only retries need.
            value, failed = await self._attempt(key, run)
            if failed is None:
                return self._record(branch, asked, value, 1, began_at)
        retry = asked.retry or mark.retry or self._services.retry
        attempts = self.attempts(asked.name, key, "do", _FORWARD if execution.committed else retry, timeout)

        is_last = False

        async def pause(seconds: float) -> None:
            nonlocal is_last
            if is_last:
                raise SagaStop
            is_last = await execution.pause(branch, seconds)

        ended = await attempts.run(run, clock, pause, execution.time_left, failed)
        self._services.counters.retried += ended.attempts - 1
        if ended.error is not None:
            self._failed(branch, asked.name, ended, began_at)
            raise ended.error
        if together is not None and together.index is not None:
            return together.index, ended.value
        return self._record(branch, asked, ended.value, ended.attempts, began_at)

    async def _attempt(self, key: str, run: Callable[[], Any]) -> tuple[Any, Exception | None]:
        bound = active_context.set(
            MessageContext(
                step_id(self._execution.id, key, "do"),
                self._correlation_id,
                self._execution.id,
                traceparent=self._traceparent,
            )
        )
        try:
            found = run()
            if hasattr(found, "__await__"):
                found = await found
        except Exception as error:  # noqa: BLE001 - it is retried, or recorded
            return None, error
        finally:
            active_context.reset(bound)
        return found, None

    def _record(
        self, branch: Branch, asked: Asked, value: Any, attempts: int, began_at: float
    ) -> tuple[int, Any]:
        try:
            entry = self.entry(branch, asked, value, attempts, began_at)
        except CatgaError as refused:
            self._failed(branch, asked.name, Ended(None, refused, attempts), began_at)
            raise
        return self._execution.journal.record(entry), value

    def entry(self, branch: Branch, asked: Asked, value: Any, attempts: int, began_at: float) -> Step:
        """Return the entry of a step that succeeded.

        Raises:
            SerializationError: Its result would not be read back as it is.
        """
        kept = encode_value(value, asked.returns)
        return Step(branch.path, asked.name, kept, attempts, began_at, self._execution.clock.time())

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
                ended = await execution.surely(branch, lambda: self._services.children.end_of(child))
                # An error of the child is the outcome of this step, also one that may pass.
                value = None if ended is None else ended.unwrap()
            except CatgaError as error:
                kept = recorded_error(error, f"the saga {name!r}")
                failed = StepFailed(branch.path, name, kept, 1, began_at, execution.clock.time())
                return execution.journal.record(failed), failed
            if ended is not None:
                kept_value = encode_value(value, child_type.result)
                entry = Step(branch.path, name, kept_value, 1, began_at, execution.clock.time())
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

    def __init__(self, steps: Steps, branch: Branch, asked: Asked, began_at: float) -> None:
        self.index: int | None = None
        self._steps = steps
        self._branch = branch
        self._asked = asked
        self._began_at = began_at
        self._attempts = 0
        self._value: Any = None

    async def attempt(self) -> Any:
        self._attempts += 1
        self.index = await self._steps.together(self._work)
        return self._value

    async def _work(self) -> Step:
        found: Any = self._asked.run()
        if inspect.isawaitable(found):
            found = await found
        self._value = found
        return self._steps.entry(self._branch, self._asked, found, self._attempts, self._began_at)
