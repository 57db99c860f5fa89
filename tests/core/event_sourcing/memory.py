"""A log and snapshots in memory, as far as these tests need them."""

from __future__ import annotations

from collections.abc import Sequence

from catga_core import CatgaError, ErrorCode
from catga_core.errors import ConcurrencyError
from catga_core.interfaces import ANY, AppendResult, RecordedEvent, Snapshot, StreamAppend


class Log:
    """Counts its calls, and fails when it is told to: before it has written, or after."""

    def __init__(self) -> None:
        self.all: list[RecordedEvent] = []
        self.streams: dict[str, list[RecordedEvent]] = {}
        self.calls: list[str] = []
        self.fail_before = 0
        self.fail_after = 0

    async def append(self, appends: Sequence[StreamAppend], /) -> list[AppendResult]:
        self.calls.append("append")
        if self.fail_before:
            self.fail_before -= 1
            raise CatgaError("the disk is full", code=ErrorCode.PERSISTENCE_FAILED)
        results = [self._known(each) for each in appends]
        for index, each in enumerate(appends):
            if results[index] is None:
                actual = len(self.streams.get(each.stream_id, ()))
                if each.expected_version not in {ANY, actual}:
                    raise ConcurrencyError(each.stream_id, each.expected_version, actual)
        for index, each in enumerate(appends):
            if results[index] is None:
                stream = self.streams.setdefault(each.stream_id, [])
                for record in each.records:
                    stored = RecordedEvent(each.stream_id, len(stream) + 1, len(self.all) + 1, record)
                    stream.append(stored)
                    self.all.append(stored)
                results[index] = AppendResult(len(stream), len(self.all))
        if self.fail_after:
            self.fail_after -= 1
            raise CatgaError(
                "the answer was lost", code=ErrorCode.PERSISTENCE_FAILED, details={"outcome": "unknown"}
            )
        return [each for each in results if each is not None]

    def _known(self, append: StreamAppend) -> AppendResult | None:
        ids = [record.message_id for record in append.records]
        stream = self.streams.get(append.stream_id, [])
        there = [each for each in stream if each.record.message_id in ids]
        if [each.record.message_id for each in there] != ids:
            return None
        return AppendResult(there[-1].version, there[-1].position)

    async def read_stream(
        self, stream_id: str, /, *, from_version: int, to_version: int | None, limit: int, backward: bool
    ) -> list[RecordedEvent]:
        self.calls.append(f"read_stream {from_version}-{to_version} limit {limit}")
        found = self.streams.get(stream_id, [])[from_version - 1 : to_version]
        return (found[::-1] if backward else found)[:limit]

    async def read_all(self, *, after: int, limit: int) -> list[RecordedEvent]:
        self.calls.append(f"read_all after {after} limit {limit}")
        return self.all[after : after + limit]

    async def version(self, stream_id: str, /) -> int:
        return len(self.streams.get(stream_id, ()))

    async def head(self) -> int:
        return len(self.all)

    async def wait(self, *, after: int, timeout: float) -> None: ...


class Snapshots:
    """Keeps snapshots as they are; fails to save when it is told to."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], list[Snapshot]] = {}
        self.broken = False

    async def save(self, snapshot: Snapshot, /, *, keep: int = 1) -> None:
        if self.broken:
            raise CatgaError("the disk is full", code=ErrorCode.PERSISTENCE_FAILED)
        key = (snapshot.stream_id, snapshot.name)
        others = [each for each in self.kept.get(key, ()) if each.version != snapshot.version]
        self.kept[key] = sorted([*others, snapshot], key=lambda each: each.version)[-keep:]

    async def load(
        self, stream_id: str, name: str, /, *, schema_version: int, max_version: int | None = None
    ) -> Snapshot | None:
        if self.broken:
            raise CatgaError("the disk is gone", code=ErrorCode.PERSISTENCE_FAILED)
        fitting = [
            each
            for each in self.kept.get((stream_id, name), ())
            if each.schema_version == schema_version and (max_version is None or each.version <= max_version)
        ]
        return fitting[-1] if fitting else None

    async def delete(self, stream_id: str, name: str | None = None, /) -> int:
        keys = [key for key in self.kept if key[0] == stream_id and name in {None, key[1]}]
        return sum(len(self.kept.pop(key)) for key in keys)
