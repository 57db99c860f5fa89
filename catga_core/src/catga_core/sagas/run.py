"""Runs one claimed saga in this process until it ends, waits, is handed back, or is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol

from catga_core.errors import CatgaError, LeaseLostError, SagaChangedError, SerializationError
from catga_core.interfaces.saga_records import (
    ClaimedSaga,
    SagaPause,
    SagaState,
)
from catga_core.interfaces.saga_store import SagaStore
from catga_core.log import SAGA_PARKED, logger
from catga_core.messages.results import Success
from catga_core.runtime.cancellation import cancelled_itself, passes_through
from catga_core.sagas.branches import current_branch
from catga_core.sagas.compensation import Compensation
from catga_core.sagas.context import SagaContext
from catga_core.sagas.execution import Execution
from catga_core.sagas.failures import catga_error, recorded_error
from catga_core.sagas.history import History
from catga_core.sagas.records import Beginning, Outcome, beginning_of, encode_record, steps_of
from catga_core.sagas.rehearsal import Rehearsal, rehearse, unread
from catga_core.sagas.results import SagaResult
from catga_core.sagas.saga import Saga
from catga_core.sagas.settings import Services
from catga_core.sagas.signals import end_signal
from catga_core.sagas.steps import Steps
from catga_core.sagas.stops import (
    HandedBack,
    Interrupted,
    Lost,
    Parked,
    Restarted,
    SagaStop,
    Suspended,
)
from catga_core.sagas.types import SagaType
from catga_core.sagas.undoing import Done
from catga_core.sagas.unreached import Unreached, unreached


class Make(Protocol):
    """Gives a saga's object to a function, and releases it afterwards."""

    def __call__(self, use: Callable[[Saga[Any, Any]], Awaitable[None]], /) -> Awaitable[None]:
        """Call a function with the object."""
        ...


