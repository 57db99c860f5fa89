"""Units of work: how a task finds its own, and what the units of work of all storages share."""

from __future__ import annotations

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar, copy_context
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from catga_core.errors import PersistenceError
from catga_core.errors.groups import as_catga_error
from catga_core.log import AFTER_COMMIT_FAILED, logger, traceback_of
from catga_core.runtime.savepoints import Savepoint, Savepoints, active_savepoint
from catga_core.runtime.shielded import settled
from catga_core.runtime.tasks import background_task

active_unit_of_work: ContextVar[Any] = ContextVar("catga_unit_of_work", default=None)
"""A `catga_core.interfaces.UnitOfWork`, the innermost one; `None` outside of any block.

A storage sets it around a `unit_of_work()` block. A store finds the one of its own storage with `joined_unit_of_work`."""

U = TypeVar("U", bound="BaseUnitOfWork")


class CommitGuard(Protocol):
    """Decides whether a task may commit: its work may be another process's by then."""

    async def before_begin(self, storage: object, /) -> None:
        """Prepare for a unit of work of a storage, outside of it; may raise."""
        ...

    async def before_commit(self, unit: BaseUnitOfWork, /) -> None:
        """Check right before a commit, in the transaction; may write to it, and raise to roll back."""
        ...

    def error_of(self, error: BaseException, /) -> BaseException:
        """Return the error to raise for one that a commit has failed with: another one where the guard caused it."""
        ...


commit_guard: ContextVar[CommitGuard | None] = ContextVar("catga_commit_guard", default=None)
"""The guard of the units of work that the running task begins and commits, `None` for no guard."""


