"""The port `AuditStore` in a SQLite file, which one thread reads and writes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn, TypeVar

import msgspec

from catga_core import Clock, ConfigurationError, Health, HealthStatus
from catga_core.errors import PersistenceError
from catga_core.interfaces import StorageCapabilities, Stores
from catga_core.unit_of_work import BaseUnitOfWork, UnitOfWorkBlock, joined_unit_of_work

from .entries import ALL_ENTRIES, AuditEntry, AuditFilter, AuditStore

T = TypeVar("T")

_FIELDS = AuditEntry.__struct_fields__
_COLUMNS = ", ".join(_FIELDS)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS audit_entries (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  recorded_at REAL NOT NULL,
  kind TEXT NOT NULL,
  message TEXT NOT NULL,
  handler TEXT NOT NULL,
  message_id TEXT NOT NULL,
  correlation_id TEXT NOT NULL,
  actor TEXT,
  outcome TEXT NOT NULL,
  code TEXT
);
CREATE INDEX IF NOT EXISTS audit_entries_by_time ON audit_entries (recorded_at);
CREATE INDEX IF NOT EXISTS audit_entries_by_conversation ON audit_entries (correlation_id);
"""


class _UnitOfWork(BaseUnitOfWork):
    """The entries of one block, which are written at its commit."""

    def __init__(self, storage: SqliteAuditStorage) -> None:
        super().__init__(storage)
        self._file = storage
        self.entries: list[AuditEntry] = []

    @property
    def connection(self) -> NoReturn:
        """Raise, because the file is for audit entries alone.

        Raises:
            PersistenceError: Always.
        """
        text = "The audit file has no connection for an application's own data. Use the application's own storage."
        raise PersistenceError(text, retryable=False)

    def _commit(self) -> Awaitable[None] | None:
        return self._file.insert(self.entries) if self.entries else None

    def _roll_back(self) -> None:
        self.entries.clear()

    def _save(self) -> int:
        return len(self.entries)

    def _roll_back_to(self, mark: Any) -> None:
        del self.entries[mark:]


class SqliteAuditStorage:
    """Keeps audit entries in a SQLite file; several processes may share it.

    Args:
        path: The file; it is created where there is none.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    @property
    def capabilities(self) -> StorageCapabilities:
        """What the contract kit may test."""
        return StorageCapabilities(durable=True, shared=True, immediate=False, connection=False)

    async def start(self) -> None:
        """Open the file.

        Raises:
            ConfigurationError: It cannot be opened, or is not a SQLite file.
        """
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="catga-audit")
        try:
            self._connection = await self._in_thread(self._opened)
        except sqlite3.Error as error:
            await self.stop()
            msg = f"The audit file {self._path!r} cannot be opened: {error}. Check the path and its permissions."
            raise ConfigurationError(msg) from error

    async def stop(self) -> None:
        """Finish what was begun, and close the file."""
        thread, connection = self._thread, self._connection
        if thread is None:
            return
        self._thread = self._connection = None
        if connection is not None:
            # The thread takes its calls in their order, so this is the last one.
            await asyncio.get_running_loop().run_in_executor(thread, connection.close)
        thread.shutdown()

    def unit_of_work(self) -> AbstractAsyncContextManager[_UnitOfWork]:
        """Return a block whose entries are written together when it is left, or not at all."""
        return UnitOfWorkBlock(self, lambda: _UnitOfWork(self))

    def health(self) -> Health:
        """Return whether the file is open."""
        if self._connection is None:
            return Health(HealthStatus.UNHEALTHY, f"The audit file {self._path!r} is not open")
        return Health(HealthStatus.HEALTHY, f"keeps audit entries in {self._path}")

    async def insert(self, entries: Sequence[AuditEntry]) -> None:
        """Write entries in one transaction.

        Raises:
            PersistenceError: They were not written.
        """
        marks = ", ".join("?" * len(_FIELDS))
        statement = f"INSERT INTO audit_entries ({_COLUMNS}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING"
        rows = [[getattr(each, name) for name in _FIELDS] for each in entries]

        def inserted(file: sqlite3.Connection) -> None:
            # The cursor ends here, on the file's thread: elsewhere its end would meet the thread's next statement.
            file.executemany(statement, rows)

        await self.run(inserted)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what work on the file returns; it is done in one transaction, on the file's thread.

        Raises:
            PersistenceError: The file is not open, or refused the work; nothing was written.
        """
        connection = self._connection
        if connection is None:
            text = f"The audit file {self._path!r} is not open. Start its container first."
            raise PersistenceError(text, retryable=False)

        def worked() -> T:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                return work(connection)

        try:
            return await self._in_thread(worked)
        except sqlite3.Error as error:
            text = f"The audit file {self._path!r} could not be used: {error}."
            raise PersistenceError(text) from error

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class SqliteAuditStore:
    """Keeps entries in a SQLite file.

    Args:
        storage: The file.
    """

    def __init__(self, storage: SqliteAuditStorage) -> None:
        self._storage = storage

    async def add(self, entries: Sequence[AuditEntry], /) -> None:
        """Store entries; joins the ambient unit of work."""
        unit: _UnitOfWork | None = joined_unit_of_work(self._storage)
        if unit is not None:
            unit.writing()
            unit.entries.extend(entries)
        elif entries:
            await self._storage.insert(entries)

    async def find(self, filter: AuditFilter = ALL_ENTRIES, /, *, limit: int = 100) -> list[AuditEntry]:
        """Return the entries that a filter matches, the last stored first."""
        wanted = {name: getattr(filter, name) for name in AuditFilter.__struct_fields__}
        named = {name: value for name, value in wanted.items() if value is not None}
        where = " AND ".join(f"{name} = ?" for name in named) or "TRUE"
        query = f"SELECT {_COLUMNS} FROM audit_entries WHERE {where} ORDER BY number DESC LIMIT ?"
        rows = await self._storage.run(lambda file: file.execute(query, [*named.values(), limit]).fetchall())
        return [_entry(dict(zip(_FIELDS, row, strict=True))) for row in rows]

    async def prune(self, *, before: float, limit: int = 1000) -> int:
        """Remove old entries; return how many."""
        statement = (
            "DELETE FROM audit_entries WHERE number IN "
            "(SELECT number FROM audit_entries WHERE recorded_at < ? ORDER BY recorded_at, number LIMIT ?)"
        )
        return await self._storage.run(lambda file: file.execute(statement, [before, limit]).rowcount)


def sqlite_audit_stores(path: str, clock: Clock) -> Stores:
    """Return the stores of one file, not yet started.

    Args:
        path: The file.
        clock: The container's clock.
    """
    del clock
    storage = SqliteAuditStorage(path)
    return Stores(storage, {AuditStore: SqliteAuditStore(storage)})


def _entry(values: dict[str, Any]) -> AuditEntry:
    return msgspec.convert(values, AuditEntry)
