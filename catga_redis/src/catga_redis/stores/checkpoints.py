"""Checkpoints in Redis."""

from __future__ import annotations

from catga_core.identifiers import new_id
from catga_core.interfaces.checkpoints import Checkpoint
from catga_redis.engine.refusals import is_refusal, refusal
from catga_redis.storage import RedisStorage


class RedisCheckpointStore:
    """Keeps one position for each name: one hash for all.

    Args:
        storage: Where.
    """

    def __init__(self, storage: RedisStorage) -> None:
        self._storage = storage
        self._commands = storage.commands
        self._key = f"{storage.root}cp"

    async def load(self, name: str, /) -> Checkpoint | None:
        """Return a checkpoint, `None` where there is none yet."""
        found = await self._commands.read("HGET", self._key, name)
        return None if found is None else _checkpoint(name, found)

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
        """Keep a position; inside a unit of work it is checked and written at the commit."""
        expected = "" if expected_position is None else expected_position
        operation = ("save_checkpoint", name, position, fencing_token, expected, event_id or "")
        unit = self._storage.joined()
        if unit is not None:
            unit.stage(*operation)
            return
        # A unit of work of its own: asked again because its answer was lost, the position it has saved is no other's to it.
        answer = await self._commands.commit(new_id(), [operation])
        if is_refusal(answer):
            raise refusal(answer)

    async def list(self) -> list[Checkpoint]:
        """Return every checkpoint, ordered by name."""
        found: dict[bytes, bytes] = await self._commands.read("HGETALL", self._key)
        return sorted(
            (_checkpoint(name.decode(), stored) for name, stored in found.items()), key=lambda each: each.name
        )

    async def delete(self, name: str, /) -> bool:
        """Remove a checkpoint; tell whether there was one.

        Where the first answer was lost, `False` may also mean that the first try has removed it.
        """
        unit = self._storage.joined()
        if unit is not None:
            unit.stage("delete_checkpoint", name)
            return bool(await self._commands.read("HEXISTS", self._key, name))
        return bool(await self._commands.run("delete_checkpoint", name))


def _checkpoint(name: str, stored: bytes) -> Checkpoint:
    position, updated_at, token, *event_id = stored.split(b":", 3)
    return Checkpoint(
        name, int(position), int(updated_at), int(token), event_id[0].decode() if event_id else None
    )
