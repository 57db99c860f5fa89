"""The in-memory storage that several sets of stores may share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, TypeVar

from catga_core.errors import Outcome, PersistenceError
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.storage import StorageCapabilities
from catga_core.memory.unit_of_work import MemoryUnitOfWork
from catga_core.option_checks import check_seconds
from catga_core.runtime.home_loop import HomeLoop
from catga_core.runtime.unit_of_work import UnitOfWorkBlock, joined_unit_of_work
from catga_core.runtime.waiter import Waiter

P = TypeVar("P")


class MemoryStorage:
    """Keeps the data of stores in this process's memory, and nothing after the process.

    Everything that was made over the same object shares its data, as processes share a server's: several containers, or
    one that is started again. Make stores with `memory_stores(clock, storage)`. Between the first start and the last stop it
    belongs to one event loop, and refuses others.

    Args:
        patience: Seconds of real time that a write waits at most for a unit of work that has the storage.
    """

    def __init__(self, *, patience: float = 30.0) -> None:
        check_seconds("patience", patience, least=0)
        self.writer: MemoryUnitOfWork | None = None
        self._patience = patience
        self._lock = asyncio.Lock()
        self._home = HomeLoop()
        self._users = 0
        self._parts: dict[Any, Any] = {}
        self._fencing_token = 0

    @property
    def capabilities(self) -> StorageCapabilities:
        """Within this process, as long as it lives."""
        return StorageCapabilities(durable=False, shared=False, immediate=True, connection=True)

    async def start(self) -> None:
        """Be ready; what other sets of stores have written is there.

        Raises:
            PersistenceError: Another event loop uses it.
        """
        if self._home.is_closed:
            self._abandon()
        self.check_loop()
        self._home.enter()
        self._users += 1
        if not self._lock.locked():
            # A lock belongs to the event loop that somebody has waited for it in; this may be another one.
            self._lock = asyncio.Lock()

    async def stop(self) -> None:
        """Keep everything: others may use the same object, now or later."""
        self._users = max(0, self._users - 1)
        if not self._users:
            self._home.leave()

    def belong_to_running_loop(self) -> None:
        """Refuse other event loops from now on, without a start; outside of any loop, do nothing."""
        with suppress(RuntimeError):
            self._home.enter()

    def check_loop(self) -> None:
        """Do nothing in the event loop that uses the storage, and in any while none does.

        Raises:
            PersistenceError: In any other.
        """
        loop = self._home.loop
        if loop is not None and loop is not asyncio.get_running_loop():
            text = f"The in-memory storage {self._home.problem()}"
            raise PersistenceError(text, retryable=False, outcome=Outcome.NOT_WRITTEN)

    def _abandon(self) -> None:
        """Take the storage from an event loop that was closed before the storage was stopped."""
        self._home.leave()
        self._users = 0
        unit, self.writer = self.writer, None
        if unit is not None:
            unit.abandon()
        self._lock = asyncio.Lock()

    def unit_of_work(self) -> AbstractAsyncContextManager[MemoryUnitOfWork]:
        """Return a block of which everything is committed when it is left, or nothing when it raises or is cancelled.

        From its first write to its end it is the only one that writes; a block that only reads does not wait. What it
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
        self.check_loop()
        unit: MemoryUnitOfWork | None = joined_unit_of_work(self)
        if unit is not None:
            await unit.begin()
            unit.writing()
        elif self._lock.locked():
            await self.take_turn()
            self.end_turn()
        return unit

    def reads_its_own(self) -> bool:
        """Tell whether the caller is in the unit of work that writes, and so sees what that has written."""
        self.check_loop()
        unit: MemoryUnitOfWork | None = joined_unit_of_work(self)
        return unit is not None and unit is self.writer

    def wake(self, waiter: Waiter, key: Hashable = None) -> None:
        """Wake the tasks that wait for a write: now, or when the unit of work is committed."""
        if self.writer is None:
            waiter.wake(key)
        else:
            self.writer.wake_later(waiter, key)

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
