"""Operator interventions: claim a saga that is not running, rewrite its journal, and resume it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from catga_core.clock import Clock
from catga_core.errors import (
    CatgaError,
    ConfigurationError,
    ConflictError,
    LockedError,
    SagaCancelledError,
    SagaChangedError,
    SagaConflictError,
    SagaNotFoundError,
)
from catga_core.interfaces.saga_records import (
    ClaimedSaga,
    SagaPause,
    SagaRecord,
    SagaState,
)
from catga_core.interfaces.saga_store import SagaStore
from catga_core.sagas.entries import (
    CompensationFailed,
    Entry,
    Failing,
    Mark,
    Received,
    Step,
    StepFailed,
    decode_entry,
    encode_entry,
)
from catga_core.sagas.failures import recorded_error
from catga_core.sagas.journal_entries import JournalEntry
from catga_core.sagas.records import problem_of
from catga_core.sagas.rehearsal import Rehearsal
from catga_core.sagas.run import SagaRun
from catga_core.sagas.runs import SagaRuns
from catga_core.sagas.saga import Saga
from catga_core.sagas.types import SagaType

Migrate: TypeAlias = Callable[[Sequence[JournalEntry]], Sequence[JournalEntry]]
"""Returns a changed journal."""

Undo: TypeAlias = Mapping[str, Callable[[Any], object] | None]
"""Compensations by step name; `None` for a step that needs none."""


class Interventions:
    """Claims sagas, rewrites their journals, and resumes them.

    Args:
        types: The registered sagas, by name and version.
        store: Returns the current store.
        runs: The sagas that this process runs.
        clock: The container's clock.
        lease: Seconds of a lease.
    """

    def __init__(
        self,
        types: Mapping[tuple[str, int], SagaType],
        store: Callable[[], SagaStore],
        runs: SagaRuns,
        clock: Clock,
        lease: float,
    ) -> None:
        self._types = types
        self._store = store
        self._runs = runs
        self._clock = clock
        self._lease = lease

    async def resume(self, transaction_id: str) -> SagaState:
        """Resume a parked saga, or retry failed compensations; see `SagaExecutor.resume`."""
        claimed, began = await self.claim(transaction_id)
        record = claimed.record
        if record.state is not SagaState.COMPENSATION_FAILED and record.problem is None:
            await self.give_back(claimed)
            return record.state
        entries = [each for each in claimed.entries if not isinstance(decode_entry(each), CompensationFailed)]
        state = record.state
        if state is SagaState.COMPENSATION_FAILED:
            state = SagaState.COMPENSATING
        elif record.cancelling and state is not SagaState.COMPENSATING:
            # It was cancelled while it was parked.
            entries.append(cancelled_entry(transaction_id))
            state = SagaState.COMPENSATING
        return await self.go_on(claimed, entries, state, began)

    async def retry_from(self, transaction_id: str, step: str) -> SagaState:
        """Resume a saga from a step; see `SagaExecutor.retry_from`."""
        claimed, began = await self.claim(transaction_id)
        record = claimed.record
        entries = list(map(decode_entry, claimed.entries))
        ended = record.state.is_final and record.state is not SagaState.COMPLETED
        places = [
            index
            for index, entry in enumerate(entries)
            if isinstance(entry, Step | StepFailed) and entry.name == step
        ]
        compensated = [
            entry for entry in entries if not isinstance(entry, Step | StepFailed) and hasattr(entry, "of")
        ]
        if not (ended or record.problem is not None) or not places or compensated:
            await self.give_back(claimed)
            if not places:
                raise SagaNotFoundError(f"{transaction_id}/{step}")
            reason = "steps of it were compensated" if compensated else f"it is {record.state.value}"
            raise SagaConflictError(transaction_id, reason)
        kept = [encode_entry(entry) for entry in entries[: places[-1]] if not isinstance(entry, Failing)]
        return await self.go_on(claimed, kept, SagaState.RUNNING, began)

    async def compensate(self, transaction_id: str, undo: Undo) -> SagaState:
        """Compensate a parked saga; see `SagaExecutor.compensate`."""
        claimed, began = await self.claim(transaction_id)
        try:
            entries = await self._compensating(claimed, undo)
        except BaseException:
            # Also when cancelled: another operator need not wait for the end of the lease.
            await self.give_back(claimed)
            raise
        return await self.go_on(claimed, entries, SagaState.COMPENSATING, began, undo=undo)

    async def migrate(self, transaction_id: str, migrate: Migrate, version: int | None) -> SagaState:
        """Replace the journal of a saga; see `SagaExecutor.migrate`."""
        claimed, began = await self.claim(transaction_id)
        try:
            chosen = claimed.record.saga.version if version is None else version
            type_ = self._type_of(claimed.record, chosen)
            entries = await self._migrated(claimed, type_, migrate)
        except BaseException:
            # As in `compensate`.
            await self.give_back(claimed)
            raise
        return await self.go_on(claimed, entries, SagaState.RUNNING, began, version=chosen)

    async def claim(self, transaction_id: str) -> tuple[ClaimedSaga, float]:
        """Claim a saga; return it with `clock.monotonic()` from before.

        Raises:
            SagaNotFoundError: No saga has this transaction id.
            LockedError: Another process owns the saga.
        """
        began = self._clock.monotonic()
        claimed = await self._store().claim(transaction_id, lease=self._lease)
        if claimed is not None:
            return claimed, began
        if await self._store().get(transaction_id) is None:
            raise SagaNotFoundError(transaction_id)
        text = f"The saga {transaction_id!r} is running. Try again when it has ended, waits, or is parked."
        raise LockedError(text)

    async def go_on(
        self,
        claimed: ClaimedSaga,
        entries: Sequence[bytes],
        state: SagaState,
        began: float,
        *,
        version: int | None = None,
        undo: Undo | None = None,
    ) -> SagaState:
        """Replace the journal of a claimed saga, and resume it here or elsewhere.

        Args:
            claimed: The saga.
            entries: Its new journal.
            state: Its new state.
            began: `clock.monotonic()` from before the claim.
            version: The version of its class from now on, `None` for the same.
            undo: Compensations that its code does not register.
        """
        record = claimed.record
        saga = record.saga if version is None else msgspec.structs.replace(record.saga, version=version)
        await self._store().rewrite(claimed.claim, entries, version=saga.version, data=saga.data, state=state)
        changed = msgspec.structs.replace(
            record,
            saga=saga,
            state=state,
            entries=len(entries),
            outcome=None,
            problem=None,
            cancelling=False,
        )
        again = ClaimedSaga(claimed.claim, changed, entries, claimed.taken_over)
        run = await self.run_or_release(again, began, None)
        if run is not None:
            run.undo = undo or {}
        return state

    async def run_or_release(
        self, claimed: ClaimedSaga, began: float, saga: Saga[Any, Any] | None
    ) -> SagaRun | None:
        """Run a claimed saga, or release it for another process."""
        record = claimed.record
        known = (record.saga.name, record.saga.version) in self._types
        if known and self._runs.working:
            return self._runs.run(claimed, began, saga)
        await self.give_back(claimed, due_at=self._clock.time())
        return None

    async def give_back(self, claimed: ClaimedSaga, *, due_at: float | None = None) -> None:
        """Release a claimed saga unchanged."""
        record = claimed.record
        pause = SagaPause(
            record.state,
            due_at if due_at is not None else (None if record.state.is_final else self._clock.time()),
            outcome=record.outcome,
            problem=record.problem,
        )
        await self._store().release(claimed.claim, (), after=record.entries, pause=pause)

    # --- parts ---

    async def _compensating(self, claimed: ClaimedSaga, undo: Undo) -> Sequence[bytes]:
        """Return the journal with which a parked saga is compensated.

        Raises:
            ConflictError: It cannot be compensated.
            SagaChangedError: A recorded step has no compensation.
        """
        record = claimed.record
        problem = problem_of(record)
        if problem is None:
            text = f"The saga {record.saga.transaction_id!r} is not parked; its state is {record.state.value}. Cancel it with cancel(...)."
            raise ConflictError(text, retryable=False)
        entries = list(map(decode_entry, claimed.entries))
        if any(isinstance(each, Mark) and each.kind == "commit_point" for each in entries):
            text = (
                f"The saga {record.saga.transaction_id!r} is past its commit point, so it cannot be compensated. Resume it, or "
                "migrate its journal."
            )
            raise ConflictError(text, retryable=False)
        kept: list[Entry] = [each for each in entries if not isinstance(each, CompensationFailed)]
        if not any(isinstance(each, Failing) for each in kept):
            kept.append(Failing(recorded_error(problem, "the saga"), cancelled=False))
        encoded = list(map(encode_entry, kept))
        type_ = self._type_of(record, record.saga.version)
        if undo and not self._runs.working:
            text = "compensate() got compensations, but this process runs no sagas. Call it in a process with the role 'work'."
            raise ConflictError(text, retryable=False)
        rehearsal = await self._rehearse(claimed, type_, encoded)
        missing = [each.name for each in rehearsal.unreached if each.name not in undo]
        if missing:
            shown = ", ".join(f"the step {name!r}" for name in missing)
            asked = None if rehearsal.mismatch is None else rehearsal.mismatch.asked
            raise SagaChangedError(record.saga.transaction_id, shown, asked, _shown(kept))
        return encoded

    async def _migrated(self, claimed: ClaimedSaga, type_: SagaType, migrate: Migrate) -> Sequence[bytes]:
        """Return the migrated journal of a saga, after a replay of all of it.

        Raises:
            ConflictError: The saga's state does not allow a migration, or its code fails while it replays the new journal.
            SagaChangedError: The code does not fit the new journal.
            TypeError: The function did not return entries.
        """
        saga, state = claimed.record.saga, claimed.record.state
        entries = list(map(decode_entry, claimed.entries))
        if state.is_final or any(isinstance(each, Failing) for each in entries):
            text = f"The saga {saga.transaction_id!r} is {state.value} and cannot be migrated. Migrate a saga that is parked, waiting or due."
            raise ConflictError(text, retryable=False)
        given = _checked(migrate([JournalEntry(each) for each in entries]))
        now = self._clock.time()
        new = [_stamped(each.entry, now) for each in given]
        encoded = list(map(encode_entry, new))
        rehearsal = await self._rehearse(claimed, type_, encoded)
        if rehearsal.mismatch is not None:
            raise rehearsal.mismatch
        error = rehearsal.error
        if error is not None and not any(map(_is_failure, new)):
            text = f"The code of {saga.name!r} v{type_.version} fails on the new journal: {type(error).__name__}: {error}"
            raise ConflictError(text, retryable=False) from error
        return encoded

    async def _rehearse(self, claimed: ClaimedSaga, type_: SagaType, entries: Sequence[bytes]) -> Rehearsal:
        saga = msgspec.structs.replace(claimed.record.saga, version=type_.version)
        record = msgspec.structs.replace(claimed.record, saga=saga, entries=len(entries))
        return await self._runs.rehearse(ClaimedSaga(claimed.claim, record, entries, taken_over=False))

    def _type_of(self, record: SagaRecord, version: int) -> SagaType:
        found = self._types.get((record.saga.name, version))
        if found is None:
            msg = (
                f"The saga {record.saga.name!r} v{version} is not registered in this process. Add it with add_sagas(catga, ...), or "
                "call this in a process that has registered it."
            )
            raise ConfigurationError(msg)
        return found


def cancelled_entry(transaction_id: str) -> bytes:
    """Return the entry of a saga that was cancelled while it was parked."""
    error = recorded_error(SagaCancelledError(transaction_id), "the saga")
    return encode_entry(Failing(error, cancelled=True))


def failing_entry(error: CatgaError, name: str) -> bytes:
    """Return the entry of a saga that is compensated for an external reason."""
    return encode_entry(Failing(recorded_error(error, name), cancelled=False))


def _checked(changed: Any) -> Sequence[JournalEntry]:
    """Check the result of a migration function.

    Raises:
        TypeError: It did not return entries.
    """
    wrong: Any = changed
    if isinstance(changed, list | tuple):
        given: list[Any] = [*changed]
        wrong = next((each for each in given if not isinstance(each, JournalEntry)), None)
        if wrong is None:
            return given
    msg = f"migrate must return a list of JournalEntry; got {wrong!r}. Return the entries that it was given, changed."
    raise TypeError(msg)


def _shown(entries: Sequence[Entry]) -> list[str]:
    return [repr(JournalEntry(each)) for each in entries]


def _is_failure(entry: Entry) -> bool:
    return isinstance(entry, StepFailed) or (isinstance(entry, Received) and entry.position is None)


def _stamped(entry: Entry, now: float) -> Entry:
    """Return an entry that a migration has created, with a time."""
    if isinstance(entry, Step) and not entry.ended_at:
        return msgspec.structs.replace(entry, began_at=now, ended_at=now)
    return entry
