"""Rows by key, with the changes of the running unit of work laid over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from catga_core.memory.storage import MemoryStorage
    from catga_core.memory.unit_of_work import MemoryUnitOfWork


K = TypeVar("K")
V = TypeVar("V")

_ABSENT: Final[Any] = object()
_REMOVED: Final[Any] = object()


class Overlay(MutableMapping[K, V]):
    """Rows as the unit of work sees them; the rows below stay as they are until it is applied.

    Args:
        base: The rows below, or another overlay.
    """

    __slots__ = ("_base", "_changes")

    def __init__(self, base: MutableMapping[K, V]) -> None:
        self._base = base
        self._changes: dict[Any, Any] = {}

    def __getitem__(self, key: K) -> V:
        value: Any = self._changes.get(key, _ABSENT)
        if value is _ABSENT:
            return self._base[key]
        if value is _REMOVED:
            raise KeyError(key)
        found: V = value
        return found

    def __setitem__(self, key: K, value: V) -> None:
        self._changes[key] = value

    def __delitem__(self, key: K) -> None:
        if key not in self:
            raise KeyError(key)
        if key in self._base:
            self._changes[key] = _REMOVED
        else:
            del self._changes[key]

    def __contains__(self, key: object) -> bool:
        value: Any = self._changes.get(key, _ABSENT)
        return key in self._base if value is _ABSENT else value is not _REMOVED

    def __iter__(self) -> Iterator[K]:
        base, changes = self._base, self._changes
        for key in base:
            if changes.get(key, _ABSENT) is not _REMOVED:
                yield key
        for key in changes:
            if key not in base:
                yield key

    def __len__(self) -> int:
        base = self._base
        removed = sum(value is _REMOVED for value in self._changes.values())
        return len(base) - removed + sum(key not in base for key in self._changes)

    def apply(self) -> None:
        """Make the rows below what is seen here."""
        for key, value in self._changes.items():
            if value is _REMOVED:
                del self._base[key]
            else:
                self._base[key] = value


class Table(Generic[K, V]):
    """Rows in the order in which their keys came; those of an open unit of work are seen in it and nowhere else.

    Args:
        storage: Where they are kept.
    """

    __slots__ = ("_overlays", "_rows", "_storage")

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self._rows: dict[K, V] = {}
        # One for the unit of work, and one for each nested block that began after its first write.
        self._overlays: list[Overlay[K, V]] = []

    def read(self) -> Mapping[K, V]:
        """Return the rows that the caller sees; they are not to be kept over an `await`."""
        overlays = self._overlays
        if overlays:
            return overlays[-1] if self._storage.reads_its_own() else self._rows
        self._storage.check_loop()
        return self._rows

    def write(self, unit: MemoryUnitOfWork | None) -> MutableMapping[K, V]:
        """Return the rows to read and change before the next `await`.

        Args:
            unit: What `MemoryStorage.write` has returned.
        """
        if unit is None:
            return self._rows
        if not self._overlays:
            unit.wrote(self)
            self._overlays.append(Overlay(self._rows))
        return self._overlays[-1]

    def commit(self) -> None:
        """Make the changes visible to all."""
        self.release(0)

    def roll_back(self) -> None:
        """Forget the changes."""
        self._overlays.clear()

    def save(self) -> int:
        """Return a mark of the changes so far."""
        self._overlays.append(Overlay(self._overlays[-1]))
        return len(self._overlays) - 1

    def roll_back_to(self, mark: int, /) -> None:
        """Forget the changes since a mark."""
        del self._overlays[mark:]

    def release(self, mark: int, /) -> None:
        """Keep the changes since a mark as those of the block around."""
        while len(self._overlays) > mark:
            self._overlays.pop().apply()
