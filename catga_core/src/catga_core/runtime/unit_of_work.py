"""The unit of work of a task: where it is found, and what those of all storages have in common."""

from __future__ import annotations

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar, copy_context
from types import TracebackType
from typing import Any, Generic, TypeVar

from catga_core.errors import CatgaError, PersistenceError
from catga_core.log import AFTER_COMMIT_FAILED, logger, traceback_of
from catga_core.runtime.shielded import settled

active_unit_of_work: ContextVar[Any] = ContextVar("catga_unit_of_work", default=None)
"""A `catga_core.interfaces.UnitOfWork`, set by its storage around a `unit_of_work()` block; `None` outside of any.

It is the innermost one; a store finds that of its own storage with `joined_unit_of_work`."""

U = TypeVar("U", bound="BaseUnitOfWork")


class BaseUnitOfWork(ABC):
    """What is the same in the units of work of all storages; a storage derives its own, `UnitOfWorkBlock` runs it.

    Parameters:
        storage: whose unit of work it is; the stores of this very object join it.
    """

    def __init__(self, storage: object) -> None:
        self.storage: object = storage
        self.outer: BaseUnitOfWork | None = active_unit_of_work.get()
        self.over: bool = False
        self._inside = 0
        self._spoiled_by: BaseException | None = None
        self._before: list[Callable[[], Any]] = []
        self._after: list[Callable[[], None]] = []
        self._undone: list[Callable[[BaseException], Awaitable[None]]] = []

    @abstractmethod
    def _commit(self) -> Awaitable[None] | None:
        """Make what was written in it visible, all or nothing.

        Returns:
            `None` when that is done, else what does it: it is awaited to its end even when the task is cancelled.
        """

    @abstractmethod
    def _roll_back(self) -> Awaitable[None] | None:
        """Forget what was written in it and release what it holds; called after a commit that failed, too.

        Returns:
            as `_commit` does.
        """

    def require_open(self) -> None:
        """Do nothing while it is open.

        Raises:
            CatgaError: `PERSISTENCE_FAILED` when it is over.
        """
        if self.over:
            text = (
                "this unit of work is over: await what was started in its block and uses stores before the block ends, "
                "or give that a unit of work of its own"
            )
            raise PersistenceError(text, retryable=False)

    def before_commit(self, action: Callable[[], Any], /) -> None:
        """Have something done in the transaction, after the block's own work and before the commit."""
        self.require_open()
        self._before.append(action)

    def after_commit(self, action: Callable[[], None], /) -> None:
        """Have something done once the commit has succeeded; never called after a rollback."""
        self.require_open()
        self._after.append(action)

    def after_rollback(self, action: Callable[[BaseException], Awaitable[None]], /) -> None:
        """Have something done once it was rolled back, or nobody knows whether it was; never called after a commit.

        Parameters:
            action: called once, given the error that ended it, outside of any unit of work; must not raise.
        """
        self.require_open()
        self._undone.append(action)

    def join(self) -> None:
        """Note that one more block is inside of it."""
        self._inside += 1

    def leave(self, error: BaseException | None) -> None:
        """Note that a block inside of it has ended.

        Parameters:
            error: what that block ended with; with any, nothing of the whole is committed.
        """
        self._inside -= 1
        if not self.over:
            self._spoiled_by = self._spoiled_by or error

    async def finish(self) -> None:
        """Do what is to be done before the commit, commit, and tell who wants to know; else roll back."""
        try:
            # The loop sees what an action registers in its turn.
            for action in self._before:
                pending = action()
                if inspect.isawaitable(pending):
                    await pending
            self._require_whole()
            self.over = True
            cancelled = await _to_its_end(self._commit())
        except BaseException as error:
            await self.give_up(error)
            raise
        for tell in self._after:
            try:
                tell()
            except Exception as error:  # noqa: BLE001 - it is committed, and the others are still to be told
                logger().error(AFTER_COMMIT_FAILED, error=type(error).__name__, stack=traceback_of(error))
        if cancelled is not None:
            raise cancelled

    async def give_up(self, error: BaseException) -> None:
        """Roll back.

        Parameters:
            error: why; it stays the error, and is told what else fails.
        """
        self.over = True
        cancelled: asyncio.CancelledError | None = None
        try:
            cancelled = await _to_its_end(self._roll_back())
        except Exception as also:  # noqa: BLE001 - told with the first one
            error.add_note(f"rolling back failed too: {type(also).__name__}: {also}")
        if self._undone:
            undoing = asyncio.create_task(self._undo(error), context=outside_of_units_of_work())
            cancelled = await _to_its_end(undoing) or cancelled
        if cancelled is not None:
            raise cancelled from error

    async def _undo(self, error: BaseException) -> None:
        for undo in self._undone:
            await undo(error)

    def _require_whole(self) -> None:
        cause, self._spoiled_by = self._spoiled_by, None
        if cause is not None:
            text = (
                f"the unit of work was rolled back: a unit_of_work() block inside of it failed with "
                f"{type(cause).__name__}, and what that had written cannot be taken out alone; let its error pass "
                "through the outer block as well"
            )
            again = isinstance(cause, CatgaError) and cause.retryable
            raise PersistenceError(text, retryable=again) from cause
        if self._inside:
            text = (
                "the unit of work was rolled back: a task is still in a unit_of_work() block inside of it; await that "
                "task before the outer block ends"
            )
            raise PersistenceError(text, retryable=False)


