"""The storage: one SQLite file, its writer and its readers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

from catga_core.clock import Clock
from catga_core.errors import CatgaError, Outcome, PersistenceError
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.storage import StorageCapabilities
from catga_core.runtime import background_task
from catga_core.runtime.home_loop import LOOP_IS_CLOSED
from catga_core.unit_of_work import UnitOfWorkBlock, joined_unit_of_work
from catga_sqlite.engine.jobs import Job, Many
from catga_sqlite.engine.opening import open_reader, open_writer
from catga_sqlite.engine.probe import Probe
from catga_sqlite.engine.readers import Readers
from catga_sqlite.engine.turns import Turns
from catga_sqlite.engine.wakeups import Wakeups
from catga_sqlite.engine.writer import Writer
from catga_sqlite.options import SqliteOptions
from catga_sqlite.unit_of_work import SqliteUnitOfWork

T = TypeVar("T")

_CAPABILITIES: Final = StorageCapabilities(
    durable=True,
    shared=True,
    immediate=True,
    connection=True,
    clock=True,
    joining_locks=True,
)


class SqliteStorage:
    """One SQLite file: a thread that writes, a few that read, and the units of work on it.

    It belongs to the event loop in which it was started. What several callers write at once shares a transaction and
    its flush to the disk, while the failure or cancellation of one of them does not reach the others.

    Args:
        options: Which file, and what to promise of it.
        clock: The clock that leases and expiry follow.
    """

    def __init__(self, options: SqliteOptions, clock: Clock) -> None:
        self.options: SqliteOptions = options
        self.clock: Clock = clock
        self.wakeups: Wakeups = Wakeups(clock, self._changed, options.poll_seconds)
        self._turns: Turns = Turns(options.file, options.unit_of_work_timeout_seconds, self.wakeups.wake)
        self._probe = Probe(options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._stopping: asyncio.Task[None] | None = None

    @property
    def capabilities(self) -> StorageCapabilities:
        """Durable, shared by processes of one machine, with transactions for an application's own tables."""
        return _CAPABILITIES

    async def start(self) -> None:
        """Open the file, make or upgrade its tables, and start the threads.

        Raises:
            ConfigurationError: For a file that cannot be used.
        """
        if self._loop is not None:
            return
        options = self.options
        writer = Writer(
            options.file,
            lambda: open_writer(options),
            options.busy_timeout_seconds,
            options.synchronous,
            self.wakeups.wake,
        )
        readers = Readers(options.file, lambda: open_reader(options), options.readers)
        try:
            await writer.start()
            await readers.start()
        except BaseException:
            # Also what a cancelled start has begun.
            await readers.stop()
            await writer.stop()
            raise
        self._writer, self._readers = writer, readers
        self._turns.give(writer)
        self._stopping = None
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """Do what was asked, let open units of work end (after a while they are rolled back), and close the file."""
        if self._loop is None:
            return
        if self._stopping is None:
            self._stopping = background_task(self._stop(), name="catga-sqlite-stop")
        # A caller that is cancelled while waiting here leaves no thread behind.
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        writer, readers = self._writer, self._readers
        assert writer is not None  # noqa: RUF100, S101
        assert readers is not None  # noqa: RUF100, S101
        await self._turns.close()
        # Nothing is taken any more from here on.
        self._writer = None
        await self.wakeups.stop()
        self._readers = None
        await readers.stop()
        self._probe.close()
        # Last, so that SQLite removes the write-ahead log with the last connection.
        await writer.stop()
        self._loop = None

    def unit_of_work(self) -> UnitOfWorkBlock[SqliteUnitOfWork]:
        """Return a block that is one transaction; it has the file from its first write until it ends.

        Raises:
            CatgaError: On leaving the block: `PERSISTENCE_FAILED` when it could not be committed; nothing was written then,
                or `details["outcome"]` is `unknown`.
        """
        return UnitOfWorkBlock(self, lambda: SqliteUnitOfWork(self, self._turns))

    def health(self) -> Health:
        """Return healthy, degraded while writes fail, unhealthy when it is not open."""
        writer = self._writer
        file = self.options.file
        if writer is None:
            return Health(HealthStatus.UNHEALTHY, f"the SQLite file {file!r} is not open")
        details = {"file": file, "units_of_work": self._turns.count}
        if self._loop is not None and self._loop.is_closed():
            return Health(HealthStatus.UNHEALTHY, f"the SQLite file {file!r} {LOOP_IS_CLOSED}", details)
        if writer.last_error is not None:
            return Health(
                HealthStatus.DEGRADED, f"the last write failed: {writer.last_error.message}", details
            )
        return Health(HealthStatus.HEALTHY, f"the SQLite file {file!r} is open", details)

    def write(
        self, function: Callable[..., T], *arguments: Any, topics: int = 0, flush: bool = True
    ) -> asyncio.Future[T]:
        """Have something written; joins the ambient unit of work, else it is committed when the future is done.

        Args:
            function: Called with a connection and the arguments in the writer's thread; see `Job` for what it must keep
                to.
            arguments: What it is given.
            topics: Whom to wake after the commit.
            flush: Whether the commit is flushed to the disk at once. Otherwise a power cut may undo it for about a second; a
                killed process does not.
        """
        future: asyncio.Future[T] = self._running().create_future()
        self._submit(Job(future, function, arguments, topics, flush=flush))
        return future

    def write_together(self, many: Many, request: Any, topics: int = 0) -> asyncio.Future[Any]:
        """Have something written that is cheaper for several callers together; else as `write`.

        Args:
            many: Does several requests.
            request: This caller's.
            topics: Whom to wake after the commit.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            raise self._not_open()
        future: asyncio.Future[Any] = loop.create_future()
        self._submit(Job(future, None, request, topics, many))
        return future

    def read(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Have something read: in the ambient unit of work once that has the file, else beside the writer.

        Args:
            function: Called with a connection and the arguments in another thread; writes nothing.
            arguments: What it is given.
        """
        future: asyncio.Future[T] = self._running().create_future()
        job = Job(future, function, arguments)
        unit: SqliteUnitOfWork | None = joined_unit_of_work(self)
        if unit is not None and unit.begun:
            unit.put(job, writes=False)
        elif self._readers is None:
            raise self._not_open()
        else:
            self._readers.put(job)
        return future

    def _submit(self, job: Job) -> None:
        unit: SqliteUnitOfWork | None = joined_unit_of_work(self)
        if unit is not None:
            unit.put(job, writes=True)
            return
        writer = self._writer
        if writer is None or self._stopping is not None:
            raise self._not_open()
        if self._turns.count:
            self._turns.limit(job)
        writer.put(job)

    def _running(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            raise self._not_open()
        return loop

    def _not_open(self) -> CatgaError:
        file = self.options.file
        if self._loop is None or self._writer is None or self._stopping is not None:
            why = "is not open. Use its stores while the container runs, between start() and stop() of its storage."
        else:
            why = "was opened in another event loop. Give each event loop its own storage."
        return PersistenceError(
            f"The SQLite file {file!r} {why}",
            retryable=False,
            outcome=Outcome.NOT_WRITTEN,
        )

    async def _changed(self) -> bool:
        readers = self._readers
        if readers is None:
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        readers.put(Job(future, self._probe.changed, ()))
        return await future
