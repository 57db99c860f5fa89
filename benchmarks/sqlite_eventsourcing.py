"""The library `eventsourcing` on SQLite, as it comes: its recorder, called from as many threads as there are callers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore


@contextmanager
def appending(path: Path, data: bytes) -> Iterator[Callable[[int, int], float]]:
    """Give a function that appends from several threads, so many events in each, and returns the seconds it took.

    Args:
        path: The database to make.
        data: What each event holds.
    """
    datastore = SQLiteDatastore(str(path), lock_timeout=60, pool_size=8, max_overflow=64, pool_timeout=60.0)
    recorder = SQLiteApplicationRecorder(datastore)
    recorder.create_table()

    def append(callers: int, each: int) -> float:
        def work() -> None:
            stream = uuid4()
            for version in range(each):
                recorder.insert_events([StoredEvent(stream, version, "Paid", data)])

        threads = [threading.Thread(target=work) for _ in range(callers)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - start

    try:
        yield append
    finally:
        datastore.close()
