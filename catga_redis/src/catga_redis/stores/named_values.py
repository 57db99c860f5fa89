"""Named values in Redis."""

from __future__ import annotations

from catga_core.identifiers import new_id
from catga_core.interfaces.named_values import check_value
from catga_redis.engine.refusals import is_refusal, refusal
from catga_redis.storage import RedisStorage


class RedisNamedValueStore:
    """Keeps named values: one hash for all.

    Args:
        storage: where.
    """

    def __init__(self, storage: RedisStorage) -> None:
        self._storage = storage
        self._commands = storage.commands
        self._key = f"{storage.root}nv"

    async def get(self, name: str, /) -> int | None:
        """Return a value, `None` where there is none."""
        found = await self._commands.read("HGET", self._key, name)
        return None if found is None else int(found)

    async def set(self, name: str, value: int, /) -> None:
        """Keep a value; inside a unit of work it is written at the commit."""
        await self._set(name, value, "any")

    async def compare_and_set(self, name: str, value: int, /, *, expected: int | None) -> None:
        """Keep a value if another one is stored now; inside a unit of work it is checked and written at the commit."""
        await self._set(name, value, "none" if expected is None else expected)

    async def delete(self, name: str, /) -> bool:
        """Remove a value; return whether there was one.

        Where the first answer was lost, `False` may also mean that the first try has removed it.
        """
        unit = self._storage.joined()
        if unit is not None:
            unit.stage("delete_value", name)
            return bool(await self._commands.read("HEXISTS", self._key, name))
        return bool(await self._commands.run("delete_value", name))

    async def list(self, prefix: str = "", /) -> dict[str, int]:
        """Return the values whose names begin with a prefix."""
        found: dict[bytes, bytes] = await self._commands.read("HGETALL", self._key)
        values = sorted((name.decode(), int(value)) for name, value in found.items())
        return {name: value for name, value in values if name.startswith(prefix)}

    async def _set(self, name: str, value: int, expected: int | str) -> None:
        check_value(value)
        operation = ("set_value", name, value, expected)
        unit = self._storage.joined()
        if unit is not None:
            unit.stage(*operation)
            return
        # A unit of work of its own: it is recognised when it is sent again because its answer was lost.
        answer = await self._commands.commit(new_id(), [operation])
        if is_refusal(answer):
            raise refusal(answer)
