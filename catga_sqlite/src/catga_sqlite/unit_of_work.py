"""A unit of work on the SQLite file."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from catga_core.messages.context import Unread, active_context
from catga_core.messages.message_context import MessageContext
from catga_core.unit_of_work import BaseUnitOfWork
from catga_sqlite.engine.connection import SqliteConnection
from catga_sqlite.engine.jobs import Job
from catga_sqlite.engine.transaction import Step, Transaction, too_late


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
    def begun(self) -> bool:
        """Whether it has the file: reads are made in its transaction from then on."""
        return self._transaction is not None

    def put(self, job: Job) -> None:
        """Have a store's job done in the transaction."""
        self._put(Step.STORE, job)

    def _put(self, step: Step, job: Job) -> None:
        transaction = self._transaction
        if transaction is None:
            transaction = self._transaction = self._opener.open_transaction(self._describe)
        _put(transaction, step, job)

    async def _run_own(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        self.require_open()
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
