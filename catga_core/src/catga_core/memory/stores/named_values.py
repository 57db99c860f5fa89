"""Named values in memory."""

from __future__ import annotations

from catga_core.interfaces.named_values import NamedValueConflictError, check_value
from catga_core.memory.engine.table import Table
from catga_core.memory.storage import MemoryStorage
from catga_core.option_checks import check_name


class _Values(Table[str, int]):
    pass


class MemoryNamedValueStore:
    """Keeps named values in memory.

    Args:
        storage: where they are kept.
    """

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self._values = storage.part(_Values)

    async def get(self, name: str, /) -> int | None:
        """Return a value, `None` where there is none."""
        return self._values.read().get(name)

    async def set(self, name: str, value: int, /) -> None:
        """Keep a value; joins the ambient unit of work."""
        check_name("name", name)
        check_value(value)
        self._values.write(await self._storage.write())[name] = value

    async def compare_and_set(self, name: str, value: int, /, *, expected: int | None) -> None:
        """Keep a value if another one is stored now; joins the ambient unit of work."""
        check_name("name", name)
        check_value(value)
        rows = self._values.write(await self._storage.write())
        actual = rows.get(name)
        if actual != expected:
            raise NamedValueConflictError(name, expected, actual)
        rows[name] = value

    async def delete(self, name: str, /) -> bool:
        """Remove a value; joins the ambient unit of work."""
        return self._values.write(await self._storage.write()).pop(name, None) is not None

    async def list(self, prefix: str = "", /) -> dict[str, int]:
        """Return the values whose names begin with a prefix."""
        rows = self._values.read()
        return {name: rows[name] for name in sorted(rows) if name.startswith(prefix)}