class SagaRun:
    """One saga that this process has claimed.

    Args:
        claimed: The saga.
        type_: Its class.
        make: Gives the saga's object.
        services: Services and policies.
    """

    def __init__(self, claimed: ClaimedSaga, type_: SagaType, make: Make, services: Services) -> None:
        self.claimed: ClaimedSaga = claimed
        self._type = type_
        self._make = make
        self._services = services
        self._execution: Execution | None = None
        self._task: asyncio.Task[Any] | None = None
        self._ending: HandedBack | Lost | None = None
        self.result: SagaResult[Any] | None = None
        self.undo: Mapping[str, Callable[[Any], object] | None] = {}
        self._cancelling = claimed.record.cancelling

    @property
    def id(self) -> str:
        """The saga's transaction id."""
        return self.claimed.record.saga.transaction_id

    def interrupt(self) -> None:
        """Cancel the saga: it is compensated from its next operation on."""
        self._cancelling = True
        if self._execution is not None:
            self._execution.interrupt()

    def hand_back(self) -> None:
        """Release the saga to another process at the next operation."""
        self._ending = self._ending or HandedBack()
        if self._execution is not None:
            self._execution.stop(self._ending)

    def lose(self) -> None:
        """Stop at once and write nothing: another process may have the saga."""
        self._ending = Lost()
        if self._execution is not None:
            self._execution.stop(self._ending)
        self.abandon()

    def abandon(self) -> None:
        """Cancel the step that runs; its outcome is unknown."""
        if self._execution is not None:
            self._execution.abandon(self._task)

    def notify(self, topic: str) -> None:
        """Wake the saga to check for a signal."""
        if self._execution is not None:
            self._execution.rest.notify(topic)

    async def rehearse(self) -> Rehearsal:
        """Run the saga's code along its journal, and nothing behind it."""
        return await rehearse(self.claimed, self._type, self._make, self._services)

    async def run(self) -> None:
        """Run the saga."""
        self._task = asyncio.current_task()
        claimed = self.claimed
        try:
            try:
                history = History(claimed.entries)
                beginning = beginning_of(claimed.record)
                data = self._type.decode_data(beginning.data)
            except CatgaError as error:
                await self._park_unread(error)
                return
            while (again := await self._run_once(history, beginning, data)) is not None:
                data = self._type.decode_data(again.data)
                first = beginning.data if beginning.first is None else beginning.first
                beginning = Beginning(again.data, beginning.correlation_id, beginning.traceparent, first)
                history = History(())
                await self._restart(beginning)
        except LeaseLostError:
            return

    # --- parts ---

    async def _run_once(self, history: History, beginning: Beginning, data: Any) -> Restarted | None:
        services = self._services
        execution = self._execution = Execution(
            self.claimed, history, services.store(), services.clock, services.linger
        )
        steps = Steps(execution, self._type, services, beginning.correlation_id, beginning.traceparent)
        context = SagaContext(execution, self._type, services, steps)
        if self._ending is not None:
            execution.stop(self._ending)
        elif (failing := history.failing) is not None:
            execution.stop(Interrupted(catga_error(failing.error), failing.cancelled))
        elif self._cancelling:
            execution.interrupt()
        again: Restarted | None = None

        async def use(saga: Saga[Any, Any]) -> None:
            nonlocal again
            again = await self._execute(saga, data, context, steps, execution)

        try:
            await self._make(use)
        except LeaseLostError:
            raise
        except Exception as error:  # noqa: BLE001 - the saga cannot be made: a service of it is broken
            await self._end_parked(execution, error)
        finally:
            execution.rest.close()
            await execution.journal.close()
        return again

    async def _execute(
        self, saga: Saga[Any, Any], data: Any, context: SagaContext, steps: Steps, execution: Execution
    ) -> Restarted | None:
        bound = current_branch.set(execution.root)
        error: BaseException | None = None
        outcome: Success[Any] | None = None
        try:
            outcome = Success(await saga.execute(data, context))
        except SagaStop:
            pass
        except asyncio.CancelledError as raised:
            if execution.reason is None and not passes_through(raised):
                error = cancelled_itself(self._type.name)
            elif execution.reason is None:
                execution.stop(HandedBack())
        except BaseException as raised:
            if passes_through(raised):
                raise
            error = raised
        finally:
            current_branch.reset(bound)
        if execution.reason is None and (mismatch := unread(execution)) is not None:
            execution.stop(Parked(mismatch))
        return await self._settle(saga, data, steps, execution, outcome, error)

    async def _settle(
        self,
        saga: Saga[Any, Any],
        data: Any,
        steps: Steps,
        execution: Execution,
        outcome: Success[Any] | None,
        error: BaseException | None,
    ) -> Restarted | None:
        reason = execution.reason
        if isinstance(reason, Restarted):
            return reason
        if isinstance(reason, Lost):
            return None
        if isinstance(reason, HandedBack | Suspended):
            await execution.journal.release(self._pause(execution, reason))
        elif isinstance(reason, Parked):
            await self._end_parked(execution, reason.error)
        elif isinstance(reason, Interrupted) and (changed := self._cannot_undo(execution, steps)) is not None:
            await self._end_parked(execution, changed)
        elif isinstance(reason, Interrupted):
            await self._compensate(saga, data, steps, execution, reason.error, cancelled=reason.cancelled)
        elif outcome is not None:
            await self._completed(saga, data, steps, execution, outcome.value)
        elif error is not None:
            await self._failed(saga, data, steps, execution, error)
        return None

    async def _completed(
        self, saga: Saga[Any, Any], data: Any, steps: Steps, execution: Execution, result: Any
    ) -> None:
        try:
            value = self._type.encode_result(result)
        except SerializationError as refused:
            await self._failed(saga, data, steps, execution, refused)
            return
        outcome = encode_record(Outcome(value, None))
        await self._end(execution, SagaPause(SagaState.COMPLETED, outcome=outcome), result)

    async def _failed(
        self, saga: Saga[Any, Any], data: Any, steps: Steps, execution: Execution, error: BaseException
    ) -> None:
        if execution.committed:
            # Nothing can be undone any more, and the code does not know how to go on.
            await self._end_parked(execution, error)
        else:
            await self._compensate(saga, data, steps, execution, error, cancelled=False)

    def _pause(self, execution: Execution, reason: HandedBack | Suspended) -> SagaPause:
        if isinstance(reason, Suspended):
            return SagaPause(SagaState.WAITING, reason.due_at, reason.waits)
        state = SagaState.RUNNING if execution.history.failing is None else SagaState.COMPENSATING
        return SagaPause(state, self._services.clock.time())

    async def _compensate(
        self,
        saga: Saga[Any, Any],
        data: Any,
        steps: Steps,
        execution: Execution,
        error: BaseException,
        *,
        cancelled: bool,
    ) -> None:
        compensation = Compensation(execution, steps, self._type, self._services)
        try:
            pause = await compensation.run(saga, data, error, cancelled=cancelled)
        except (SagaStop, asyncio.CancelledError):
            if not isinstance(execution.reason, Lost):
                await execution.journal.release(self._pause(execution, HandedBack()))
            return
        if pause.state is SagaState.COMPENSATION_FAILED:
            await self._services.write_letter(self.claimed.record, self._type, execution.journal, pause)
            self._services.counters.count(pause.state)
            return
        await self._end(execution, pause)

    async def _end(self, execution: Execution, pause: SagaPause, result: Any = None) -> None:
        parent = self.claimed.record.saga.parent
        if parent is None:
            await execution.journal.release(pause)
        else:
            # Together, so that the parent learns of it whatever happens here.
            async def tell(store: SagaStore) -> None:
                await store.signal(end_signal(self.id))

            await execution.journal.release_with(self._services.storage(), pause, tell)
        if (entries := execution.journal.all) is not None and pause.state is SagaState.COMPLETED:
            # Waiters in this process need not read the journal.
            self.result = SagaResult(self.id, pause.state, result, None, steps_of(entries))
        self._services.counters.count(pause.state)

    async def _end_parked(self, execution: Execution, error: BaseException) -> None:
        state = SagaState.RUNNING if execution.history.failing is None else SagaState.COMPENSATING
        await execution.journal.release(self._parked(state, error))

    async def _park_unread(self, error: CatgaError) -> None:
        record = self.claimed.record
        pause = self._parked(record.state, error)
        await self._services.store().release(self.claimed.claim, (), after=record.entries, pause=pause)

    def _parked(self, state: SagaState, error: BaseException) -> SagaPause:
        kept = recorded_error(error, f"the saga {self._type.name!r}")
        logger().error(
            SAGA_PARKED,
            transaction_id=self.id,
            saga=self._type.name,
            code=kept.code,
            error=kept.message,
        )
        if state.is_final or state is SagaState.WAITING:
            state = SagaState.RUNNING
        return SagaPause(state, problem=encode_record(kept))

    async def _restart(self, beginning: Beginning) -> None:
        data = encode_record(beginning)
        await self._services.store().rewrite(
            self.claimed.claim, (), version=self._type.version, data=data, state=SagaState.RUNNING
        )

    def _cannot_undo(self, execution: Execution, steps: Steps) -> SagaChangedError | None:
        """Return why not every effect in the journal can be compensated, `None` where each can.

        Code that has changed does not come to what it did before, and so does not say how that is compensated; an operator may have.
        """
        if not execution.history.left:
            return None
        found = unreached(execution.history)
        if not all(each.name in self.undo for each in found):
            return execution.mismatch or unread(execution)
        for each in found:
            undo = self.undo[each.name]
            if undo is not None:
                steps.done.append(Done(each.index, each.key, each.name, partial(_undo_with, undo, each)))
        return None


def _undo_with(undo: Callable[[Any], object], effect: Unreached) -> object:
    return undo(effect.result)
