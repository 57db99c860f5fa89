"""Snapshots in Redis."""

from __future__ import annotations

from typing import Any

from catga_core.interfaces.snapshots import Snapshot
from catga_core.storage_support.records import decode_snapshot, encode_snapshot
from catga_redis.storage import RedisStorage


class RedisSnapshotStore:
    """Keeps the newest states of streams: one hash for each stream.

    Args:
        storage: Where.
    """

    def __init__(self, storage: RedisStorage) -> None:
        self._storage = storage
        self._commands = storage.commands

    async def save(self, snapshot: Snapshot, /, *, keep: int = 1) -> None:
        """Keep a snapshot beside the newest others of the same stream and name."""
        arguments = (
            snapshot.stream_id,
            snapshot.name,
            snapshot.version,
            snapshot.schema_version,
            keep,
            encode_snapshot(snapshot),
        )
        unit = self._storage.joined()
        if unit is not None:
            unit.stage("save_snapshot", *arguments)
            return
        await self._commands.run("save_snapshot", *arguments)

    async def load(
        self, stream_id: str, name: str, /, *, schema_version: int, max_version: int | None = None
    ) -> Snapshot | None:
        """Return the newest snapshot of a stream, `None` for none that fits."""
        if max_version == 0:
            return None
        found = await self._commands.run("load_snapshot", stream_id, name, schema_version, max_version or 0)
        return None if found is None else decode_snapshot(found)

    async def delete(self, stream_id: str, name: str | None = None, /) -> int:
        """Remove the snapshots of a stream, of one name or of all; return how many there were."""
        chosen: tuple[Any, ...] = ("0", "") if name is None else ("1", name)
        unit = self._storage.joined()
        if unit is not None:
            unit.stage("delete_snapshots", stream_id, *chosen)
            found: int = await self._commands.run("count_snapshots", stream_id, *chosen)
            return found
        removed: int = await self._commands.run("delete_snapshots", stream_id, *chosen)
        return removed
