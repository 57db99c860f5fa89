"""The saga store as one process sees it: each write is a point at which the process may crash."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from catga_core.interfaces.saga_records import SagaClaim, SagaPause
from catga_core.interfaces.saga_store import SagaStore
from catga_core.interfaces.storage import Storage
from catga_core.sagas.entries import (
    Compensated,
    CompensationFailed,
    Entry,
    Failing,
    Mark,
    Operation,
    Progress,
    Received,
    StepFailed,
    decode_entry,
)
from catga_core.storage_support.sagas import lost_saga
from catga_testing.sagas.trial import CrashedError, Life, Trial

_OWNED = frozenset({"append", "release", "rewrite"})
"""What only the owner of a saga calls."""
_WRITES = frozenset({"begin", "signal"})


class ObservedStore:
    """Passes calls on to a store as long as the process lives.

    Args:
        store: The store, which every process shares.
        trial: The run.
        life: The process.
    """

    def __init__(self, store: SagaStore, trial: Trial, life: Life) -> None:
        self._store = store
        self._trial = trial
        self._life = life

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        found = self._owned(name, method) if name in _OWNED else self._alive(name, method)
        # The next call finds it without this method.
        self.__dict__[name] = found
        return found

    def _owned(self, name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        trial, life = self._trial, self._life

        async def write(claim: SagaClaim, entries: Sequence[bytes], /, **options: Any) -> Any:
            # The run of a saga ends quietly where it has lost the saga; a dead process has.
            if life.dead:
                raise lost_saga(claim.transaction_id)
            result = await method(claim, entries, **options)
            what = _written(name, entries, options.get("pause"))
            trial.note(life.number, f"journal: {what}")
            try:
                trial.changed(life, f"the journal has {what!r}")
            except CrashedError:
                raise lost_saga(claim.transaction_id) from None
            return result

        return write

    def _alive(self, name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        trial, life = self._trial, self._life

        async def call(*args: Any, **options: Any) -> Any:
            life.check()
            result = await method(*args, **options)
            if name in _WRITES:
                life.check()
                if name == "begin" and result.created:
                    trial.note(life.number, f"journal: {args[0].name} {args[0].transaction_id} begins")
                trial.changed(life, f"the store has a new {'saga' if name == 'begin' else 'signal'}")
            return result

        return call


class ObservedStorage:
    """A storage whose commits are points at which the process may crash.

    Args:
        storage: The storage.
        trial: The run.
        life: The process.
    """

    def __init__(self, storage: Storage, trial: Trial, life: Life) -> None:
        self._storage = storage
        self._trial = trial
        self._life = life

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    @asynccontextmanager
    async def unit_of_work(self) -> AsyncGenerator[Any]:
        """Return a unit of work of the storage."""
        self._life.check()
        async with self._storage.unit_of_work() as unit:
            yield unit
            # A dead process commits nothing.
            self._life.check()
        self._trial.changed(self._life, "a commit")


def _written(name: str, entries: Sequence[bytes], pause: SagaPause | None) -> str:
    parts = [_shown(each) for each in entries]
    if name == "rewrite":
        parts.append("an empty journal, with other data")
    if pause is not None:
        parts.append("parked" if pause.problem is not None else pause.state.value)
    return ", ".join(parts) or "nothing"


def _shown(data: bytes) -> str:
    entry = decode_entry(data)
    return _shown_operation(entry) if isinstance(entry, Operation) else _shown_end(entry)


def _shown_operation(entry: Operation) -> str:
    if isinstance(entry, StepFailed):
        return f"{entry.shown.removeprefix('the ')} failed"
    if isinstance(entry, Received):
        return f"{'no event' if entry.position is None else 'the event'} {entry.topic}"
    if isinstance(entry, Mark):
        return f"{entry.kind.replace('_', ' ')} {entry.name}".strip()
    return entry.shown.removeprefix("the ")


def _shown_end(entry: Entry) -> str:
    if isinstance(entry, Failing):
        return f"compensation begins ({entry.error.code})"
    if isinstance(entry, Compensated | CompensationFailed):
        how = "compensated" if isinstance(entry, Compensated) else "not compensated"
        return f"{entry.of.rsplit('#', 1)[0] or 'the saga'} {how}"
    return "progress" if isinstance(entry, Progress) else type(entry).__name__
