"""Checkpoints in memory."""

from __future__ import annotations

import builtins

from catga_core.clock import Clock
from catga_core.errors import CheckpointConflictError, LeaseLostError
from catga_core.interfaces.checkpoints import Checkpoint
from catga_core.memory.engine.table import Table
from catga_core.memory.storage import MemoryStorage
from catga_core.option_checks import check_name

_MICROSECONDS = 1_000_000


class _Checkpoints(Table[str, Checkpoint]):
    pass


class MemoryCheckpointStore:
    """Keeps checkpoints in memory.

    Args:
        storage: Where they are kept.
        clock: Tells when one was saved.
    """

    def __init__(self, storage: MemoryStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._checkpoints = storage.part(_Checkpoints)

    async def load(self, name: str, /) -> Checkpoint | None:
        """Return a checkpoint, `None` where there is none yet."""
        return self._checkpoints.read().get(name)

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
        """Keep a position; joins the ambient unit of work."""
        check_name("name", name)
        rows = self._checkpoints.write(await self._storage.write())
        before = rows.get(name)
        if before is not None and before.fencing_token > fencing_token:
            reason = f"somebody with the fencing token {before.fencing_token} has saved it since ({fencing_token} is older)"
            raise LeaseLostError(f"the checkpoint {name!r}", reason)
        stored = 0 if before is None else before.position
        if expected_position is not None and expected_position != stored:
            raise CheckpointConflictError(name, expected_position, stored)
        now = round(self._clock.time() * _MICROSECONDS)
        rows[name] = Checkpoint(name, position, now, fencing_token, event_id)

    async def list(self) -> builtins.list[Checkpoint]:
        """Return every checkpoint, ordered by name."""
        rows = self._checkpoints.read()
        return [rows[name] for name in sorted(rows)]

    async def delete(self, name: str, /) -> bool:
        """Remove a checkpoint; tell whether there was one. Joins the ambient unit of work."""
        rows = self._checkpoints.write(await self._storage.write())
        return rows.pop(name, None) is not None
