"""The port of snapshots: states of a stream kept so that it need not be replayed from its beginning."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec

from catga_core.interfaces.port import port


class Snapshot(msgspec.Struct, frozen=True):
    """A state as of one version of a stream.

    Args:
        stream_id: The stream.
        version: The last event that is in it.
        name: What kind of state it is.
        schema_version: The version of that state's shape.
        format: The serializer that made the bytes.
        data: The bytes.
        taken_at: Microseconds since the Unix epoch.
    """

    stream_id: str
    version: int
    name: str
    schema_version: int
    format: str
    data: bytes
    taken_at: int


@port("snapshot_store", kept=True, kit="catga_testing.contracts:SnapshotContract")
@runtime_checkable
class SnapshotStore(Protocol):
    """Keeps snapshots; losing them costs time and nothing else."""

    async def save(self, snapshot: Snapshot, /, *, keep: int = 1) -> None:
        """Keep a snapshot beside the newest others of the same stream and name; joins the ambient unit of work.

        Args:
            snapshot: Replaces one of the same stream, name and version.
            keep: How many of the newest (by version) stay, this one included; 1 or more.
        """
        ...

    async def load(
        self, stream_id: str, name: str, /, *, schema_version: int, max_version: int | None = None
    ) -> Snapshot | None:
        """Return the newest snapshot of a stream, `None` for none that fits.

        Args:
            stream_id: The stream.
            name: What kind of state.
            schema_version: The shape wanted; snapshots of any other are passed over.
            max_version: The highest version wanted, `None` for any.
        """
        ...

    async def delete(self, stream_id: str, name: str | None = None, /) -> int:
        """Remove the snapshots of a stream, of one name or of all; return how many there were."""
        ...
