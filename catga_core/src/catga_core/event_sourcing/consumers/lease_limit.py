"""`LeaseLimit`: how many partitions of a subscription one process may hold, so that other processes get their share."""

from __future__ import annotations

from catga_core.runtime.waiter import Waiter


class LeaseLimit:
    """Limits how many consumers of one process hold their lease at the same time.

    Args:
        limit: The number.
    """

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self._held: set[str] = set()
        self._waiter = Waiter()

    @property
    def surplus(self) -> int:
        """How many more hold a lease than may."""
        return max(0, len(self._held) - self.limit)

    @property
    def held(self) -> frozenset[str]:
        """The keys of the consumers that hold a lease."""
        return frozenset(self._held)

    async def free(self) -> None:
        """Wait until one more consumer may hold a lease."""
        while len(self._held) >= self.limit:
            await self._waiter.wait()

    def take(self, key: str) -> bool:
        """Note that a consumer holds its lease.

        Args:
            key: The consumer's key.

        Returns:
            Whether it may; `False` where another consumer was faster.
        """
        if len(self._held) >= self.limit:
            return False
        self._held.add(key)
        return True

    def give_back(self, key: str) -> None:
        """Note that a consumer no longer holds its lease."""
        self._held.discard(key)
        self._waiter.wake()

    def change(self, limit: int) -> None:
        """Change the limit."""
        self.limit = limit
        self._waiter.wake()


def share_of(members: list[str], me: str, partitions: int) -> int:
    """Return how many partitions are one member's: equal shares, one more for the first members of the rest.

    Args:
        members: Every member.
        me: One of them.
        partitions: How many there are.
    """
    ordered = sorted({*members, me})
    each, rest = divmod(partitions, len(ordered))
    return each + (ordered.index(me) < rest)
