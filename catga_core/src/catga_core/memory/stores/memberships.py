"""Memberships in memory."""

from __future__ import annotations

from catga_core.clock import Clock
from catga_core.interfaces.memberships import check_member
from catga_core.memory.storage import MemoryStorage


class _Members:
    """When each member's lease ends, by group; no table, because a unit of work has no part in it."""

    def __init__(self, _storage: MemoryStorage) -> None:
        self.leases: dict[str, dict[str, float]] = {}


class MemoryMembershipStore:
    """Keeps the members of groups in memory.

    Args:
        storage: where they are kept.
        clock: measures leases.
    """

    def __init__(self, storage: MemoryStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._groups = storage.part(_Members).leases

    async def announce(self, group: str, member: str, /, *, lease: float) -> list[str]:
        """Announce a member, or renew its lease; return every living member."""
        self._storage.check_loop()
        check_member(group, member)
        now = self._clock.time()
        alive = {name: ends for name, ends in self._groups.get(group, {}).items() if ends > now}
        alive[member] = now + lease
        self._groups[group] = alive
        return sorted(alive)

    async def members(self, group: str, /) -> list[str]:
        """Return every living member of a group."""
        self._storage.check_loop()
        now = self._clock.time()
        return sorted(name for name, ends in self._groups.get(group, {}).items() if ends > now)

    async def leave(self, group: str, member: str, /) -> bool:
        """Remove a member at once; return whether it was alive until now."""
        self._storage.check_loop()
        return self._groups.get(group, {}).pop(member, 0.0) > self._clock.time()
