"""The port `Storage` over a folder: what is in it, and one unit of work after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from catga_core import Health, HealthStatus
from catga_core.errors import Outcome, PersistenceError
from catga_core.interfaces import StorageCapabilities
from catga_core.runtime import HomeLoop
from catga_core.unit_of_work import BaseUnitOfWork, UnitOfWorkBlock, joined_unit_of_work

from .disk import Changes, Folder, NotWrittenError

T = TypeVar("T")
Tables = dict[str, dict[str, bytes]]


class Files:
    """The files as one reader sees them: those of the folder, with changes laid over them.

    Args:
        tables: What is in the folder.
        changes: What is not in it yet.
    """

    def __init__(self, tables: Tables, changes: Changes) -> None:
        self._tables = tables
        self._changes = changes

    def get(self, table: str, name: str) -> bytes | None:
        """Return what a file holds, `None` for one that is not there."""
        if (table, name) in self._changes:
            return self._changes[table, name]
        return self._tables.get(table, {}).get(name)

    def all(self, table: str) -> list[bytes]:
        """Return what the files of a table hold, in no order."""
        found: dict[str, bytes | None] = {**self._tables.get(table, {})}
        found.update({name: data for (of, name), data in self._changes.items() if of == table})
        return [data for data in found.values() if data is not None]

    def put(self, table: str, name: str, data: bytes | None) -> None:
        """Have a file hold something, `None` for none."""
        self._changes[table, name] = data


class FolderUnitOfWork(BaseUnitOfWork):
    """What is written in one block; it has the folder for itself from its first write on."""

    def __init__(self, storage: FolderStorage) -> None:
        super().__init__(storage)
        self._folder = storage
        self._changes: Changes = {}
        self._own_turn = asyncio.Lock()
        self._has_turn = False
        self.files = Files(storage.tables, self._changes)

    @property
    def connection(self) -> NoReturn:
        """A folder has no transaction for others.

        Raises:
            PersistenceError: Always.
        """
        text = "a folder has no connection to share: keep the application's own data elsewhere"
        raise PersistenceError(text, retryable=False)

    async def begin(self) -> None:
        """Have the folder for itself; wait for the one that has it."""
        async with self._own_turn:
            if not self._has_turn:
                await self._folder.turn.acquire()
                self._has_turn = True
        if self.over:
            self._end()
            self.require_open()

    def _save(self) -> Changes:
        return dict(self._changes)

    def _roll_back_to(self, mark: Any) -> None:
        self._changes.clear()
        self._changes.update(mark)

    def _commit(self) -> Awaitable[None] | None:
        if self._changes:
            return self._written()
        self._end()
        return None

    def _roll_back(self) -> None:
        self._end()

    async def _written(self) -> None:
        await self._folder.change(self._changes)
        self._end()

    def _end(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._folder.turn.release()


class FolderStorage:
    """Keeps small files in a folder, and all of them in memory as well.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.tables: Tables = {}
        self.turn = asyncio.Lock()
        self._path = path
        self._disk = Folder(path)
        self._thread: ThreadPoolExecutor | None = None
        self._home = HomeLoop()
        self._failed: str | None = None

    @property
    def capabilities(self) -> StorageCapabilities:
        """What it can do, and not more: the contract kit tests what is said here."""
        return StorageCapabilities(durable=True, shared=False, immediate=True, connection=False)

    async def start(self) -> None:
        """Take the folder, and read what is in it."""
        self._home.enter()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="catga-folder")
        self._failed = None
        self.turn = asyncio.Lock()
        try:
            self.tables.update(await self._in_thread(self._disk.open))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Finish what is being written, and leave the folder to others."""
        thread = self._thread
        if thread is not None:
            async with self.turn:
                await self._in_thread(self._disk.close)
                self._thread = None
                self.tables.clear()
            thread.shutdown()
            self._home.leave()

    def unit_of_work(self) -> AbstractAsyncContextManager[FolderUnitOfWork]:
        """Return a block of which everything is written when it is left, or nothing when it raises or is cancelled."""
        return UnitOfWorkBlock(self, lambda: FolderUnitOfWork(self))

    def health(self) -> Health:
        """Return whether the folder is open and takes changes."""
        if self._failed is not None:
            return Health(HealthStatus.UNHEALTHY, self._failed)
        if self._thread is None:
            return Health(HealthStatus.UNHEALTHY, f"the folder {self._path} is not open")
        return Health(HealthStatus.HEALTHY, f"keeps its data in {self._path}")

    def reading(self) -> Files:
        """Return the files as the caller sees them: with what its own unit of work has written.

        Raises:
            PersistenceError: When the folder is not open, or the caller's unit of work is over.
        """
        self._require_open()
        unit: FolderUnitOfWork | None = joined_unit_of_work(self)
        return Files(self.tables, {}) if unit is None else unit.files

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[Files]:
        """Give the files to read and to change: in the caller's unit of work, else in one of its own."""
        self._require_open()
        # It raises for a task that has outlived its block, whose write may not be done beside it.
        unit: FolderUnitOfWork | None = joined_unit_of_work(self)
        if unit is not None:
            await unit.begin()
            unit.writing()
            yield unit.files
            return
        async with self.unit_of_work() as own:
            await own.begin()
            self._require_open()
            yield own.files

    async def change(self, changes: Changes) -> None:
        """Make changes to last, then visible to all; called by who has the turn.

        Raises:
            PersistenceError: With the outcome `UNKNOWN` when they may be there after a restart.
        """
        self._require_open()
        try:
            await self._in_thread(lambda: self._disk.change(changes))
        except NotWrittenError as error:
            text = f"nothing was written to {self._path}: {error}"
            raise PersistenceError(text, outcome=Outcome.NOT_WRITTEN) from error
        except OSError as error:
            # The journal has to be finished before anything else is written, and opening the folder does that.
            self._failed = f"a change of {self._path} was not finished: {error}; mend that and start again"
            raise self._unusable(Outcome.UNKNOWN) from error
        for (table, name), data in changes.items():
            files = self.tables.setdefault(table, {})
            if data is None:
                files.pop(name, None)
            else:
                files[name] = data

    def _require_open(self) -> None:
        if self._thread is None or self._failed is not None:
            raise self._unusable()
        problem = self._home.problem()
        if problem is not None:
            text = f"the storage in {self._path} {problem}"
            raise PersistenceError(text, retryable=False, outcome=Outcome.NOT_WRITTEN)

    def _unusable(self, outcome: Outcome = Outcome.NOT_WRITTEN) -> PersistenceError:
        text = self.health().description
        return PersistenceError(text, outcome=outcome)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