class BaseUnitOfWork(ABC):
    """Base class of the units of work of all storages; `UnitOfWorkBlock` runs it.

    Args:
        storage: The storage; the stores of this very object join the unit of work.
    """

    def __init__(self, storage: object) -> None:
        self.storage: object = storage
        self.outer: BaseUnitOfWork | None = active_unit_of_work.get()
        self.over: bool = False
        self._savepoints = Savepoints(self)
        self._spoiled_by: BaseException | None = None
        self._before: list[Callable[[], Any]] = []
        self._after: list[Callable[[], None]] = []
        self._undone: list[Callable[[BaseException], Awaitable[None]]] = []
        # Those of nested blocks that were rolled back alone: done when the storage is free for writes of others again.
        self._undone_alone: list[tuple[Callable[[BaseException], Awaitable[None]], BaseException]] = []

    @abstractmethod
    def _commit(self) -> Awaitable[None] | None:
        """Commit all of its writes, or none.

        Returns:
            `None` if that is done, otherwise an awaitable, which is finished even if the task is cancelled.
        """

    @abstractmethod
    def _roll_back(self) -> Awaitable[None] | None:
        """Discard its writes and release its resources; also called after a failed commit.

        Returns:
            As `_commit`.
        """

    def _save(self) -> object:
        """Return a mark of what is written so far; `None` where the storage has no savepoints.

        Called when a nested block is entered. A storage that has them implements `_roll_back_to` too, and `_release` where
        a mark costs anything; it calls `writing` before each write.
        """
        return None

    def _roll_back_to(self, mark: object) -> Awaitable[None] | None:
        """Discard what was written since a mark, and the mark.

        Returns:
            As `_commit`.
        """
        raise NotImplementedError

    def _release(self, mark: object) -> None:  # noqa: B027 - most storages have nothing to do
        """Forget a mark, and keep what was written since."""

    @property
    def has_writes(self) -> bool:
        """Whether a commit may change anything; `True` where that is not known."""
        return True

    def writing(self) -> None:
        """Note that the running task writes: a nested block of another task cannot be rolled back alone any more."""
        self._savepoints.wrote()

    def require_open(self) -> None:
        """Do nothing while it is open.

        Raises:
            PersistenceError: It has ended.
        """
        if self.over:
            text = (
                "This unit of work has ended. Await tasks that use stores before the block ends, or open a separate "
                "unit of work in them."
            )
            raise PersistenceError(text, retryable=False)

    def before_commit(self, action: Callable[[], Any], /) -> None:
        """Run an action in the transaction, after the block and before the commit.

        Args:
            action: Called once; may be a coroutine function, and may raise to roll back.

        Raises:
            PersistenceError: The unit of work has ended.
        """
        self.require_open()
        self.writing()
        self._before.append(action)

    def after_commit(self, action: Callable[[], None], /) -> None:
        """Run an action after a successful commit; never after a rollback.

        Args:
            action: Called once. An error is logged.

        Raises:
            PersistenceError: The unit of work has ended.
        """
        self.require_open()
        self.writing()
        self._after.append(action)

    def after_rollback(self, action: Callable[[BaseException], Awaitable[None]], /) -> None:
        """Run an action after a rollback or an unknown outcome; never after a commit.

        Args:
            action: Called once with the error that ended the unit of work, outside of any unit of work; must not raise.

        Raises:
            PersistenceError: The unit of work has ended.
        """
        self.require_open()
        self.writing()
        self._undone.append(action)

    def enter(self) -> Savepoint:
        """Enter a nested block."""
        counts = len(self._before), len(self._after), len(self._undone)
        alone = self._savepoints.may_begin()
        mark = self._save() if alone else None
        point = Savepoint(self, active_savepoint.get(), mark, *counts, self._spoiled_by, mixed=mark is None)
        self._savepoints.begin(point)
        return point

    async def leave(self, point: Savepoint, error: BaseException | None) -> None:
        """Leave a nested block, and roll it back after an error.

        Args:
            point: The block.
            error: The error that leaves it, if any. Where the block cannot be rolled back alone, it prevents the commit of
                the whole.
        """
        alone = self._savepoints.end(point)
        if self.over:
            return
        if error is None:
            if alone:
                self._release(point.mark)
            return
        if not alone:
            self._spoiled_by = self._spoiled_by or error
            return
        del self._before[point.before :], self._after[point.after :]
        self._undone_alone += [(undo, error) for undo in self._undone[point.undone :]]
        del self._undone[point.undone :]
        self._spoiled_by = point.spoiled_by
        try:
            cancelled = await _to_its_end(self._roll_back_to(point.mark))
        except Exception as also:  # noqa: BLE001 - noted on the first error, and the whole is not committed
            error.add_note(f"Rolling back the nested block failed too: {type(also).__name__}: {also}")
            self._spoiled_by = self._spoiled_by or error
            return
        if cancelled is not None:
            raise cancelled from error

    async def finish(self) -> None:
        """Run the actions before the commit, commit, and run the actions after it; roll back on an error."""
        guard = commit_guard.get()
        try:
            # The loop includes actions that an action registers.
            for action in self._before:
                pending = action()
                if inspect.isawaitable(pending):
                    await pending
            self._require_whole()
            if guard is not None:
                await guard.before_commit(self)
            self.over = True
            cancelled = await _to_its_end(self._commit())
        except BaseException as error:
            shown = error if guard is None else guard.error_of(error)
            await self.give_up(shown)
            if shown is error:
                raise
            raise shown from error
        for action in self._after:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - it is committed, and the other actions must run
                logger().error(AFTER_COMMIT_FAILED, error=type(error).__name__, stack=traceback_of(error))
        if self._undone_alone:
            cancelled = await _to_its_end(self._undoing(None)) or cancelled
        if cancelled is not None:
            raise cancelled

    async def give_up(self, error: BaseException) -> None:
        """Roll back.

        Args:
            error: Why; further failures are added to it as notes.
        """
        self.over = True
        cancelled: asyncio.CancelledError | None = None
        try:
            cancelled = await _to_its_end(self._roll_back())
        except Exception as also:  # noqa: BLE001 - noted on the first error
            error.add_note(f"Rolling back failed too: {type(also).__name__}: {also}")
        if self._undone or self._undone_alone:
            cancelled = await _to_its_end(self._undoing(error)) or cancelled
        if cancelled is not None:
            raise cancelled from error

    def _undoing(self, error: BaseException | None) -> Awaitable[None]:
        return background_task(self._undo(error), context=outside_of_units_of_work())

    async def _undo(self, error: BaseException | None) -> None:
        for undo, cause in self._undone_alone:
            await undo(cause)
        if error is not None:
            for undo in self._undone:
                await undo(error)

    def _require_whole(self) -> None:
        cause, self._spoiled_by = self._spoiled_by, None
        if cause is not None:
            text = (
                "The unit of work was rolled back, because a unit_of_work() block inside of it failed with "
                f"{type(cause).__name__} and its writes cannot be rolled back alone: other tasks wrote in the meantime, or "
                "the storage has no savepoints. Let its error leave the outer block, or run the blocks one after the other."
            )
            known = as_catga_error(cause)
            again = known is not None and known.retryable
            raise PersistenceError(text, retryable=again) from cause
        if self._savepoints:
            text = (
                "The unit of work was rolled back, because a task is still in a unit_of_work() block inside of it. "
                "Await that task before the outer block ends."
            )
            raise PersistenceError(text, retryable=False)


