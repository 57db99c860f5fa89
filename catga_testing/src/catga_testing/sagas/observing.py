"""A saga as an exploration runs it: the user's class, with its steps and compensations observed."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from catga_core.messages.context import current_context
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas import Saga, SagaContext
from catga_core.sagas.steps import Asked, Steps
from catga_core.sagas.undoing import Done
from catga_testing.sagas.faults import StepFault
from catga_testing.sagas.timeline import brief
from catga_testing.sagas.trial import Life, RunningStep, Trial, injected_error, running_step


class Observer:
    """Runs the steps and compensations of one process with the faults of a run.

    Args:
        trial: The run.
        life: The process.
    """

    def __init__(self, trial: Trial, life: Life) -> None:
        self._trial = trial
        self._life = life

    def observed(
        self, work: Callable[..., Any], name: str, *, undoes: bool, retried: bool, can_fail: bool = False
    ) -> Callable[..., Awaitable[Any]]:
        """Return a step's function, or a compensation, with its faults.

        Args:
            work: The function.
            name: Its name.
            undoes: Whether it is a compensation.
            retried: Whether it is tried again after a failure.
            can_fail: Whether it may fail for good.
        """
        trial, life = self._trial, self._life
        what = f"compensation of {name!r}" if undoes else f"step {name!r}"

        async def run(*given: Any) -> Any:
            life.check()
            trial.ran.setdefault(current_context().message_id, (name, undoes))
            step = RunningStep(current_context().message_id, what, retried=retried, can_fail=can_fail)
            fault = trial.step_fault(step)
            trial.note(life.number, what)
            if fault is not None and fault is not StepFault.LOST:
                trial.note(life.number, f"{what} {fault.value}", injected=True)
                raise injected_error(fault)
            before = trial.changes
            token = running_step.set(step)
            try:
                found = work(*given)
                if inspect.isawaitable(found):
                    found = await found
            except Exception as error:
                trial.note(life.number, f"{what} raises {brief(error)}")
                raise
            finally:
                running_step.reset(token)
            if trial.changes == before:
                # Its effect, if it has one, was none of a proxied service.
                trial.changed(life, what)
            life.check()
            if fault is StepFault.LOST:
                trial.note(life.number, f"{what}: the answer is lost", injected=True)
                raise injected_error(fault)
            return found

        return run


class ObservedSteps(Steps):
    """The steps of one run of a saga's code, observed.

    Args:
        inner: The steps.
        observer: Observes.
    """

    def __init__(self, inner: Steps, observer: Observer) -> None:
        super().__init__(
            inner._execution, inner._type, inner._services, inner._correlation_id, inner._traceparent
        )
        self.done: list[Done] = inner.done
        self._observer = observer

    async def step(self, asked: Asked) -> Any:
        """Run a step with the faults of the run."""
        services, mark, execution = self._services, self._type.mark, self._execution
        retry: RetryPolicy = asked.retry or mark.retry or services.retry
        undo_retry = mark.compensation_retry or services.compensation_retry
        retried = execution.committed or retry.allows(1)
        observed = self._observer.observed
        # Asked for when the step runs: behind the commit point, no step fails for good.
        run = observed(asked.run, asked.name, undoes=False, retried=retried, can_fail=not execution.committed)
        compensate = asked.compensate
        if compensate is not None:
            compensate = observed(compensate, asked.name, undoes=True, retried=undo_retry.allows(1))
        return await super().step(msgspec.structs.replace(asked, run=run, compensate=compensate))

    async def on_compensate(self, name: str, compensate: Callable[[], object]) -> None:
        """Record a compensation that belongs to no step."""
        retry = self._type.mark.compensation_retry or self._services.compensation_retry
        undo = self._observer.observed(compensate, name, undoes=True, retried=retry.allows(1))
        await super().on_compensate(name, undo)


def observed_class(cls: type[Saga[Any, Any]]) -> type[Saga[Any, Any]]:
    """Return a class whose objects run as those of a saga's class, observed by the observer that `observe` gives them."""

    class Observed(cls):  # type: ignore[misc,valid-type]  # the class is known when the tests run
        async def execute(self, data: Any, saga: SagaContext, /) -> Any:
            steps = ObservedSteps(saga._steps, _observer_of(self))
            context = SagaContext(saga._execution, saga._type, saga._services, steps)
            return await super().execute(data, context)

    declared: Any = cls
    base: Any = Saga
    own = declared.compensate
    if own is not base.compensate:

        async def compensate(self: Any, data: Any) -> None:
            observer = _observer_of(self)
            await observer.observed(lambda: own(self, data), "compensate", undoes=True, retried=True)()

        setattr(Observed, "compensate", compensate)  # noqa: B010 - added to the class that was just made
    Observed.__name__, Observed.__qualname__ = cls.__name__, cls.__qualname__
    Observed.__module__ = cls.__module__
    return Observed


def _observer_of(saga: object) -> Observer:
    found: Observer = vars(saga)["_catga_observer"]
    return found


def observe(saga: Saga[Any, Any], observer: Observer) -> None:
    """Have the object of an observed class observed."""
    vars(saga)["_catga_observer"] = observer
