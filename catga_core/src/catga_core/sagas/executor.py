"""`SagaExecutor`: starts sagas, and tells what became of them."""

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
    """Starts sagas, waits for their results, and lets operators look and intervene.

    Get it from the running application: `app.get(SagaExecutor)`, or by type in a constructor.

    Args:
        types: The registered sagas, by name and version.
        store: Returns the current store.
        storage: Returns the current storage.
        runs: The sagas that this process runs.
        clock: The container's clock.
        options: The lease, and how many sagas this process runs at once.
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
        """Run a saga and wait for its end; one that is known is joined, and one that has ended returns its recorded result.

        Args:
            transaction_id: Its identity, chosen by the caller: one id for one transaction.
            data: What it begins with.
            saga: Its class or definition, registered with `add_sagas`, or an object of the class.
            timeout: Real seconds to wait; the saga goes on after them. `None` for no limit.

        Returns:
            What it ended with; a saga that is parked has another state than a final one, and its problem as the error.

        Raises:
            SagaConflictError: The id belongs to a saga of another class, or with other data.
            SagaTimeoutError: It has not ended in time.
            ConfigurationError: The class is not registered.
        """
        if joined_unit_of_work(self._storage()) is not None:
            msg = (
                f"execute({transaction_id!r}) was called in a unit of work, and the saga is stored with its commit, so that the wait "
                "would never end. Call start() there, and result() after the commit."
            )
            raise CatgaError(msg, code=ErrorCode.INTERNAL_ERROR)
        check_seconds("timeout", timeout, least=0, optional=True)
        began = self._clock.monotonic()
        _, run = await self._start(transaction_id, data, saga, None)
        if run is not None:
            await self.runs.wait(transaction_id, timeout)
            if run.result is not None:
                # It has not left this process: nothing is read back.
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
        """Start a saga and return at once; one that is known is left alone. Joins the ambient unit of work.

        Args:
            transaction_id: As in `execute`.
            data: As in `execute`.
            saga: As in `execute`.
            parent: The transaction id of the saga that it is a part of, `None` for none.

        Returns:
            Its state: `RUNNING` where it is new.

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
        """Wait for the end of a saga.

        Args:
            transaction_id: The saga.
            timeout: Real seconds to wait, `None` for no limit.

        Returns:
            As `execute`.

        Raises:
            SagaNotFoundError: There is none.
            SagaTimeoutError: It has not ended in time.
        """
        check_seconds("timeout", timeout, least=0, optional=True)
        record = await self._store().wait_final(
            transaction_id, timeout=math.inf if timeout is None else timeout
        )
        if record is None:
            raise SagaNotFoundError(transaction_id)
        if not record.state.is_final and record.problem is None:
            text = f"The saga {transaction_id!r} has not ended within {timeout:g} s; it goes on."
            raise SagaTimeoutError(text)
        saved = await self._store().read(transaction_id)
        if saved is None:
            raise SagaNotFoundError(transaction_id)
        return result_of(saved, self._types.get((saved.record.saga.name, saved.record.saga.version)))

    async def status(self, transaction_id: str) -> SagaStatus:
        """Return a saga as it is now, with its steps.

        Raises:
            SagaNotFoundError: There is none.
            SerializationError: Its journal cannot be decoded.
        """
        saved = await self._store().read(transaction_id)
        if saved is None:
            raise SagaNotFoundError(transaction_id)
        return status_of(saved)

    async def find(
        self, filter: SagaFilter = ALL_SAGAS, /, *, after: str | None = None, limit: int = 100
    ) -> SagaPage:
        """Return the sagas that match a filter, a page at a time, in the order of their transaction ids."""
        return await self._store().find(filter, after=after, limit=limit)

    async def cancel(self, transaction_id: str) -> SagaState:
        """Cancel a saga: the step that runs ends, and the completed steps are compensated.

        One that is final, compensating, or behind its commit point stays as it is.

        Returns:
            Its state now; `result` waits for the end.

        Raises:
            SagaNotFoundError: There is none.
        """
        record = await self._store().cancel(transaction_id)
        if record is None:
            raise SagaNotFoundError(transaction_id)
        self.runs.interrupt(transaction_id)
        return record.state

    async def resume(self, transaction_id: str) -> SagaState:
        """Have a parked saga go on, and failed compensations tried again.

        A saga that runs, waits, or has ended otherwise stays as it is.

        Returns:
            Its state now.

        Raises:
            SagaNotFoundError: There is none.
            LockedError: Another process is changing it.
        """
        return await self.interventions.resume(transaction_id)

    async def retry_from(self, transaction_id: str, step: str) -> SagaState:
        """Have a saga that failed or is parked go on from a step: the step, and what followed it, is forgotten and runs again.

        What it has compensated already is forgotten as well, so a step before it must not have been compensated.

        Args:
            transaction_id: The saga.
            step: The name of the step; of several, the last one.

        Returns:
            Its state now.

        Raises:
            SagaNotFoundError: There is no such saga, or it has no such step.
            SagaConflictError: It runs, waits, is completed, or has compensated a step before this one.
            LockedError: Another process is changing it.
        """
        return await self.interventions.retry_from(transaction_id, step)

    async def compensate(
        self, transaction_id: str, undo: Mapping[str, Callable[[Any], object] | None] | None = None
    ) -> SagaState:
        """Compensate a parked saga, instead of resuming or migrating it.

        The compensations are those that the registered code gives when it follows the journal. Code that has changed does not come to
        every recorded step: a compensation of each of the others is given here, else nothing is compensated and nothing written. Should
        the process die, the saga is parked again; call this again, and what has been compensated is not repeated.

        Args:
            transaction_id: The saga.
            undo: Compensations by the names of steps, for those that the code does not come to: functions of a step's result, as
                `compensate=` of the step; `None` for a step that needs none.

        Returns:
            Its state now: `COMPENSATING`. It ends as `COMPENSATED`, with its problem as the error.

        Raises:
            SagaNotFoundError: There is none.
            SagaChangedError: It names the recorded steps for which there is no compensation.
            ConflictError: It is not parked, or behind its commit point.
            LockedError: Another process is changing it.
        """
        return await self.interventions.compensate(transaction_id, undo or {})

    async def migrate(
        self,
        transaction_id: str,
        migrate: Callable[[Sequence[JournalEntry]], Sequence[JournalEntry]],
        *,
        version: int | None = None,
    ) -> SagaState:
        """Replace the journal of a saga by one that fits the registered code, and have it go on.

        Before anything is written, the code runs along the new journal up to the first operation that is not recorded in it: no step runs
        for that, only the code between steps. Where the two do not fit, nothing is written.

        Args:
            transaction_id: The saga; it is parked, waits, or is due.
            migrate: Returns the new journal, given the recorded one. A step that it leaves out is neither known nor compensated any more.
            version: The version of the saga's class from now on; default: the same.

        Returns:
            Its state now: `RUNNING`.

        Raises:
            SagaNotFoundError: There is none.
            SagaChangedError: The code does not fit the new journal.
            ConflictError: It has ended or is compensated, or the code fails along the new journal.
            ConfigurationError: The version is not registered here.
            LockedError: A process runs it.
        """
        return await self.interventions.migrate(transaction_id, migrate, version)

    # --- for the workers ---

    def type_of(self, saga: type[Saga[Any, Any]]) -> SagaType:
        """Return a registered saga.

        Raises:
            ConfigurationError: It is not registered.
        """
        found = self._by_class.get(saga)
        if found is None or self._types.get((found.name, found.version)) is not found:
            self._by_class = {each.cls: each for each in self._types.values()}
            found = self._by_class.get(saga)
        if found is not None:
            return found
        name = getattr(saga, "__name__", repr(saga))
        msg = f"The saga {name} is not registered, so that no process could resume it. Add it with add_sagas(catga, {name})."
        raise ConfigurationError(msg)

    def notify(self, topic: str) -> None:
        """Have the sagas that wait in this process look for a signal."""
        self.runs.notify(topic)

    @property
    def kinds(self) -> Sequence[SagaKind]:
        """The sagas that this process can run."""
        return [SagaKind(each.name, each.version, each.mark.max_running) for each in self._types.values()]

    # --- parts ---

    def _check_same(self, record: SagaRecord, new: NewSaga, data: Any) -> None:
        """Check that a known transaction id is of the same transaction.

        Raises:
            SagaConflictError: It is of another one.
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
