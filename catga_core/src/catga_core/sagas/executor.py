"""`SagaExecutor`: starts sagas and returns their results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from catga_core.clock import Clock
from catga_core.codecs.same import same
from catga_core.errors import (
    CatgaError,
    ConfigurationError,
    ErrorCode,
    SagaConflictError,
    SagaNotFoundError,
    SagaTimeoutError,
)
from catga_core.interfaces.saga_records import (
    ALL_SAGAS,
    ClaimedSaga,
    NewSaga,
    SagaFilter,
    SagaKind,
    SagaPage,
    SagaRecord,
    SagaState,
)
from catga_core.interfaces.saga_store import SagaStore
from catga_core.interfaces.storage import Storage
from catga_core.messages.context import active_context
from catga_core.option_checks import check_name, check_seconds
from catga_core.runtime.unit_of_work import joined_unit_of_work
from catga_core.sagas.declared.definition import SagaDefinition, saga_of
from catga_core.sagas.interventions import Interventions
from catga_core.sagas.journal_entries import JournalEntry
from catga_core.sagas.options import SagaOptions
from catga_core.sagas.records import Beginning, beginning_of, encode_record, result_of, status_of
from catga_core.sagas.results import SagaResult, SagaStatus
from catga_core.sagas.run import SagaRun
from catga_core.sagas.runs import SagaRuns
from catga_core.sagas.saga import Saga
from catga_core.sagas.settings import SagaCounters
from catga_core.sagas.types import SagaType

D = TypeVar("D")
R = TypeVar("R")


class SagaExecutor:
    """Starts, awaits, inspects and operates sagas.

    Get it from the running application: `app.get(SagaExecutor)`, or by type in a constructor.

    Args:
        types: The registered sagas, by name and version.
        store: Returns the current store.
        storage: Returns the current storage.
        runs: The sagas that this process runs.
        clock: The container's clock.
        options: The lease and the concurrency of this process.
    """

    def __init__(
        self,
        types: Mapping[tuple[str, int], SagaType],
        store: Callable[[], SagaStore],
        storage: Callable[[], Storage],
        runs: SagaRuns,
        clock: Clock,
        options: SagaOptions,
    ) -> None:
        self._types = types
        self._by_class: dict[Any, SagaType] = {}
        self._store = store
        self._storage = storage
        self.runs: SagaRuns = runs
        self.counters: SagaCounters = SagaCounters()
        self._clock = clock
        self._lease = options.lease_seconds
        self._concurrency = options.concurrency
        self.interventions: Interventions = Interventions(types, store, runs, clock, self._lease)

    async def execute(
        self,
        transaction_id: str,
        data: D,
        saga: type[Saga[D, R]] | Saga[D, R] | SagaDefinition[D, R],
        *,
        timeout: float | None = None,
    ) -> SagaResult[R]:
        """Run a saga and wait for its result.

        Args:
            transaction_id: The id of the transaction, chosen by the caller. A known id joins the running saga or returns its result.
            data: Its data.
            saga: Its class or definition, registered with `add_sagas`, or an object of the class.
            timeout: Real seconds to wait; the saga continues after a timeout. `None` for no limit.

        Returns:
            The result. A parked saga has a state that is not final, and its problem as the error.

        Raises:
            SagaConflictError: The id belongs to a saga of another class or with other data.
            SagaTimeoutError: The saga has not ended in time.
            ConfigurationError: The class is not registered.
        """
        if joined_unit_of_work(self._storage()) is not None:
            msg = (
                f"execute({transaction_id!r}) was called in a unit of work. The saga is stored at the commit, so the wait "
                "would never end. Call start() in the unit of work, and result() after the commit."
            )
            raise CatgaError(msg, code=ErrorCode.INTERNAL_ERROR)
        check_seconds("timeout", timeout, least=0, optional=True)
        began = self._clock.monotonic()
        _, run = await self._start(transaction_id, data, saga, None)
        if run is not None:
            await self.runs.wait(transaction_id, timeout)
            if run.result is not None:
                # It ran in this process: no need to read the journal.
                return run.result
            timeout = None if timeout is None else max(0.0, timeout - (self._clock.monotonic() - began))
        return await self.result(transaction_id, timeout=timeout)

    async def start(
        self,
        transaction_id: str,
        data: D,
        saga: type[Saga[D, R]] | Saga[D, R] | SagaDefinition[D, R],
        *,
        parent: str | None = None,
    ) -> SagaState:
        """Start a saga without waiting for its result.

        Args:
            transaction_id: As in `execute`; a known id starts nothing. Joins the ambient unit of work.
            data: As in `execute`.
            saga: As in `execute`.
            parent: The transaction id of the parent saga, `None` without one.

        Returns:
            Its state: `RUNNING` for a new saga.

        Raises:
            SagaConflictError: As in `execute`.
            ConfigurationError: As in `execute`.
        """
        state, _ = await self._start(transaction_id, data, saga, parent)
        return state

    async def _start(
        self, transaction_id: str, data: Any, saga: Any, parent: str | None
    ) -> tuple[SagaState, SagaRun | None]:
        check_name("transaction_id", transaction_id)
        cls, given = saga_of(saga)
        type_ = self.type_of(cls)
        context = active_context.get()
        correlation_id = transaction_id if context is None else context.correlation_id
        trace = None if context is None else context.traceparent
        beginning = Beginning(type_.encode_data(data), correlation_id, trace)
        limit = type_.mark.timeout
        new = NewSaga(
            transaction_id,
            type_.name,
            type_.version,
            "msgpack",
            encode_record(beginning),
            deadline=None if limit is None else self._clock.time() + limit,
            parent=parent,
        )
        began = self._clock.monotonic()
        # In a unit of work it is not claimed: it exists with the commit, and a worker finds it then. So does one find it here where
        # this process runs as many as it may.
        joins = joined_unit_of_work(self._storage()) is not None
        waits = joins or not self.runs.working or self.runs.count >= self._concurrency
        most = 0 if waits else type_.mark.max_running
        begun = await self._store().begin(new, lease=self._lease, most=most)
        run: SagaRun | None = None
        if not begun.created:
            self._check_same(begun.record, new, data)
        elif begun.claim is not None:
            claimed = ClaimedSaga(begun.claim, begun.record, (), taken_over=False)
            run = await self.interventions.run_or_release(claimed, began, given)
        return begun.record.state, run

    async def result(self, transaction_id: str, *, timeout: float | None = None) -> SagaResult[Any]:
        """Wait for the result of a saga.

        Args:
            transaction_id: The saga.
            timeout: Real seconds to wait, `None` for no limit.

        Returns:
            As `execute`.

        Raises:
            SagaNotFoundError: No saga has this transaction id.
            SagaTimeoutError: The saga has not ended in time.
        """
        check_seconds("timeout", timeout, least=0, optional=True)
        record = await self._store().wait_final(
            transaction_id, timeout=math.inf if timeout is None else timeout
        )
        if record is None:
            raise SagaNotFoundError(transaction_id)
        if not record.state.is_final and record.problem is None:
            text = f"The saga {transaction_id!r} has not ended within {timeout:g} s; it is still running. Call result(...) again."
            raise SagaTimeoutError(text)
        saved = await self._store().read(transaction_id)
        if saved is None:
            raise SagaNotFoundError(transaction_id)
        return result_of(saved, self._types.get((saved.record.saga.name, saved.record.saga.version)))

    async def status(self, transaction_id: str) -> SagaStatus:
        """Return the current state of a saga, with its steps.

        Raises:
            SagaNotFoundError: No saga has this transaction id.
            SerializationError: Its journal cannot be decoded.
        """
        saved = await self._store().read(transaction_id)
        if saved is None:
            raise SagaNotFoundError(transaction_id)
        return status_of(saved)

    async def find(
        self, filter: SagaFilter = ALL_SAGAS, /, *, after: str | None = None, limit: int = 100
    ) -> SagaPage:
        """Return a page of sagas that match a filter, by transaction id."""
        return await self._store().find(filter, after=after, limit=limit)

    async def cancel(self, transaction_id: str) -> SagaState:
        """Cancel a saga and compensate its completed steps.

        The running step ends first. A saga that is final, compensating, or past its commit point is unchanged.

        Returns:
            Its current state; `result` waits for the end.

        Raises:
            SagaNotFoundError: No saga has this transaction id.
        """
        record = await self._store().cancel(transaction_id)
        if record is None:
            raise SagaNotFoundError(transaction_id)
        self.runs.interrupt(transaction_id)
        return record.state

    async def resume(self, transaction_id: str) -> SagaState:
        """Resume a parked saga, or retry failed compensations.

        A saga that is running, waiting, or ended in another state is unchanged.

        Returns:
            Its current state.

        Raises:
            SagaNotFoundError: No saga has this transaction id.
            LockedError: Another process is changing the saga.
        """
        return await self.interventions.resume(transaction_id)

    async def retry_from(self, transaction_id: str, step: str) -> SagaState:
        """Resume a failed or parked saga from a step.

        The journal is cut before the step, which runs again with everything after it. No earlier step may have been compensated.

        Args:
            transaction_id: The saga.
            step: The name of the step; if several have the name, the last one.

        Returns:
            Its current state.

        Raises:
            SagaNotFoundError: No saga has this transaction id, or the saga has no step with this name.
            SagaConflictError: The saga is running, waiting or completed, or has compensated an earlier step.
            LockedError: Another process is changing the saga.
        """
        return await self.interventions.retry_from(transaction_id, step)

    async def compensate(
        self, transaction_id: str, undo: Mapping[str, Callable[[Any], object] | None] | None = None
    ) -> SagaState:
        """Compensate a parked saga instead of resuming or migrating it.

        The registered code registers its compensations while it replays the journal. Changed code may not reach
        every recorded step: pass a compensation for each step that it does not reach, else nothing is compensated or written. If
        the process dies, the saga is parked again; call this again, and no recorded compensation is repeated.

        Args:
            transaction_id: The saga.
            undo: Compensations by step name, for the steps that the code does not reach: functions of a step's result, as
                `compensate=` of the step; `None` for a step that needs no compensation.

        Returns:
            Its current state: `COMPENSATING`. It ends as `COMPENSATED`, with its problem as the error.

        Raises:
            SagaNotFoundError: No saga has this transaction id.
            SagaChangedError: Recorded steps have no compensation; the error names them.
            ConflictError: The saga is not parked, or is past its commit point.
            LockedError: Another process is changing the saga.
        """
        return await self.interventions.compensate(transaction_id, undo or {})

    async def migrate(
        self,
        transaction_id: str,
        migrate: Callable[[Sequence[JournalEntry]], Sequence[JournalEntry]],
        *,
        version: int | None = None,
    ) -> SagaState:
        """Replace the journal of a saga, and resume it.

        Before anything is written, the code replays the new journal up to the first operation that is not in it. No step runs
        during the replay, only the code between steps. If the code does not fit the new journal, nothing is written.

        Args:
            transaction_id: The saga; it is parked, waiting or due.
            migrate: Receives the recorded journal and returns the new one. A step that it omits is no longer compensated.
            version: The version of the saga's class from now on; default: the same.

        Returns:
            Its current state: `RUNNING`.

        Raises:
            SagaNotFoundError: No saga has this transaction id.
            SagaChangedError: The code does not fit the new journal.
            ConflictError: The saga has ended or is compensating, or the code fails while it replays the new journal.
            ConfigurationError: The version is not registered here.
            LockedError: A process is running the saga.
        """
        return await self.interventions.migrate(transaction_id, migrate, version)

    # --- for the workers ---

    def type_of(self, saga: type[Saga[Any, Any]]) -> SagaType:
        """Return a registered saga.

        Raises:
            ConfigurationError: The saga is not registered.
        """
        found = self._by_class.get(saga)
        if found is None or self._types.get((found.name, found.version)) is not found:
            self._by_class = {each.cls: each for each in self._types.values()}
            found = self._by_class.get(saga)
        if found is not None:
            return found
        name = getattr(saga, "__name__", repr(saga))
        msg = f"The saga {name} is not registered, so no process could resume it. Register it with add_sagas(catga, {name})."
        raise ConfigurationError(msg)

    def notify(self, topic: str) -> None:
        """Wake the sagas of this process that wait for a signal."""
        self.runs.notify(topic)

    @property
    def kinds(self) -> Sequence[SagaKind]:
        """The kinds of sagas that this process can run."""
        return [SagaKind(each.name, each.version, each.mark.max_running) for each in self._types.values()]

    # --- parts ---

    def _check_same(self, record: SagaRecord, new: NewSaga, data: Any) -> None:
        """Check that a known transaction id belongs to the same transaction.

        Raises:
            SagaConflictError: It belongs to another transaction.
        """
        saga = record.saga
        if saga.name != new.name:
            raise SagaConflictError(saga.transaction_id, f"it belongs to a {saga.name}, not to a {new.name}")
        known = self._types.get((saga.name, saga.version))
        if known is None:
            return
        beginning = beginning_of(record)
        first = beginning.data if beginning.first is None else beginning.first
        # Decoded, because equal data may have other bytes: sets have no order, and classes get new fields with defaults.
        if not same(known.decode_data(first), data):
            raise SagaConflictError(saga.transaction_id, "it began with other data")
