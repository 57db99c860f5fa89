"""The port `CheckpointStore` over a folder."""

from __future__ import annotations

import msgspec

from catga_core import Clock
from catga_core.errors import CheckpointConflictError, LeaseLostError
from catga_core.interfaces import Checkpoint

from .disk import name_of
from .storage import Files, FolderStorage

_TABLE = "checkpoints"


class FolderCheckpointStore:
    """One file for each consumer."""

    def __init__(self, storage: FolderStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock

    async def load(self, name: str, /) -> Checkpoint | None:
        """Return a checkpoint, `None` where there is none yet."""
        return _of(self._storage.reading(), name)

    async def save(
        self,
        name: str,
        position: int,
        /,
        *,
        fencing_token: int = 0,
        expected_position: int | None = None,
        event_id: str | None = None,
    ) -> None:
        """Keep a position, unless somebody else follows now."""
        async with self._storage.writing() as files:
            found = _of(files, name) or Checkpoint(name, 0, 0)
            if found.fencing_token > fencing_token:
                reason = f"another consumer has saved it with the fencing token {found.fencing_token}"
                raise LeaseLostError(f"the checkpoint {name!r}", reason)
            if expected_position is not None and expected_position != found.position:
                raise CheckpointConflictError(name, expected_position, found.position)
            saved = Checkpoint(name, position, int(self._clock.time() * 1e6), fencing_token, event_id)
            files.put(_TABLE, name_of(name), msgspec.json.encode(saved))

    async def list(self) -> list[Checkpoint]:
        """Return every checkpoint, ordered by name."""
        found = [msgspec.json.decode(each, type=Checkpoint) for each in self._storage.reading().all(_TABLE)]
        return sorted(found, key=lambda each: each.name)

    async def delete(self, name: str, /) -> bool:
        """Remove a checkpoint; tell whether there was one."""
        async with self._storage.writing() as files:
            found = _of(files, name)
            if found is not None:
                files.put(_TABLE, name_of(name), None)
        return found is not None


def _of(files: Files, name: str) -> Checkpoint | None:
    data = files.get(_TABLE, name_of(name))
    return None if data is None else msgspec.json.decode(data, type=Checkpoint)
