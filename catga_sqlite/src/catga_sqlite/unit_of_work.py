"""A unit of work on the SQLite file."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from catga_core.messages.context import Unread, active_context
from catga_core.messages.message_context import MessageContext
from catga_core.unit_of_work import BaseUnitOfWork
from catga_sqlite.engine.connection import SqliteConnection
from catga_sqlite.engine.jobs import Job
from catga_sqlite.engine.transaction import Step, Transaction, too_late


class _Mark(msgspec.Struct, eq=False):
    """A nested block's savepoint.

    Args:
        name: Its name in the transaction.
        is_set: Whether it was made.
    """

    name: str
    is_set: bool = False


class Opener(Protocol):
    """What a unit of work needs of its storage."""

    def open_transaction(self, describe: Callable[[], str]) -> Transaction:
        """Return a transaction that waits for its turn."""
        ...

    def give_up(self, transaction: Transaction) -> None:
        """Take back a transaction that has not had its turn; nothing otherwise."""
        ...


class SqliteUnitOfWork(BaseUnitOfWork):
    """One transaction of the file, begun with the first write or statement in the block.

    Args:
        storage: Whose.
        opener: That storage, as a unit of work sees it.
    """

    def __init__(self, storage: object, opener: Opener) -> None:
        super().__init__(storage)
        self._opener = opener
        self._transaction: Transaction | None = None
        self._connection: SqliteConnection | None = None
        self._marks = 0
        self._unset: list[_Mark] = []
        # Only the error of a writer that waits for this unit of work needs the text.
        self._describe = functools.partial(_described, asyncio.current_task(), active_context.peek())

    @property
    def connection(self) -> SqliteConnection:
        """Execute statements on your own tables in the same transaction.

        Raises:
            CatgaError: `PERSISTENCE_FAILED` when the unit of work is over.
        """
        self.require_open()
        if self._connection is None:
            self._connection = SqliteConnection(self._run_own)
        return self._connection

    @property
    def has_writes(self) -> bool:
        """Whether it has the file: it takes it for its first write."""
        return self._transaction is not None

    @property
    def begun(self) -> bool:
        """Whether it has the file: reads are made in its transaction from then on."""
        return self._transaction is not None

    def put(self, job: Job, *, writes: bool) -> None:
        """Have a store's job done in the transaction.

        Args:
            job: The job.
            writes: Whether it writes.
        """
        if writes:
            self.writing()
        self._put(Step.STORE, job)

    def _put(self, step: Step, job: Job) -> None:
        transaction = self._transaction
        if transaction is None:
            transaction = self._transaction = self._opener.open_transaction(self._describe)
        for mark in self._unset:
            _set_off(transaction, f"SAVEPOINT {mark.name}")
            mark.is_set = True
        self._unset.clear()
        _put(transaction, step, job)

    def _save(self) -> _Mark:
        # The savepoint is made by the first write of the block, so that a block without one costs nothing.
        self._marks += 1
        mark = _Mark(f"catga_block_{self._marks}")
        self._unset.append(mark)
        return mark

    def _release(self, mark: Any) -> None:
        transaction = self._transaction
        if not mark.is_set:
            self._unset.remove(mark)
        elif transaction is not None and not transaction.over:
            _set_off(transaction, f"RELEASE {mark.name}")

    def _roll_back_to(self, mark: Any) -> Awaitable[None] | None:
        transaction = self._transaction
        if transaction is None or not mark.is_set:
            self._unset.remove(mark)
            return None
        return _rolled_back(transaction, mark.name)

    async def _run_own(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        self.require_open()
        self.writing()
        job = Job(asyncio.get_running_loop().create_future(), function, arguments)
        self._put(Step.OWN, job)
        return await job.future

    def _commit(self) -> Awaitable[None] | None:
        return None if self._transaction is None else _end(self._transaction, Step.COMMIT)

    def _roll_back(self) -> Awaitable[None] | None:
        transaction = self._transaction
        if transaction is None:
            return None
        self._opener.give_up(transaction)
        return None if transaction.over else _end(transaction, Step.ROLLBACK)


def _execute(connection: sqlite3.Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(statement)


def _set_off(transaction: Transaction, statement: str) -> None:
    """Have a statement executed before whatever is asked next; its failure is that of the transaction."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.add_done_callback(_retrieved)
    _put(transaction, Step.MARK, Job(future, _execute, (statement,)))


def _retrieved(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()


async def _rolled_back(transaction: Transaction, name: str) -> None:
    job = Job(
        asyncio.get_running_loop().create_future(), _execute, (f"ROLLBACK TO {name}", f"RELEASE {name}")
    )
    _put(transaction, Step.MARK, job)
    await job.future


async def _end(transaction: Transaction, step: Step) -> None:
    job = Job(asyncio.get_running_loop().create_future(), None, ())
    _put(transaction, step, job)
    await job.future


def _put(transaction: Transaction, step: Step, job: Job) -> None:
    if transaction.over:
        raise transaction.broken_by or too_late()
    transaction.put(step, job)


def _described(task: asyncio.Task[Any] | None, message: MessageContext | Unread | None) -> str:
    name = "" if task is None else f" of task {task.get_name()!r}"
    code = getattr(None if task is None else task.get_coro(), "__qualname__", None)
    # An id that was not read yet is in no log line.
    context = message.context if isinstance(message, Unread) else message
    handling = "" if context is None else f", handling message {context.message_id}"
    return f"the unit of work{name}{f' ({code})' if code else ''}{handling}"
