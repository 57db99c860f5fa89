"""A place in this process's memory that several sets of stores may use, and the unit of work in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn, Protocol, TypeVar

from catga_core.errors import Outcome, PersistenceError
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.storage import StorageCapabilities
from catga_core.memory.stores.waiters import Waiters
from catga_core.runtime.unit_of_work import BaseUnitOfWork, UnitOfWorkBlock, joined_unit_of_work

P = TypeVar("P")


class Part(Protocol):
    """Data that a unit of work has written to."""

    def commit(self) -> None:
        """Make it visible to all."""
        ...

    def roll_back(self) -> None:
        """Forget it."""
        ...


class MemoryUnitOfWork(BaseUnitOfWork):
    """What is written in one block; it has the storage for itself from its first write on."""

    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__(storage)
        self._memory = storage
        self._turn: asyncio.Lock | None = None
        self._written: list[Part] = []
        self._to_wake: dict[tuple[Waiters, Hashable], None] = {}

    @property
    def connection(self) -> NoReturn:
        """Memory has no handle for an application's own data.

        Raises:
            CatgaError: always.
        """
        text = (
            "the in-memory storage has no connection for an application's own data: use a storage that has one, SQLite "
            "(store='sqlite:///app.db') or Redis (store='redis://...'), or keep that data in a storage of its own"
        )
        raise PersistenceError(text, retryable=False)

    async def begin(self) -> None:
        """Have the storage for itself; wait for the one that has it."""
        if self._memory.writer is self:
            return
        if self._turn is None:
            self._turn = asyncio.Lock()
        # Several tasks of one unit of work may come to their first write at once.
        async with self._turn:
            if self._memory.writer is not self:
                await self._memory.take_turn()
                if self.over:
                    self._memory.end_turn()
                self.require_open()
                self._memory.writer = self

    def wrote(self, part: Part) -> None:
        """Note that a part was written to, once for each part."""
        self._written.append(part)

    def wake_later(self, waiters: Waiters, key: Hashable) -> None:
        """Wake those who wait for a key once it is committed."""
        self._to_wake[waiters, key] = None

    def _commit(self) -> None:
        if self._memory.writer is self:
            for part in self._written:
                part.commit()
            self._end()
            for waiters, key in self._to_wake:
                waiters.wake(key)

    def _roll_back(self) -> None:
        if self._memory.writer is self:
            for part in self._written:
                part.roll_back()
            self._end()

    def _end(self) -> None:
        self._memory.writer = None
        self._memory.end_turn()


class MemoryStorage:
    """Keeps the data of stores in this process's memory, and nothing after the process.

    Everything that was made over the same object shares its data, as processes share a server's: several containers, or
    one that is started again. Make stores with `memory_stores(clock, storage)`. It belongs to one event loop at a time.

    Parameters:
        patience: seconds of real time that a write waits at most for a unit of work that has the storage.
    """

    def __init__(self, *, patience: float = 30.0) -> None:
        self.writer: MemoryUnitOfWork | None = None
        self._patience = patience
        self._lock = asyncio.Lock()
        self._parts: dict[Any, Any] = {}
        self._fencing_token = 0

    @property
    def capabilities(self) -> StorageCapabilities:
        """Within this process, as long as it lives."""
        return StorageCapabilities(durable=False, shared=False, immediate=True, connection=False)

    async def start(self) -> None:
        """Be ready; what other sets of stores have written is there."""
        if not self._lock.locked():
            # A lock belongs to the event loop that somebody has waited for it in; this may be another one.
            self._lock = asyncio.Lock()

    async def stop(self) -> None:
        """Keep everything: others may use the same object, now or later."""

    def unit_of_work(self) -> AbstractAsyncContextManager[MemoryUnitOfWork]:
        """Return a block of which everything is committed when it is left, or nothing when it raises or is cancelled.

        From its first write to its end it is the only one that writes; a block that only reads waits for nobody. What it
        reads before its first write may be changed by others meanwhile.
        """
        return UnitOfWorkBlock(self, lambda: MemoryUnitOfWork(self))

    def health(self) -> Health:
        """Return that it is healthy: there is nothing to lose a connection to."""
        return Health(HealthStatus.HEALTHY, "keeps its data in this process's memory")

    def part(self, kind: Callable[[MemoryStorage], P]) -> P:
        """Return the storage's one object of a kind, made at the first call."""
        found: P | None = self._parts.get(kind)
        if found is None:
            found = self._parts[kind] = kind(self)
        return found

    async def write(self) -> MemoryUnitOfWork | None:
        """Return when the caller may write, up to its next `await`: the unit of work it is in, `None` outside of any.

        Raises:
            CatgaError: `PERSISTENCE_FAILED` when the caller's unit of work is over, or another one does not end.
        """
        unit: MemoryUnitOfWork | None = joined_unit_of_work(self)
        if unit is not None:
            await unit.begin()
        elif self._lock.locked():
            await self.take_turn()
            self.end_turn()
        return unit

    def reads_its_own(self) -> bool:
        """Tell whether the caller is in the unit of work that writes, and so sees what that has written."""
        unit: MemoryUnitOfWork | None = joined_unit_of_work(self)
        return unit is not None and unit is self.writer

    def wake(self, waiters: Waiters, key: Hashable = None) -> None:
        """Wake those who wait for what has just been written: now, or when the unit of work is committed."""
        if self.writer is None:
            waiters.wake(key)
        else:
            self.writer.wake_later(waiters, key)

    def next_fencing_token(self) -> int:
        """Return a number higher than every one before, whatever was released, expired or rolled back since."""
        self._fencing_token += 1
        return self._fencing_token

    async def take_turn(self) -> None:
        """Wait until no unit of work has the storage, and hold it."""
        try:
            async with asyncio.timeout(self._patience):
                await self._lock.acquire()
        except TimeoutError:
            text = (
                f"Timed out after {self._patience:g} s waiting for the in-memory storage: another unit of work holds it, and "
                "nothing was written. Keep units of work short, and await nothing in one that itself waits for the storage."
            )
            raise PersistenceError(text, outcome=Outcome.NOT_WRITTEN) from None

    def end_turn(self) -> None:
        """Let the next one have the storage."""
        self._lock.release()
