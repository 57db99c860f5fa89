"""Memberships in Redis."""

from __future__ import annotations

from catga_core.interfaces.memberships import check_member
from catga_redis.storage import RedisStorage


class RedisMembershipStore:
    """Keeps the members of groups: one sorted set for each group, by the end of their leases.

    Args:
        storage: where.
    """

    def __init__(self, storage: RedisStorage) -> None:
        self._commands = storage.commands

    async def announce(self, group: str, member: str, /, *, lease: float) -> list[str]:
        """Announce a member, or renew its lease; return every living member."""
        check_member(group, member)
        return _names(await self._commands.run("announce", group, member, lease))

    async def members(self, group: str, /) -> list[str]:
        """Return every living member of a group."""
        return _names(await self._commands.run("list_members", group))

    async def leave(self, group: str, member: str, /) -> bool:
        """Remove a member at once; return whether it was alive until now.

        Where the first answer was lost, `False` may also mean that the first try has removed it.
        """
        return bool(await self._commands.run("leave_group", group, member))


def _names(found: list[bytes]) -> list[str]:
    return sorted(name.decode() for name in found)
