"""The model of a snapshot store."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from catga_core.interfaces import Snapshot, SnapshotStore
from catga_testing.contracts.stores.records import snapshot
from tests.contracts.stores_model.calls import Answer, BaseModel, Call

STREAMS, NAMES = ["orders-1", "orders-2"], ["Order", "Total"]


class Taken(msgspec.Struct, frozen=True):
    """A snapshot to make, with bytes of its own."""

    stream: str
    version: int
    name: str
    schema_version: int


class SnapshotsModel(BaseModel):
    """The snapshots that are kept."""

    port = SnapshotStore

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []

    def copy(self) -> SnapshotsModel:
        other = SnapshotsModel()
        other.snapshots, other.now = [*self.snapshots], self.now
        return other

    @staticmethod
    def calls() -> st.SearchStrategy[Call]:
        stream, name = st.sampled_from(STREAMS), st.sampled_from(NAMES)
        wanted = st.fixed_dictionaries(
            {"schema_version": st.integers(1, 2), "max_version": st.none() | st.integers(1, 6)}
        )
        joining = SnapshotsModel.joining()
        return st.one_of(
            joining,
            st.builds(lambda *which, options: Call("load", which, options), stream, name, options=wanted),
            st.builds(lambda *which: Call("delete", which), stream, st.none() | name),
        )

    @staticmethod
    def joining() -> st.SearchStrategy[Call]:
        taken = st.builds(
            Taken, st.sampled_from(STREAMS), st.integers(1, 6), st.sampled_from(NAMES), st.integers(1, 2)
        )
        return st.builds(lambda given, keep: Call("save", (given,), {"keep": keep}), taken, st.integers(1, 3))

    @staticmethod
    def looks() -> list[Call]:
        return [
            Call("load", (stream, name), {"schema_version": schema_version, "max_version": version})
            for stream in STREAMS
            for name in NAMES
            for schema_version in (1, 2)
            for version in (None, 3)
        ]

    @staticmethod
    def prepared(argument: Any) -> Any:
        if not isinstance(argument, Taken):
            return argument
        return snapshot(
            argument.stream, argument.version, name=argument.name, schema_version=argument.schema_version
        )

    def save(self, answer: Answer, given: Snapshot, *, keep: int) -> bool:
        alike = [
            each for each in self.snapshots if _key(each) == _key(given) and each.version != given.version
        ]
        newest = sorted([*alike, given], key=lambda each: each.version)[-keep:]
        self.snapshots = [each for each in self.snapshots if _key(each) != _key(given)] + newest
        return answer.gives(None)

    def load(
        self, answer: Answer, stream: str, name: str, *, schema_version: int, max_version: int | None
    ) -> bool:
        fitting = [
            each
            for each in self.snapshots
            if _key(each) == (stream, name)
            and each.schema_version == schema_version
            and each.version <= (max_version or each.version)
        ]
        return answer.gives(max(fitting, key=lambda each: each.version, default=None))

    def delete(self, answer: Answer, stream: str, name: str | None) -> bool:
        left = [each for each in self.snapshots if each.stream_id != stream or name not in {None, each.name}]
        removed = len(self.snapshots) - len(left)
        self.snapshots = left
        return answer.gives(removed)


def _key(snapshot: Snapshot) -> tuple[str, str]:
    return snapshot.stream_id, snapshot.name
