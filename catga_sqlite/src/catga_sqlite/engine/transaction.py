"""The writer's side of a unit of work: what is asked of it, one after the other, until it commits or rolls back."""

from __future__ import annotations

import queue
import sqlite3
from collections.abc import Callable
from enum import Enum, auto

from catga_core.errors import CatgaError, Outcome, PersistenceError
from catga_sqlite.engine.failures import outcome_of_commit, persistence_failed
from catga_sqlite.engine.handover import Handover
from catga_sqlite.engine.jobs import Job, claimed, perform, settle


class Step(Enum):
    """What is asked of an open transaction."""

    STORE = auto()
    """Something of a store: whole, or not at all."""
    OWN = auto()
    """A statement of the application's own; it fails as sqlite3 says it."""
    MARK = auto()
    """Something with a savepoint, as it is."""
    COMMIT = auto()
    ROLLBACK = auto()


class Transaction:
    """One transaction that is open for as long as its unit of work.

    Args:
        describe: Names the unit of work, for the errors of writers that wait for it.
        time: Tells real seconds.
        ended: Called in the loop when it is over, after its last job was answered; with whether it was committed.
        handover: Watches what is asked of the writer's thread.
    """

    def __init__(
        self,
        describe: Callable[[], str],
        time: Callable[[], float],
        ended: Callable[[Transaction, bool], None],
        handover: Handover,
    ) -> None:
        self.describe: Callable[[], str] = describe
        self.began_at: float = time()
        self._time = time
        self.topics: int = 0
        self.over: bool = False
        self.broken_by: CatgaError | None = None
        self._committed = False
        self._ended = ended
        self._handover = handover
        self._ticket: list[None] = [None]
        self._queue: queue.SimpleQueue[tuple[Step, Job]] = queue.SimpleQueue()

    def taken(self) -> bool:
        """Take it from those who wait, once; `False` when another was first."""
        return claimed(self._ticket)

    def put(self, step: Step, job: Job) -> None:
        """Have something done in it; called in the loop, while it is not over."""
        self._queue.put((step, job))
        self._handover.watch(job.future)

    def serve(self, connection: sqlite3.Connection, path: str, tell: Callable[..., object]) -> Job:
        """Do what is asked until it is to end; runs in the writer's thread, in a transaction that has begun.

        Returns:
            The job that ended it, which is yet to be answered.
        """
        self.began_at = self._time()
        while True:
            step, job = self._queue.get()
            last = step is Step.COMMIT or step is Step.ROLLBACK
            if last or not job.future.done():
                self._do(connection, step, job, path)
            if last:
                return job
            tell(self._settle, job)

    def ended_by(self, last: Job | None, error: CatgaError | None) -> None:
        """Note that the writer is done with it, and answer what came too late; runs in the loop.

        Args:
            last: The job that ended it, if one did.
            error: Why it could not even begin, `None` where it did.
        """
        if self.over:
            return
        self.over = True
        if last is not None:
            settle([last])
        self.broken_by = self.broken_by or error
        while not self._queue.empty():
            step, job = self._queue.get()
            if step is not Step.ROLLBACK:
                job.error = self.broken_by or too_late()
            settle([job])
        self._ended(self, self._committed)

    def _do(self, connection: sqlite3.Connection, step: Step, job: Job, path: str) -> None:
        if step is Step.ROLLBACK:
            # The writer rolls back whatever is open when it gets its connection back.
            return
        if self.broken_by is not None:
            job.error = _broken(self.broken_by)
            return
        try:
            if step is Step.COMMIT:
                connection.execute("COMMIT")
                self._committed = True
            elif step is Step.MARK:
                perform(connection, [job])
            else:
                _whole(connection, job)
        except CatgaError as error:
            job.error = error
        except BaseException as error:  # noqa: BLE001, RUF100
            outcome = outcome_of_commit(error) if step is Step.COMMIT else Outcome.NOT_WRITTEN
            failed = persistence_failed(error, path, outcome) if isinstance(error, sqlite3.Error) else error
            job.error = error if step is Step.OWN else failed
            if step is Step.COMMIT or not connection.in_transaction:
                # After a full disk or an I/O error SQLite rolls everything back by itself.
                self.broken_by = persistence_failed(error, path, outcome)

    def _settle(self, job: Job) -> None:
        self.topics |= settle([job])


def too_late() -> CatgaError:
    """Return the error for what is asked of a transaction that is over."""
    return PersistenceError(
        "The unit of work was rolled back before this write: its storage was stopped, or it timed out. Start a new one.",
        outcome=Outcome.NOT_WRITTEN,
    )


def _broken(cause: CatgaError) -> CatgaError:
    error = PersistenceError(
        f"SQLite rolled the unit of work back after a failure in it. {cause.message}",
        retryable=cause.retryable,
        details=cause.details,
    )
    error.__cause__ = cause
    return error


def _whole(connection: sqlite3.Connection, job: Job) -> None:
    """Do a job all or nothing, so that who catches its error may go on in the same transaction."""
    connection.execute("SAVEPOINT catga_job")
    try:
        perform(connection, [job])
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK TO catga_job")
            connection.execute("RELEASE catga_job")
        raise
    connection.execute("RELEASE catga_job")
