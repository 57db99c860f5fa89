"""The threads that read: each has its own connection, and none waits for the writer."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Final

from catga_core.errors import Outcome
from catga_sqlite.engine.failures import persistence_failed
from catga_sqlite.engine.handover import Handover
from catga_sqlite.engine.jobs import Job, finish, settle

# Reads that one thread answers with a single wake-up of the loop. The other threads have what is left.
_MOST: Final = 8


class Readers:
    """A few threads that share what there is to read.

    Args:
        path: The file, for errors.
        open: Opens a connection; called in each thread.
        count: How many threads.
    """

    def __init__(self, path: str, open: Callable[[], sqlite3.Connection], count: int) -> None:
        self._path = path
        self._open = open
        self._count = count
        self._loop = asyncio.get_running_loop()
        self._handover = Handover(self._loop)
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._closed: list[asyncio.Future[None]] = []

    async def start(self) -> None:
        """Open the connections; return when they can be used."""
        opened: list[asyncio.Future[None]] = []
        for number in range(self._count):
            opened.append(self._loop.create_future())
            self._closed.append(self._loop.create_future())
            threading.Thread(
                target=self._work,
                args=(opened[-1], self._closed[-1]),
                name=f"catga-sqlite-reader-{number} {self._path}",
                daemon=True,
            ).start()
        await asyncio.gather(*opened)

    def put(self, job: Job) -> None:
        """Have something read."""
        self._queue.put(job)
        self._handover.watch(job.future)

    async def stop(self) -> None:
        """Read what was asked before, and close the connections."""
        for _ in self._closed:
            self._queue.put(None)
        for closed in self._closed:
            await asyncio.shield(closed)

    def _work(self, opened: asyncio.Future[None], closed: asyncio.Future[None]) -> None:
        try:
            connection = self._open()
        except BaseException as error:  # noqa: BLE001, RUF100
            self._tell(finish, opened, error)
            self._tell(finish, closed, None)
            return
        self._tell(finish, opened, None)
        try:
            while self._answer(connection):
                pass
        finally:
            connection.close()
            self._tell(finish, closed, None)

    def _answer(self, connection: sqlite3.Connection) -> bool:
        """Read for one caller or several; `False` when there is nothing more to come."""
        jobs: list[Job] = []
        job = self._queue.get()
        while job is not None:
            if not job.future.done():
                self._read(connection, job)
                jobs.append(job)
            if len(jobs) == _MOST:
                break
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
        if jobs:
            self._tell(settle, jobs)
        return job is not None

    def _read(self, connection: sqlite3.Connection, job: Job) -> None:
        assert job.function is not None  # noqa: RUF100, S101
        try:
            job.result = job.function(connection, *job.arguments)
        except sqlite3.Error as error:
            job.error = persistence_failed(error, self._path, Outcome.NOT_WRITTEN)
        except BaseException as error:  # noqa: BLE001, RUF100
            job.error = error

    def _tell(self, function: Callable[..., object], *arguments: Any) -> None:
        # The loop may have been closed by a program that does not stop its storage; then no caller is left.
        try:  # noqa: SIM105, RUF100 - once for every answer, and a context manager takes a microsecond
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return
