"""How many followers of one process may hold their place, so that others get some of the work."""

from __future__ import annotations

import asyncio


class Quota:
    """Lets so many followers hold their place at the same time.

    Parameters:
        limit: how many.
    """

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self._held: set[str] = set()
        self._free = asyncio.Event()
        self._tell()

    @property
    def surplus(self) -> int:
        """How many more hold their place than may."""
        return max(0, len(self._held) - self.limit)

    @property
    def held(self) -> frozenset[str]:
        """Those that hold their place."""
        return frozenset(self._held)

    async def free(self) -> None:
        """Return when one more may."""
        await self._free.wait()

    def take(self, key: str) -> bool:
        """Note that one holds its place; `False` where it may not, because another one was faster."""
        if len(self._held) >= self.limit:
            return False
        self._held.add(key)
        self._tell()
        return True

    def give_back(self, key: str) -> None:
        """Note that one no longer holds its place."""
        self._held.discard(key)
        self._tell()

    def change(self, limit: int) -> None:
        """Let so many from now on."""
        self.limit = limit
        self._tell()

    def _tell(self) -> None:
        if len(self._held) < self.limit:
            self._free.set()
        else:
            self._free.clear()


def share_of(members: list[str], me: str, parts: int) -> int:
    """Return how many of some parts are one member's: the same number for all, one more for the first ones of the rest.

    Parameters:
        members: everybody who shares them.
        me: one of them.
        parts: how many there are.
    """
    ordered = sorted({*members, me})
    each, rest = divmod(parts, len(ordered))
    return each + (ordered.index(me) < rest)
