"""The thread that writes: what several callers ask while the disk is busy shares the next transaction and its flush."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from catga_core.errors import CatgaError, Outcome
from catga_sqlite.engine.failures import is_busy, moved_away, outcome_of_commit, persistence_failed
from catga_sqlite.engine.handover import Handover
from catga_sqlite.engine.jobs import Job, claimed, finish, perform, settle
from catga_sqlite.engine.opening import identity_of, whole_path
from catga_sqlite.engine.transaction import Transaction
from catga_sqlite.options import Synchronous

# Jobs in one transaction: enough to make a flush cheap for each, few enough to keep the first of them from waiting long.
_MOST: Final = 512
# Seconds between two tries while another process writes. SQLite's own waiting grows to 100 ms, in which a busy process
# begins many a transaction; short waits of random length give both their turn.
_PAUSE: Final = (0.0003, 0.003)
_FLUSHED: Final = ("FULL", "EXTRA")
# Seconds after which a commit that was not flushed to the disk is.
_UNFLUSHED: Final = 1.0
# Writes a page, without which a commit would flush nothing; fencing numbers only have to rise.
_WRITE_A_PAGE: Final = "UPDATE catga_fence SET value = value + 1"


class Writer:
    """Owns the connection that writes, and the thread it is used in.

    Args:
        path: The file, for errors.
        open: Opens the connection; called in the thread.
        busy_timeout: Seconds to wait for another process.
        synchronous: The level of the connection, at which commits are flushed.
        done: Called in the loop after each transaction, with the topics that were written.
    """

    def __init__(
        self,
        path: str,
        open: Callable[[], sqlite3.Connection],
        busy_timeout: float,
        synchronous: Synchronous,
        done: Callable[[int], None],
    ) -> None:
        self._path = path
        self._open = open
        self._busy_timeout = busy_timeout
        self._done = done
        self._synchronous = synchronous
        # Whether commits are flushed to the disk just now, and since when one is not.
        self._flushes = True
        self._unflushed_since: float | None = None
        self._loop = asyncio.get_running_loop()
        self.handover: Handover = Handover(self._loop)
        self._queue: queue.SimpleQueue[Job | Transaction | None] = queue.SimpleQueue()
        self._place = path
        self._identity: tuple[int, int] | None = None
        self._later: deque[Job | Transaction | None] = deque()
        self._closed: asyncio.Future[None] | None = None
        self.holder: Transaction | None = None
        self.last_error: CatgaError | None = None

    async def start(self) -> None:
        """Open the connection; return when it can be used."""
        opened: asyncio.Future[None] = self._loop.create_future()
        closed = self._closed = self._loop.create_future()
        # A daemon, because a program that forgot to stop its storage must still end.
        threading.Thread(
            target=self._work, args=(opened, closed), name=f"catga-sqlite-writer {self._path}", daemon=True
        ).start()
        await asyncio.shield(opened)

    def put(self, work: Job | Transaction) -> None:
        """Have something done after all that was put before."""
        self._queue.put(work)
        if isinstance(work, Job):
            self.handover.watch(work.future)

    async def stop(self) -> None:
        """Do what was put before, empty the write-ahead log, and close the connection."""
        if self._closed is not None:
            self._queue.put(None)
            await asyncio.shield(self._closed)

    def _work(self, opened: asyncio.Future[None], closed: asyncio.Future[None]) -> None:
        try:
            connection = self._open()
            self._place = whole_path(connection)
            self._identity = identity_of(self._place)
        except BaseException as error:  # noqa: BLE001, RUF100
            self._tell(finish, opened, error)
            self._tell(finish, closed, None)
            return
        self._tell(finish, opened, None)
        try:
            while (work := self._next(connection)) is not None:
                if isinstance(work, Transaction):
                    self._serve(connection, work)
                else:
                    self._commit_together(connection, self._companions(work))
                # Nothing that is done may be kept alive until the next comes.
                del work
        finally:
            self._flush(connection)
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            with contextlib.suppress(sqlite3.Error):
                connection.close()
            self._tell(finish, closed, None)

    def _next(self, connection: sqlite3.Connection) -> Job | Transaction | None:
        if self._later:
            return self._later.popleft()
        if self._unflushed_since is not None:
            left = self._unflushed_since + _UNFLUSHED - time.monotonic()
            if left > 0:
                with contextlib.suppress(queue.Empty):
                    return self._queue.get(timeout=left)
            self._flush(connection)
        return self._queue.get()

    def _companions(self, first: Job) -> list[Job]:
        """Return a job and those that wait behind it, up to a unit of work."""
        jobs = [first]
        # There is one reader of this queue: as many as it has can be taken without waiting.
        for _ in range(min(self._queue.qsize(), _MOST)):
            work = self._queue.get()
            if not isinstance(work, Job):
                self._later.append(work)
                break
            jobs.append(work)
        return jobs

    def _commit_together(self, connection: sqlite3.Connection, asked: Sequence[Job]) -> None:
        # Not those whose caller was cancelled, or has waited too long.
        jobs = [job for job in asked if not job.future.done() and (job.ticket is None or claimed(job.ticket))]
        if jobs:
            self._commit(connection, jobs)
            self._tell(self._settle, jobs)

    def _commit(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
        """Do jobs in one transaction; where one of them breaks it, each in one of its own."""
        flush = any(job.flush for job in jobs)
        try:
            self._begin(connection, flush=flush)
        except sqlite3.Error as error:
            self._failed(jobs, error, Outcome.NOT_WRITTEN)
            return
        before = connection.total_changes
        try:
            perform(connection, jobs)
        except BaseException as error:  # noqa: BLE001, RUF100
            _roll_back(connection)
            self._alone(connection, jobs, error)
            return
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            _roll_back(connection)
            outcome = outcome_of_commit(error)
            if outcome is Outcome.UNKNOWN:
                self._failed(jobs, error, outcome)
            else:
                self._alone(connection, jobs, error)
            return
        self.last_error = None
        if not self._flushes and self._unflushed_since is None and connection.total_changes != before:
            self._unflushed_since = time.monotonic()

    def _alone(self, connection: sqlite3.Connection, jobs: Sequence[Job], error: BaseException) -> None:
        if len(jobs) == 1:
            self._failed(jobs, error, Outcome.NOT_WRITTEN)
            return
        for job in jobs:
            job.error = job.result = None
            self._commit(connection, [job])

    def _failed(self, jobs: Sequence[Job], error: BaseException, outcome: Outcome) -> None:
        for job in jobs:
            job.error = error
            if isinstance(error, sqlite3.Error):
                # One for each: an error that is raised in several tasks would collect the tracebacks of all.
                job.error = self.last_error = persistence_failed(error, self._path, outcome)

    def _flush(self, connection: sqlite3.Connection) -> None:
        """Flush the commits that were not; whether one after them has done so already is not known, as it may have written nothing."""
        if self._unflushed_since is None:
            return
        try:
            self._begin(connection)
            connection.execute(_WRITE_A_PAGE)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            _roll_back(connection)
            self.last_error = persistence_failed(error, self._path, Outcome.NOT_WRITTEN)
        else:
            self._unflushed_since = self.last_error = None

    def _begin(self, connection: sqlite3.Connection, *, flush: bool = True) -> None:
        # Where even a rollback had failed.
        _roll_back(connection)
        # A microsecond or two for each transaction; without, what is acknowledged from here on would be lost.
        if identity_of(self._place) != self._identity:
            raise moved_away()
        if flush is not self._flushes and self._synchronous in _FLUSHED:
            # A script is compiled each time, and that is when this takes effect.
            connection.executescript(f"PRAGMA synchronous = {self._synchronous if flush else 'NORMAL'}")
            self._flushes = flush
        begun = 0.0
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                now = time.monotonic()
                begun = begun or now
                if not is_busy(error) or now - begun >= self._busy_timeout:
                    raise
                time.sleep(random.uniform(*_PAUSE))  # noqa: S311 - no secret
            else:
                return

    def _serve(self, connection: sqlite3.Connection, transaction: Transaction) -> None:
        """Give the connection to a unit of work until it ends."""
        if not transaction.taken():
            return
        self.holder = transaction
        last: Job | None = None
        failure: CatgaError | None = None
        try:
            self._begin(connection)
            last = transaction.serve(connection, self._path, self._tell)
            self.last_error = transaction.broken_by
        except sqlite3.Error as error:
            failure = self.last_error = persistence_failed(error, self._path, Outcome.NOT_WRITTEN)
        finally:
            _roll_back(connection)
            self.holder = None
            self._tell(transaction.ended_by, last, failure)

    def _settle(self, jobs: Sequence[Job]) -> None:
        topics = settle(jobs)
        if topics:
            self._done(topics)

    def _tell(self, function: Callable[..., object], *arguments: Any) -> None:
        # The loop may have been closed by a program that does not stop its storage; then no caller is left.
        try:  # noqa: SIM105, RUF100 - once for every answer, and a context manager takes a microsecond
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return


def _roll_back(connection: sqlite3.Connection) -> None:
    # After a full disk or an I/O error SQLite has done so already.
    if connection.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
