"""The port of a place that keeps data, and of a transaction in it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, runtime_checkable

import msgspec

from catga_core.interfaces.health import Health
from catga_core.interfaces.port import port


class StorageCapabilities(msgspec.Struct, frozen=True):
    """What a storage can do; the contract kits test what is claimed and nothing less.

    Args:
        durable: Whether what was acknowledged is still there when the process (or the server) was killed.
        shared: Whether several processes may use it at the same time.
        immediate: Whether a store called in a unit of work has written when it returns, so that the unit of work sees
            its own writes, positions included. Where it has not, writes are collected and done at the commit, all in one
            step; a conflict that comes up between is raised by the commit.
        connection: Whether `UnitOfWork.connection` gives an application's own data the same transaction.
        clock: Whether leases and expiry follow the container's clock whatever it is, so that a test can move them.
        joining_locks: Whether locks that are taken or given back in a unit of work are part of it, as everything else:
            others see them at its commit, and a rollback undoes them. It is so where a unit of work keeps everybody else
            from writing: a lock that did not join would wait for its own block. Elsewhere a unit of work has no part in
            locks.
        savepoints: Whether a block inside another that fails is rolled back alone, so that the outer one may go on; else it
            fails the outer one.
    """

    durable: bool
    shared: bool
    immediate: bool
    connection: bool
    clock: bool = True
    joining_locks: bool = False
    savepoints: bool = True


@runtime_checkable
class UnitOfWork(Protocol):
    """One transaction of a storage: everything that stores of that storage are asked to write in it, or nothing.

    It is the ambient one (`catga_core.runtime.unit_of_work.active_unit_of_work`) inside its block, in the tasks started there
    too. Reads and writes of all the storage's stores join it; stores of another storage do not.
    """

    @property
    def connection(self) -> object:
        """The storage's own handle for an application's own data in the same transaction; its type is the storage's.

        `connection_of(uow, SqliteConnection)` returns it typed.

        Raises:
            CatgaError: `PERSISTENCE_FAILED` when the unit of work is over, or the storage has no such handle.
        """
        ...

    def before_commit(self, action: Callable[[], Any], /) -> None:
        """Have something done in the transaction, after the block's own work and before the commit.

        Args:
            action: Called once; what it returns is awaited where it can be. What it raises rolls everything back.
        """
        ...

    def after_commit(self, action: Callable[[], None], /) -> None:
        """Have something done once the commit has succeeded; never called after a rollback.

        Args:
            action: Called once, in the order of registration; must not raise.
        """
        ...


@port("storage")
@runtime_checkable
class Storage(Protocol):
    """One place where stores keep data together: this process's memory, a SQLite file, a Redis.

    It is a hosted service: the container starts it before anything uses a store, and stops it last.
    """

    @property
    def capabilities(self) -> StorageCapabilities:
        """What this storage can do."""
        ...

    async def start(self) -> None:
        """Open it; return when its stores can be used.

        Raises:
            ConfigurationError: When what was configured cannot work: no such file or server, a wrong password, data of a
                newer schema.
        """
        ...

    async def stop(self) -> None:
        """Finish what was begun and release everything; stopping twice is harmless."""
        ...

    def unit_of_work(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """Return a block of which everything is committed when it is left, or nothing when it raises or is cancelled.

        Entered inside another block of the same storage in the same task, it joins that one. With `savepoints`, an error that
        leaves the inner block rolls back what was written in it, unless other tasks wrote in the meantime.

        Raises:
            CatgaError: On leaving the block: `CONFLICT` when another has written what this one relied on,
                `PERSISTENCE_FAILED` when it could not be committed (`details["outcome"]` is `unknown` where even that is
                not known).
        """
        ...

    def health(self) -> Health:
        """Return its state as it is now."""
        ...
