"""`Journal`: writes the entries of one saga, batched across its branches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context

from catga_core.clock import Clock
from catga_core.errors import CatgaError, LeaseLostError, Outcome
from catga_core.interfaces.saga_records import (
    SagaClaim,
    SagaPause,
    SagaState,
)
from catga_core.interfaces.saga_store import SagaStore
from catga_core.interfaces.storage import Storage
from catga_core.runtime.retry import RetryPolicy
from catga_core.runtime.tasks import background_task
from catga_core.sagas.entries import Entry, encode_entry
from catga_core.sagas.stops import SagaStop

AGAIN = RetryPolicy(max_attempts=None, delay_seconds=0.05, max_delay_seconds=1.0)
"""For a store that is away: the saga waits for it."""


class Journal:
    """The journal of a saga that this process runs.

    An entry is written when the next operation that depends on it begins, or when the code that recorded it waits for anything else;
    entries that come meanwhile are written together.

    Args:
        store: The store.
        claim: The right to write.
        entries: The number of entries in the store.
        clock: Measures delays after failed writes.
        lost: Called with the error of a write that failed permanently: another process owns the saga, or the store is broken.
    """

    __slots__ = (
        "_again",
        "_claim",
        "_clock",
        "_lock",
        "_lost",
        "_pending",
        "_state",
        "_store",
        "_task",
        "all",
        "entries",
    )

    def __init__(
        self,
        store: SagaStore,
        claim: SagaClaim,
        entries: int,
        clock: Clock,
        lost: Callable[[BaseException], None],
    ) -> None:
        self.entries: int = entries
        # Of a saga that began here; `None` for one that was read.
        self.all: list[Entry] | None = None if entries else []
        self._store = store
        self._claim = claim
        self._clock = clock
        self._lost = lost
        self._pending: list[bytes] = []
        self._state: SagaState | None = None
        self._lock = asyncio.Lock()
        self._again = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_behind(self) -> bool:
        """Whether there are entries that are not in the store yet."""
        return bool(self._pending) or self._lock.locked()

    def record(self, entry: Entry, state: SagaState | None = None) -> int:
        """Add an entry to be written soon; return its index.

        Args:
            entry: The entry.
            state: The saga's new state, `None` if it is unchanged.
        """
        index = self.entries + len(self._pending)
        self._pending.append(encode_entry(entry))
        if self.all is not None:
            self.all.append(entry)
        self._state = state or self._state
        if not self._again:
            self._again = True
            asyncio.get_running_loop().call_soon(self._write_later)
        return index

    async def durable(self) -> None:
        """Wait until every entry so far is in the store.

        Raises:
            SagaStop: The entries cannot be written; the run ends.
        """
        while self._pending or self._lock.locked():
            async with self._lock:
                await self._write()

    async def together(self, storage: Storage, work: Callable[[], Awaitable[Entry]]) -> int:
        """Run work and write its entry in one unit of work; return the index.

        Other branches write nothing meanwhile.

        Args:
            storage: The storage of the store and of the work's data.
            work: The work; returns the entry.

        Raises:
            Exception: The error of the work or the commit; the entry is not in the store then.
            SagaStop: As `durable`.
        """
        async with self._lock:
            await self._write()
            index = self.entries
            entry: Entry | None = None
            committed = asyncio.Event()
            try:
                async with storage.unit_of_work() as unit:
                    entry = await work()
                    await self._store.append(self._claim, [encode_entry(entry)], after=index)
                    unit.after_commit(committed.set)
            except asyncio.CancelledError:
                # A commit is finished despite a cancellation, and what is committed must be known: it must not run again, and can be
                # compensated. Whoever cancelled it is served by the next operation.
                if not committed.is_set():
                    raise
            except LeaseLostError as error:
                self._lost(error)
                raise SagaStop from error
            except CatgaError as error:
                if error.outcome is not Outcome.UNKNOWN or not await self._has(index):
                    raise
            self.entries = index + 1
            if self.all is not None and entry is not None:
                self.all.append(entry)
            return index

    async def release(self, pause: SagaPause) -> None:
        """Write the remaining entries and release the saga.

        Raises:
            LeaseLostError: Another process owns the saga.
        """
        async with self._lock:
            await self._release(pause, self._store_release)

    async def release_with(
        self, storage: Storage, pause: SagaPause, also: Callable[[SagaStore], Awaitable[None]]
    ) -> None:
        """Release the saga as `release`, in one unit of work with other writes.

        No unit of work may be open: the lock of the journal is taken before the storage, because a write of entries that holds the
        lock may be waiting for the storage.

        Args:
            storage: The storage of the store and of the other writes.
            pause: What the saga does next.
            also: Does the other writes, given the store; repeated where the outcome of the commit is unknown.

        Raises:
            LeaseLostError: Another process owns the saga.
        """

        async def write(entries: Sequence[bytes], after: int, pause: SagaPause) -> None:
            async with storage.unit_of_work():
                await also(self._store)
                await self._store_release(entries, after, pause)

        async with self._lock:
            await self._release(pause, write)

    async def close(self) -> None:
        """Wait for a running write."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _write(self) -> None:
        if not self._pending:
            return
        entries, self._pending = self._pending, []
        state, self._state = self._state, None
        after = self.entries
        self.entries = after + len(entries)
        try:
            await self._surely(lambda: self._store.append(self._claim, entries, after=after, state=state))
        except asyncio.CancelledError:
            # Whether it was written is unknown, and the same write again changes nothing.
            self._pending[:0] = entries
            self.entries = after
            self._keep_state(state)
            raise
        except BaseException as error:
            self._lost(error)
            raise SagaStop from error

    async def _store_release(self, entries: Sequence[bytes], after: int, pause: SagaPause) -> None:
        await self._store.release(self._claim, entries, after=after, pause=pause)

    async def _release(
        self, pause: SagaPause, write: Callable[[Sequence[bytes], int, SagaPause], Awaitable[None]]
    ) -> None:
        entries, after = self._pending, self.entries
        await self._surely(lambda: write(entries, after, pause))
        self._pending = []
        self.entries = after + len(entries)

    async def _has(self, index: int) -> bool:
        """Return whether an entry is in the store, after a commit whose outcome is unknown."""
        found = await AGAIN.run(
            lambda: self._store.get(self._claim.transaction_id), retryable=may_help, clock=self._clock
        )
        return found is not None and found.entries > index

    async def _surely(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write, and repeat a write whose outcome is unknown: writes are idempotent."""
        try:
            await write()
        except LeaseLostError:
            raise
        except CatgaError as error:
            if not may_help(error):
                raise
            await AGAIN.run(write, retryable=may_help, clock=self._clock, failed=error)

    def _keep_state(self, state: SagaState | None) -> None:
        """Keep a state for the next write, unless a newer one is pending."""
        if self._state is None:
            self._state = state

    def _write_later(self) -> None:
        self._again = False
        if self._pending and not self._lock.locked():
            # An empty context: not part of the unit of work that the code may be in.
            self._task = background_task(self._written(), context=Context())

    async def _written(self) -> None:
        try:
            await self.durable()
        except SagaStop:
            # So does the next operation of the code.
            return


def may_help(error: Exception) -> bool:
    """Return whether a call of the store may succeed when it is made again."""
    if isinstance(error, LeaseLostError):
        return False
    return isinstance(error, CatgaError) and (error.retryable or error.outcome is Outcome.UNKNOWN)
