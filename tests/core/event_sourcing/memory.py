"""The stores in memory, counting what they are asked, and failing when a test tells them to."""

from __future__ import annotations

from collections.abc import Sequence

from catga_core import CatgaError, ErrorCode
from catga_core.interfaces import AppendResult, RecordedEvent, Snapshot, StreamAppend
from catga_core.memory.stores import MemoryEventLog, MemorySnapshotStore, MemoryStorage


class Log(MemoryEventLog):
    """A log of which an append may fail before it has written, or after."""

    def __init__(self, storage: MemoryStorage | None = None) -> None:
        super().__init__(storage or MemoryStorage())
        self.calls: list[str] = []
        self.fail_before = 0
        self.fail_after = 0

    async def append(self, appends: Sequence[StreamAppend], /) -> list[AppendResult]:
        self.calls.append("append")
        if self.fail_before:
            self.fail_before -= 1
            raise CatgaError("the disk is full", code=ErrorCode.PERSISTENCE_FAILED)
        done = await super().append(appends)
        if self.fail_after:
            self.fail_after -= 1
            unknown = {"outcome": "unknown"}
            raise CatgaError("the answer was lost", code=ErrorCode.PERSISTENCE_FAILED, details=unknown)
        return done

    async def read_stream(
        self, stream_id: str, /, *, from_version: int, to_version: int | None, limit: int, backward: bool
    ) -> list[RecordedEvent]:
        self.calls.append(f"read_stream {from_version}-{to_version} limit {limit}")
        return await super().read_stream(
            stream_id, from_version=from_version, to_version=to_version, limit=limit, backward=backward
        )

    async def read_all(self, *, after: int, limit: int) -> list[RecordedEvent]:
        self.calls.append(f"read_all after {after} limit {limit}")
        return await super().read_all(after=after, limit=limit)


class SnapshotsThatFail(MemorySnapshotStore):
    """Snapshots that cannot be written or read while they are broken."""

    def __init__(self, storage: MemoryStorage | None = None) -> None:
        super().__init__(storage or MemoryStorage())
        self.broken = False

    async def save(self, snapshot: Snapshot, /, *, keep: int = 1) -> None:
        if self.broken:
            raise CatgaError("the disk is full", code=ErrorCode.PERSISTENCE_FAILED)
        await super().save(snapshot, keep=keep)

    async def load(
        self, stream_id: str, name: str, /, *, schema_version: int, max_version: int | None = None
    ) -> Snapshot | None:
        if self.broken:
            raise CatgaError("the disk is gone", code=ErrorCode.PERSISTENCE_FAILED)
        return await super().load(stream_id, name, schema_version=schema_version, max_version=max_version)
