"""`Compensation`: undoes the completed steps of a saga in reverse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from catga_core.errors.codes import is_fault
from catga_core.interfaces.saga_records import SagaPause, SagaState
from catga_core.log import SAGA_COMPENSATING, SAGA_COMPENSATION_FAILED, logger
from catga_core.messages import Command
from catga_core.messages.context import current_context
from catga_core.sagas.entries import Compensated, CompensationFailed, Failing
from catga_core.sagas.execution import Execution
from catga_core.sagas.failures import recorded_error
from catga_core.sagas.records import Outcome, encode_record
from catga_core.sagas.saga import Saga
from catga_core.sagas.settings import Services
from catga_core.sagas.steps import Steps
from catga_core.sagas.types import SagaType


class Compensation:
    """The compensation of one run.

    Args:
        execution: The run.
        steps: Its steps.
        type_: The saga's class.
        services: Services and policies.
    """

    def __init__(self, execution: Execution, steps: Steps, type_: SagaType, services: Services) -> None:
        self._execution = execution
        self._steps = steps
        self._type = type_
        self._services = services
        self._failed = False

    async def run(
        self, saga: Saga[Any, Any], data: Any, error: BaseException, *, cancelled: bool
    ) -> SagaPause:
        """Compensate the completed steps, then the saga; return its outcome.

        Args:
            saga: The saga.
            data: Its data.
            error: The error of the saga.
            cancelled: Whether it was cancelled.

        Raises:
            SagaStop: The process stops, or another process owns the saga.
        """
        execution = self._execution
        execution.begin_compensation()
        failing = execution.history.failing
        if failing is None:
            failing = Failing(recorded_error(error, f"the saga {self._type.name!r}"), cancelled)
            execution.history.failing = failing
            execution.journal.record(failing, SagaState.COMPENSATING)
            await execution.journal.durable()
            # A rejection is a normal outcome, such as a declined card.
            decided = not (failing.error.retryable or is_fault(failing.error.code))
            (logger().info if decided else logger().warning)(
                SAGA_COMPENSATING,
                transaction_id=execution.id,
                saga=self._type.name,
                code=failing.error.code,
                error=failing.error.message,
            )
        for done in sorted(self._steps.done, key=lambda each: each.index, reverse=True):
            await self._undo(done.key, done.name, done.compensate)
        if self._type.compensates:
            await self._undo("", "compensate", lambda: saga.compensate(data))
        state = SagaState.CANCELLED if failing.cancelled else SagaState.COMPENSATED
        if self._failed:
            state = SagaState.COMPENSATION_FAILED
        return SagaPause(state, outcome=encode_record(Outcome(None, failing.error)))

    async def _send(self, command: Any) -> None:
        result = await self._services.mediator.send(command, message_id=current_context().message_id)
        result.unwrap()

    async def _undo(self, key: str, name: str, compensate: Callable[[], Any]) -> None:
        execution = self._execution
        recorded = execution.history.compensations.get(key)
        if recorded is not None:
            self._failed |= isinstance(recorded, CompensationFailed)
            return
        execution.check(execution.root)
        await execution.journal.durable()

        async def run() -> None:
            found = compensate()
            if hasattr(found, "__await__"):
                found = await found
            given: Any = found
            if isinstance(given, Command):
                await self._send(found)

        async def pause(seconds: float) -> None:
            await execution.pause(execution.root, seconds)

        retry = self._type.mark.compensation_retry or self._services.compensation_retry
        attempts = self._steps.attempts(name, key, "undo", retry, self._type.mark.step_timeout)
        ended = await attempts.run(run, execution.clock, pause, lambda: None)
        self._services.counters.retried += ended.attempts - 1
        now = execution.clock.time()
        if ended.error is None:
            execution.journal.record(Compensated(key, ended.attempts, now))
            return
        self._failed = True
        kept = recorded_error(ended.error, f"the compensation of {name!r}")
        execution.journal.record(CompensationFailed(key, kept, ended.attempts, now))
        logger().error(
            SAGA_COMPENSATION_FAILED,
            transaction_id=execution.id,
            saga=self._type.name,
            step=name,
            code=kept.code,
            error=kept.message,
        )
