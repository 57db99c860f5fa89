"""The port of checkpoints: how far who follows the event log has come."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec

from catga_core.interfaces.port import port


class Checkpoint(msgspec.Struct, frozen=True):
    """How far one projection, or one partition of a subscription, has come.

    Args:
        name: What that one keeps its place under.
        position: The last position it is done with, 0 for none.
        updated_at: Microseconds since the Unix epoch.
        fencing_token: The highest one it was saved with, 0 for none.
        event_id: The message id of the event at that position, `None` where it was saved without one. It shows whether the log
            still has that event: after a lossy failover or a restored backup, another event may be at the position.
    """

    name: str
    position: int
    updated_at: int
    fencing_token: int = 0
    event_id: str | None = None


@port("checkpoints", kept=True, transactional=True, kit="catga_testing.contracts:CheckpointContract")
@runtime_checkable
class CheckpointStore(Protocol):
    """Keeps one position for each name."""

    async def load(self, name: str, /) -> Checkpoint | None:
        """Return a checkpoint, `None` where there is none yet."""
        ...

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
        """Keep a position; joins the ambient unit of work, so that effects and checkpoint are written together.

        A lower position than the stored one is kept as well: a rebuild starts over.

        Args:
            name: What it keeps its place under.
            position: The last position it is done with.
            fencing_token: The number of the lock that who saves holds; 0 for none.
            expected_position: The position that has to be stored now, 0 for none; `None` for whatever it is. Of two
                that have begun at one position, one saves.
            event_id: The message id of the event at the position, `None` where it is not known.

        Raises:
            CatgaError: `CONFLICT` when another position is stored than expected; nothing was written.
            LeaseLostError: When it was saved with a higher fencing token before: somebody else follows now.
        """
        ...

    async def list(self) -> list[Checkpoint]:
        """Return every checkpoint, ordered by name."""
        ...

    async def delete(self, name: str, /) -> bool:
        """Remove a checkpoint; tell whether there was one. Joins the ambient unit of work."""
        ...