class UnitOfWorkBlock(Generic[U]):
    """One `async with storage.unit_of_work()` block: begins a unit of work, or joins the surrounding one.

    An error that leaves a joined block rolls back what was written in it; the outer block may go on. Where that cannot be
    rolled back alone (several tasks wrote at once, or the storage has no savepoints) the outer block fails too.

    Args:
        storage: The storage.
        make: Begins a unit of work of this storage where there is none to join.
    """

    __slots__ = ("_make", "_point", "_storage", "_unit")

    def __init__(self, storage: object, make: Callable[[], U]) -> None:
        self._storage = storage
        self._make = make
        self._unit: U | None = None
        self._point: Savepoint | None = None

    async def __aenter__(self) -> U:
        """Begin a unit of work, or join."""
        if self._unit is not None:
            msg = "A unit_of_work() block can be entered only once. Call unit_of_work() for every block."
            raise RuntimeError(msg)
        found: U | None = _innermost_of(self._storage)
        # A task that outlived its block may begin another unit of work.
        if found is not None and not found.over:
            self._point = found.enter()
            self._unit = found
            return found
        guard = commit_guard.get()
        if guard is not None:
            await guard.before_begin(self._storage)
        unit = self._unit = self._make()
        active_unit_of_work.set(unit)
        return unit

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit, or roll back after an error; a joined block leaves the commit to the outer one."""
        unit = self._unit
        if unit is None:
            return
        if self._point is not None:
            await unit.leave(self._point, error)
            return
        try:
            if error is None:
                await unit.finish()
            else:
                await unit.give_up(error)
        finally:
            # Without a token: a block may be left in another context than it was entered in, as in fixtures.
            if active_unit_of_work.get() is unit:
                active_unit_of_work.set(unit.outer)


def open_unit_of_work() -> BaseUnitOfWork | None:
    """Return the innermost open unit of work of the running task, of any storage; `None` if there is none."""
    unit: BaseUnitOfWork | None = active_unit_of_work.get()
    while unit is not None and unit.over:
        unit = unit.outer
    return unit


def outside_of_units_of_work() -> Context:
    """Return a copy of the running task's context without a unit of work, for writes that are not part of it."""
    context = copy_context()
    context.run(active_unit_of_work.set, None)
    return context


def joined_unit_of_work(storage: object) -> Any:
    """Return the running task's unit of work of a storage, `None` outside of any.

    Args:
        storage: The storage; each has its own class of units of work.

    Raises:
        PersistenceError: The task has outlived its block. Its writes must not silently happen outside of the transaction.
    """
    if active_unit_of_work.get() is None:
        return None
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
