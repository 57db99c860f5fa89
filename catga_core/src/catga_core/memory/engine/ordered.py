"""Items in their order, changed in place; a unit of work that is rolled back undoes its changes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from catga_core.memory.unit_of_work import MemoryUnitOfWork

T = TypeVar("T", bound=tuple[Any, ...])


class Ordered(Generic[T]):
    """An index of rows: items that differ, in ascending order.

    It shows the changes of an open unit of work to everyone, so only the one who writes may rely on it.

    Args:
        undone: Called after changes were undone.
    """

    __slots__ = ("_changes", "_undone", "items")

    def __init__(self, undone: Callable[[], object]) -> None:
        self.items: list[T] = []
        # What the unit of work has added or removed, `None` outside of one.
        self._changes: list[tuple[bool, T]] | None = None
        self._undone = undone

    @property
    def first(self) -> T | None:
        """The first item, `None` for none."""
        return self.items[0] if self.items else None

    @property
    def last(self) -> T | None:
        """The last item, `None` for none."""
        return self.items[-1] if self.items else None

    def place(self, begin: tuple[Any, ...]) -> int:
        """Return the index of the first item that is not before a tuple."""
        return bisect_left(self.items, begin)

    def next(self, begin: tuple[Any, ...]) -> T | None:
        """Return the first item that is not before a tuple, `None` for none."""
        at = self.place(begin)
        return self.items[at] if at < len(self.items) else None

    def add(self, item: T, unit: MemoryUnitOfWork | None) -> None:
        """Add an item.

        Args:
            item: The item.
            unit: As `MemoryStorage.write` has returned it.
        """
        self._note(unit, (True, item))
        self._insert(item)

    def discard(self, item: T, unit: MemoryUnitOfWork | None) -> None:
        """Remove an item; do nothing where it is not there."""
        at = bisect_left(self.items, item)
        if at < len(self.items) and self.items[at] == item:
            self._note(unit, (False, item))
            del self.items[at]

    def take_due(self, now: float, most: int, unit: MemoryUnitOfWork | None) -> list[T]:
        """Remove and return the first items whose first field is not later than a time, so many at most."""
        count = 0
        for item in self.items[:most]:
            if item[0] > now:
                break
            count += 1
        return self.take_first(count, unit) if count else []

    def take_first(self, count: int, unit: MemoryUnitOfWork | None) -> list[T]:
        """Remove and return the first items, as many as there are."""
        taken = self.items[:count]
        del self.items[:count]
        for item in taken:
            self._note(unit, (False, item))
        return taken

    def _insert(self, item: T) -> None:
        if not self.items or self.items[-1] < item:
            self.items.append(item)
        else:
            self.items.insert(bisect_left(self.items, item), item)

    def _note(self, unit: MemoryUnitOfWork | None, change: tuple[bool, T]) -> None:
        if unit is None:
            return
        if self._changes is None:
            self._changes = []
            unit.wrote(self)
        self._changes.append(change)

    # --- a part of a unit of work ---

    def commit(self) -> None:
        """Keep the changes."""
        self._changes = None

    def roll_back(self) -> None:
        """Undo the changes."""
        self.roll_back_to(0)
        self._changes = None

    def save(self) -> int:
        """Return a mark of the changes so far."""
        return len(self._changes or ())

    def roll_back_to(self, mark: int, /) -> None:
        """Undo the changes since a mark."""
        changes = self._changes or []
        while len(changes) > mark:
            added, item = changes.pop()
            if added:
                del self.items[bisect_left(self.items, item)]
            else:
                self._insert(item)
        self._undone()

    def release(self, mark: int, /) -> None:
        """Keep the changes since a mark as those of the block around."""
