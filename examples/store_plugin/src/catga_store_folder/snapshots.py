"""The port `SnapshotStore` over a folder."""

from __future__ import annotations

import msgspec

from catga_core.interfaces import Snapshot

from .disk import name_of
from .storage import Files, FolderStorage

_TABLE = "snapshots"


class FolderSnapshotStore:
    """One file for all snapshots of a stream and a name: the newest ones, by version."""

    def __init__(self, storage: FolderStorage) -> None:
        self._storage = storage

    async def save(self, snapshot: Snapshot, /, *, keep: int = 1) -> None:
        """Keep a snapshot beside the newest others of the same stream and name."""
        async with self._storage.writing() as files:
            kept = [
                each
                for each in _of(files, snapshot.stream_id, snapshot.name)
                if each.version != snapshot.version
            ]
            newest = sorted([*kept, snapshot], key=lambda each: each.version)[-keep:]
            files.put(_TABLE, name_of(snapshot.stream_id, snapshot.name), msgspec.json.encode(newest))

    async def load(
        self, stream_id: str, name: str, /, *, schema_version: int, max_version: int | None = None
    ) -> Snapshot | None:
        """Return the newest snapshot of a stream that fits, `None` for none."""
        fitting = [
            each
            for each in _of(self._storage.reading(), stream_id, name)
            if each.schema_version == schema_version and (max_version is None or each.version <= max_version)
        ]
        return fitting[-1] if fitting else None

    async def delete(self, stream_id: str, name: str | None = None, /) -> int:
        """Remove the snapshots of a stream, of one name or of all; return how many there were."""
        removed = 0
        async with self._storage.writing() as files:
            for data in files.all(_TABLE):
                found = msgspec.json.decode(data, type=list[Snapshot])
                first = found[0]
                if first.stream_id == stream_id and name in {None, first.name}:
                    removed += len(found)
                    files.put(_TABLE, name_of(first.stream_id, first.name), None)
        return removed


def _of(files: Files, stream_id: str, name: str) -> list[Snapshot]:
    data = files.get(_TABLE, name_of(stream_id, name))
    return [] if data is None else msgspec.json.decode(data, type=list[Snapshot])
