"""Units of work: how a task finds its own, and what the units of work of all storages share."""

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
from catga_core.runtime.tasks import background_task

active_unit_of_work: ContextVar[Any] = ContextVar("catga_unit_of_work", default=None)
"""A `catga_core.interfaces.UnitOfWork`, the innermost one; `None` outside of any block.

A storage sets it around a `unit_of_work()` block. A store finds the one of its own storage with `joined_unit_of_work`."""

U = TypeVar("U", bound="BaseUnitOfWork")


class BaseUnitOfWork(ABC):
    """Base class of the units of work of all storages; `UnitOfWorkBlock` runs it.

    Args:
        storage: The storage; the stores of this very object join the unit of work.
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
        self._before.append(action)

    def after_commit(self, action: Callable[[], None], /) -> None:
        """Run an action after a successful commit; never after a rollback.

        Args:
            action: Called once. An error is logged.

        Raises:
            PersistenceError: The unit of work has ended.
        """
        self.require_open()
        self._after.append(action)

    def after_rollback(self, action: Callable[[BaseException], Awaitable[None]], /) -> None:
        """Run an action after a rollback or an unknown outcome; never after a commit.

        Args:
            action: Called once with the error that ended the unit of work, outside of any unit of work; must not raise.

        Raises:
            PersistenceError: The unit of work has ended.
        """
        self.require_open()
        self._undone.append(action)

    def join(self) -> None:
        """Count one more block inside of it."""
        self._inside += 1

    def leave(self, error: BaseException | None) -> None:
        """Count one block less inside of it.

        Args:
            error: The error of that block, if any; it prevents the commit of the whole.
        """
        self._inside -= 1
        if not self.over:
            self._spoiled_by = self._spoiled_by or error

    async def finish(self) -> None:
        """Run the actions before the commit, commit, and run the actions after it; roll back on an error."""
        try:
            # The loop includes actions that an action registers.
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
        for action in self._after:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - it is committed, and the other actions must run
                logger().error(AFTER_COMMIT_FAILED, error=type(error).__name__, stack=traceback_of(error))
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
        if self._undone:
            undoing = background_task(self._undo(error), context=outside_of_units_of_work())
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
                "The unit of work was rolled back, because a unit_of_work() block inside of it failed with "
                f"{type(cause).__name__} and its writes cannot be rolled back alone. Let its error leave the outer block."
            )
            again = isinstance(cause, CatgaError) and cause.retryable
            raise PersistenceError(text, retryable=again) from cause
        if self._inside:
            text = (
                "The unit of work was rolled back, because a task is still in a unit_of_work() block inside of it. "
                "Await that task before the outer block ends."
            )
            raise PersistenceError(text, retryable=False)


class UnitOfWorkBlock(Generic[U]):
    """One `async with storage.unit_of_work()` block: begins a unit of work, or joins the surrounding one.

    An error that leaves a joined block fails the outer block too, whatever it does with the error.

    Args:
        storage: The storage.
        make: Begins a unit of work of this storage where there is none to join.
    """

    __slots__ = ("_joins", "_make", "_storage", "_unit")

    def __init__(self, storage: object, make: Callable[[], U]) -> None:
        self._storage = storage
        self._make = make
        self._unit: U | None = None
        self._joins = False

    async def __aenter__(self) -> U:
        """Begin a unit of work, or join."""
        if self._unit is not None:
            msg = "A unit_of_work() block can be entered only once. Call unit_of_work() for every block."
            raise RuntimeError(msg)
        found: U | None = _innermost_of(self._storage)
        # A task that outlived its block may begin another unit of work.
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
        """Commit, or roll back after an error; a joined block leaves both to the outer one."""
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
