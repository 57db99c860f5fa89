"""An application's own data in the in-memory storage."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, TypeVar

from catga_core.memory.engine.table import Table
from catga_core.option_checks import check_name

if TYPE_CHECKING:
    from catga_core.memory.storage import MemoryStorage
    from catga_core.memory.unit_of_work import MemoryUnitOfWork

V = TypeVar("V")


class _OwnTables:
    """The application's own tables of one storage, by name."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self._tables: dict[str, Table[str, Any]] = {}

    def called(self, name: str) -> Table[str, Any]:
        found = self._tables.get(name)
        if found is None:
            found = self._tables[name] = Table(self._storage)
        return found


class MemoryRows(MutableMapping[str, V]):
    """The rows of one table by key, as the unit of work sees them, as long as it is open.

    Args:
        unit: The unit of work.
        table: The table.
    """

    __slots__ = ("_table", "_unit")

    def __init__(self, unit: MemoryUnitOfWork, table: Table[str, V]) -> None:
        self._unit = unit
        self._table = table

    def __getitem__(self, key: str) -> V:
        return self._rows()[key]

    def __setitem__(self, key: str, value: V) -> None:
        self._unit.writing()
        self._rows()[key] = value

    def __delitem__(self, key: str) -> None:
        self._unit.writing()
        del self._rows()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows())

    def __len__(self) -> int:
        return len(self._rows())

    def _rows(self) -> MutableMapping[str, V]:
        self._unit.require_open()
        return self._table.write(self._unit)


class MemoryConnection:
    """`uow.connection`: tables of your own in memory, committed and rolled back with everything else.

    Args:
        unit: The unit of work.
        storage: Where the tables are kept; every container over the same storage shares them.
    """

    __slots__ = ("_storage", "_unit")

    def __init__(self, unit: MemoryUnitOfWork, storage: MemoryStorage) -> None:
        self._unit = unit
        self._storage = storage

    async def table(self, name: str, row: type[V], /) -> MemoryRows[V]:
        """Return a table to read and change like a dictionary; waits until the unit of work has the storage for itself.

        Args:
            name: The table's name; one that does not exist yet is empty.
            row: The class of its rows, for type checkers. Use immutable rows: an object that is changed in place is not
                rolled back.

        Raises:
            PersistenceError: The unit of work has ended, or another one does not end.
            ValueError: The name is not a non-empty text.
        """
        del row
        check_name("name", name)
        self._unit.require_open()
        await self._unit.begin()
        return MemoryRows(self._unit, self._storage.part(_OwnTables).called(name))
