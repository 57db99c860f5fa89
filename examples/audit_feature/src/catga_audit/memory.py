"""The port `AuditStore` in memory."""

from __future__ import annotations

from collections.abc import Sequence

from catga_core import Clock
from catga_core.interfaces import Stores
from catga_core.memory import MemoryStorage

from .entries import ALL_ENTRIES, AuditEntry, AuditFilter, AuditStore


class _Entries:
    """The entries by id, and those of the unit of work that writes."""

    def __init__(self, storage: MemoryStorage) -> None:
        del storage
        self.rows: dict[str, AuditEntry] = {}
        self.pending: dict[str, AuditEntry] = {}

    def commit(self) -> None:
        for each in self.pending.values():
            self.rows.setdefault(each.id, each)
        self.pending.clear()

    def roll_back(self) -> None:
        self.pending.clear()

    def save(self) -> dict[str, AuditEntry]:
        return dict(self.pending)

    def roll_back_to(self, mark: dict[str, AuditEntry], /) -> None:
        self.pending = dict(mark)

    def release(self, mark: object, /) -> None:
        """Nothing is kept for a mark."""


class MemoryAuditStore:
    """Keeps entries in this process's memory.

    Args:
        storage: The storage whose units of work it joins; `None` for one of its own.
    """

    def __init__(self, storage: MemoryStorage | None = None) -> None:
        self._storage = storage or MemoryStorage()
        self._entries = self._storage.part(_Entries)

    async def add(self, entries: Sequence[AuditEntry], /) -> None:
        """Store entries; joins the ambient unit of work."""
        unit = await self._storage.write()
        kept = self._entries
        if unit is not None and entries and not kept.pending:
            unit.wrote(kept)
        for each in entries:
            kept.pending.setdefault(each.id, each)
        if unit is None:
            kept.commit()

    async def find(self, filter: AuditFilter = ALL_ENTRIES, /, *, limit: int = 100) -> list[AuditEntry]:
        """Return the entries that a filter matches, the last stored first."""
        kept = self._entries
        seen = dict(kept.rows)
        if self._storage.reads_its_own():
            seen.update({each.id: each for each in kept.pending.values() if each.id not in seen})
        return [each for each in reversed(seen.values()) if _matches(each, filter)][:limit]

    async def prune(self, *, before: float, limit: int = 1000) -> int:
        """Remove old entries; return how many."""
        rows = self._entries.rows
        old = sorted((each.recorded_at, each.id) for each in rows.values() if each.recorded_at < before)[
            :limit
        ]
        for _, entry_id in old:
            del rows[entry_id]
        return len(old)


def memory_audit_stores(clock: Clock, storage: MemoryStorage | None = None) -> Stores:
    """Return the stores of one storage in memory.

    Args:
        clock: The container's clock.
        storage: The storage; `None` for a new one.
    """
    del clock
    storage = storage or MemoryStorage()
    return Stores(storage, {AuditStore: MemoryAuditStore(storage)})


def _matches(entry: AuditEntry, wanted: AuditFilter) -> bool:
    return all(
        getattr(wanted, name) in {None, getattr(entry, name)} for name in AuditFilter.__struct_fields__
    )