class UnitOfWorkBlock(Generic[U]):
    """One `async with storage.unit_of_work()`: a unit of work of its own, or a part of the one it is entered in.

    An error that leaves a joined block spoils the whole: the outer block then fails too, whatever it does with the error.

    Parameters:
        storage: whose unit of work.
        make: makes one, for this very storage, when the block is not inside of any.
    """

    __slots__ = ("_joins", "_make", "_storage", "_unit")

    def __init__(self, storage: object, make: Callable[[], U]) -> None:
        self._storage = storage
        self._make = make
        self._unit: U | None = None
        self._joins = False

    async def __aenter__(self) -> U:
        """Begin one, or join."""
        if self._unit is not None:
            msg = "this unit_of_work() block was entered before: call unit_of_work() for every block"
            raise RuntimeError(msg)
        found: U | None = _innermost_of(self._storage)
        # A task that outlived the block it was started in may well begin one of its own.
        self._joins = found is not None and not found.over
        if found is not None and self._joins:
            found.join()
            self._unit = found
            return found
        unit = self._unit = self._make()
        active_unit_of_work.set(unit)
        return unit

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit, or roll back after an error; a block that has joined leaves both to the outer one."""
        unit = self._unit
        if unit is None:
            return
        if self._joins:
            unit.leave(error)
            return
        try:
            if error is None:
                await unit.finish()
            else:
                await unit.give_up(error)
        finally:
            # Not by a token: a block may be left in another context than it was entered in, as fixtures are.
            if active_unit_of_work.get() is unit:
                active_unit_of_work.set(unit.outer)


def open_unit_of_work() -> BaseUnitOfWork | None:
    """Return the innermost unit of work of the running task that is not over, whatever its storage; `None` in none."""
    unit: BaseUnitOfWork | None = active_unit_of_work.get()
    while unit is not None and unit.over:
        unit = unit.outer
    return unit


def outside_of_units_of_work() -> Context:
    """Return the running task's context, in no unit of work: for what is written at once, not with a commit."""
    context = copy_context()
    context.run(active_unit_of_work.set, None)
    return context


def joined_unit_of_work(storage: object) -> Any:
    """Return the unit of work of a storage that the running task is in, `None` where it is in none.

    Parameters:
        storage: the storage whose store asks; the class of its units of work is its own.

    Raises:
        CatgaError: `PERSISTENCE_FAILED` when the task has outlived the block it was started in: nothing it does may land
            outside of the transaction in silence.
    """
    unit = _innermost_of(storage)
    if unit is not None:
        unit.require_open()
    return unit


def _innermost_of(storage: object) -> Any:
    unit: BaseUnitOfWork | None = active_unit_of_work.get()
    while unit is not None and unit.storage is not storage:
        unit = unit.outer
    return unit


async def _to_its_end(work: Awaitable[None] | None) -> asyncio.CancelledError | None:
    """Finish a commit or rollback; return a cancellation that arrived meanwhile."""
    return None if work is None else (await settled(work))[1]
