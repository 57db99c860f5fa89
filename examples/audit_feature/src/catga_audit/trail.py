"""The way of an entry from a pipeline to its store."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice, takewhile

import structlog

from catga_core.runtime import shielded

from .entries import AuditEntry, AuditStore


class AuditTrail:
    """Collects entries for the writer; where no writer runs, it stores each entry at once.

    Args:
        batch_size: The most entries that are stored in one call.
        max_waiting: The most entries that wait.
    """

    def __init__(self, *, batch_size: int, max_waiting: int) -> None:
        self.written: int = 0
        self.lost: int = 0
        self._batch_size = batch_size
        self._max_waiting = max_waiting
        # Each with the store of its message: an override that has ended meanwhile must still get its entries.
        self._waiting: deque[tuple[AuditStore, AuditEntry]] = deque()
        self._wake: Callable[[], None] | None = None

    @property
    def waiting(self) -> int:
        """How many entries wait to be stored."""
        return len(self._waiting)

    def open(self, wake: Callable[[], None]) -> None:
        """Collect entries from now on.

        Args:
            wake: Called when there is a whole batch.
        """
        self._wake = wake

    def close(self) -> None:
        """Store further entries at once."""
        self._wake = None

    async def record(self, store: AuditStore, entry: AuditEntry) -> None:
        """Take an entry; no error is raised, because the message was handled whatever becomes of its entry.

        Args:
            store: Where the entry belongs.
            entry: The entry.
        """
        if self._wake is None:
            # A cancelled message must not lose its entry.
            await shielded(self._write(store, entry))
        elif len(self._waiting) >= self._max_waiting:
            self._lose(1, f"{self._max_waiting} entries wait already")
        else:
            self._waiting.append((store, entry))
            # Once for each batch: a store that fails is not to be asked again for every message.
            if len(self._waiting) == self._batch_size:
                self._wake()

    async def write_batch(self) -> bool:
        """Store the entries that have waited longest, and return whether more of them wait.

        Raises:
            Exception: The error of the store; the entries wait on.
        """
        if not self._waiting:
            return False
        store = self._waiting[0][0]
        of_one_store = takewhile(lambda each: each[0] is store, self._waiting)
        batch = [entry for _, entry in islice(of_one_store, self._batch_size)]
        await store.add(batch)
        for _ in batch:
            self._waiting.popleft()
        self.written += len(batch)
        return bool(self._waiting)

    async def drain(self) -> None:
        """Store every entry that waits.

        Raises:
            Exception: The error of the store; the entries are lost and counted.
        """
        try:
            while await self.write_batch():
                pass
        except Exception as error:
            lost = len(self._waiting)
            self._waiting.clear()
            self._lose(lost, f"{type(error).__name__}: {error}")
            error.add_note(f"{lost} audit entries were lost")
            raise

    async def _write(self, store: AuditStore, entry: AuditEntry) -> None:
        try:
            await store.add([entry])
        except Exception as error:  # noqa: BLE001 - counted, logged and shown in health
            self._lose(1, f"{type(error).__name__}: {error}")
        else:
            self.written += 1

    def _lose(self, count: int, reason: str) -> None:
        self.lost += count
        structlog.get_logger().error("audit.entries_lost", count=count, reason=reason)
