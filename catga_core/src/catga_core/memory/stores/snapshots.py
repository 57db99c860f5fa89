"""Snapshots in memory."""

from __future__ import annotations

from collections.abc import Mapping

from catga_core.interfaces.snapshots import Snapshot
from catga_core.memory.engine.table import Table
from catga_core.memory.storage import MemoryStorage
from catga_core.option_checks import check_name

Kept = Mapping[str, tuple[Snapshot, ...]]
"""A stream's snapshots by name, the newest last; replaced as a whole, as rows of a table are."""


class _Snapshots(Table[str, Kept]):
    pass


class MemorySnapshotStore:
    """Keeps snapshots in memory.

    Args:
        storage: Where they are kept.
    """

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self._snapshots = storage.part(_Snapshots)

    async def save(self, snapshot: Snapshot, /, *, keep: int = 1) -> None:
        """Keep a snapshot beside the newest others of the same stream and name; joins the ambient unit of work."""
        if keep < 1:
            msg = f"keep={keep}: at least one snapshot is kept"
            raise ValueError(msg)
        check_name("stream_id", snapshot.stream_id)
        rows = self._snapshots.write(await self._storage.write())
        kept = rows.get(snapshot.stream_id, {})
        others = [each for each in kept.get(snapshot.name, ()) if each.version != snapshot.version]
        newest = sorted([*others, snapshot], key=lambda each: each.version)[-keep:]
        rows[snapshot.stream_id] = {**kept, snapshot.name: tuple(newest)}

    async def load(
        self, stream_id: str, name: str, /, *, schema_version: int, max_version: int | None = None
    ) -> Snapshot | None:
        """Return the newest snapshot of a stream, `None` for none that fits."""
        for snapshot in reversed(self._snapshots.read().get(stream_id, {}).get(name, ())):
            new_enough = max_version is None or snapshot.version <= max_version
            if snapshot.schema_version == schema_version and new_enough:
                return snapshot
        return None

    async def delete(self, stream_id: str, name: str | None = None, /) -> int:
        """Remove the snapshots of a stream, of one name or of all; return how many there were."""
        rows = self._snapshots.write(await self._storage.write())
        kept = rows.get(stream_id, {})
        left = {} if name is None else {each: kept[each] for each in kept if each != name}
        if left:
            rows[stream_id] = left
        elif kept:
            del rows[stream_id]
        return sum(len(kept[each]) for each in kept if each not in left)
