"""Whose turn it is: units of work have the file one after the other, each waits for a limited time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from catga_core.errors import CatgaError, Outcome, PersistenceError
from catga_sqlite.engine.jobs import Job, claimed
from catga_sqlite.engine.transaction import Step, Transaction
from catga_sqlite.engine.writer import Writer


class Turns:
    """Hands transactions to the writer, and gives up what waits too long for one of them.

    Args:
        path: The file, for errors.
        patience: Seconds that a write or a unit of work waits.
        done: Called with the topics of each transaction that was committed.
    """

    def __init__(self, path: str, patience: float, done: Callable[[int], None]) -> None:
        self._path = path
        self._patience = patience
        self._done = done
        self._writer: Writer | None = None
        self._open: dict[Transaction, asyncio.Future[None]] = {}

    @property
    def count(self) -> int:
        """How many units of work have the file or wait for it."""
        return len(self._open)

    def give(self, writer: Writer) -> None:
        """Begin to work with a writer."""
        self._writer = writer

    def open_transaction(self, describe: Callable[[], str]) -> Transaction:
        """Return a transaction that waits for its turn, and fails when that does not come in time.

        Args:
            describe: Names the unit of work, for the errors of writers that wait for it.

        Raises:
            CatgaError: `PERSISTENCE_FAILED` when the storage is not open.
        """
        writer = self._writer
        if writer is None:
            raise PersistenceError(
                f"The SQLite file {self._path!r} is not open. Begin units of work while the container runs.",
                retryable=False,
                outcome=Outcome.NOT_WRITTEN,
            )
        loop = asyncio.get_running_loop()
        transaction = Transaction(describe, loop.time, self._ended, writer.handover)
        over: asyncio.Future[None] = loop.create_future()
        if self._open:
            timer = loop.call_later(self._patience, self._expired, transaction)
            over.add_done_callback(lambda _: timer.cancel())
        self._open[transaction] = over
        writer.put(transaction)
        return transaction

    def give_up(self, transaction: Transaction) -> None:
        """Take back a transaction that has not had its turn; nothing otherwise."""
        if transaction.taken():
            transaction.ended_by(None, None)

    def limit(self, job: Job) -> None:
        """Have a job that waits for units of work fail in time."""
        job.ticket = [None]
        timer = asyncio.get_running_loop().call_later(self._patience, self._give_up_job, job)
        job.future.add_done_callback(lambda _: timer.cancel())

    async def close(self) -> None:
        """Wait a while for those that are open, then roll them back."""
        if self._open:
            await asyncio.wait(list(self._open.values()), timeout=self._patience)
        self._writer = None
        for transaction, over in list(self._open.items()):
            self.give_up(transaction)
            if not transaction.over:
                transaction.put(Step.ROLLBACK, Job(asyncio.get_running_loop().create_future(), None, ()))
                await over

    def _ended(self, transaction: Transaction, committed: bool) -> None:
        over = self._open.pop(transaction)
        over.set_result(None)
        if committed and transaction.topics:
            self._done(transaction.topics)

    def _expired(self, transaction: Transaction) -> None:
        if transaction.taken():
            transaction.ended_by(None, self._waited())

    def _give_up_job(self, job: Job) -> None:
        if not job.future.done() and job.ticket is not None and claimed(job.ticket):
            job.future.set_exception(self._waited())

    def _waited(self) -> CatgaError:
        holder = self._writer.holder if self._writer is not None else None
        if holder is None:
            whose = "other writers held it"
        else:
            since = asyncio.get_running_loop().time() - holder.began_at
            whose = f"{holder.describe()} has held it for {since:.1f} s"
        return PersistenceError(
            f"Timed out after {self._patience:g} s (unit_of_work_timeout_seconds) waiting to write to the SQLite file "
            f"{self._path!r}: {whose}. Avoid slow I/O inside a unit of work.",
            outcome=Outcome.NOT_WRITTEN,
        )
