"""Times of rows that are due later, so that the next one is found without looking at all of them."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

from catga_core.memory.unit_of_work import MemoryUnitOfWork

K = TypeVar("K")


class Schedule(Generic[K]):
    """Keys by the time they are due; times added in a unit of work count from its commit.

    A time is a hint: the caller looks whether its row is still there, and still due then.
    """

    __slots__ = ("_added", "_number", "_times")

    def __init__(self) -> None:
        self._times: list[tuple[float, int, K]] = []
        self._added: list[tuple[float, K]] = []
        self._number = 0

    def add(self, due_at: float, key: K, unit: MemoryUnitOfWork | None) -> None:
        """Add the time of a row.

        Args:
            due_at: Seconds since the Unix epoch.
            key: The row's key.
            unit: As `MemoryStorage.write` has returned it.
        """
        if unit is None:
            self._push(due_at, key)
            return
        if not self._added:
            unit.wrote(self)
        self._added.append((due_at, key))

    def take(self, now: float, is_due: Callable[[K, float], bool]) -> list[K]:
        """Take the keys that are due, in the order of their times, and drop their times.

        Args:
            now: Seconds since the Unix epoch.
            is_due: Returns whether the row of a key is there and due at a time.
        """
        taken: list[K] = []
        while self._times and self._times[0][0] <= now:
            due_at, _, key = heapq.heappop(self._times)
            if is_due(key, due_at):
                taken.append(key)
        return taken

    def next(self, is_due: Callable[[K, float], bool]) -> float | None:
        """Return the earliest time of a row that is there, `None` for none."""
        while self._times and not is_due(self._times[0][2], self._times[0][0]):
            heapq.heappop(self._times)
        return self._times[0][0] if self._times else None

    def _push(self, due_at: float, key: K) -> None:
        self._number += 1
        heapq.heappush(self._times, (due_at, self._number, key))

    # --- a part of a unit of work ---

    def commit(self) -> None:
        """Make the times that were added count."""
        added, self._added = self._added, []
        for due_at, key in added:
            self._push(due_at, key)

    def roll_back(self) -> None:
        """Forget the times that were added."""
        self._added = []

    def save(self) -> int:
        """Return a mark of the times so far."""
        return len(self._added)

    def roll_back_to(self, mark: int, /) -> None:
        """Forget the times since a mark."""
        del self._added[mark:]

    def release(self, mark: int, /) -> None:
        """Keep the times since a mark."""
