"""`Credit`: how many items of a stream may be out that were not consumed yet."""

from __future__ import annotations

import asyncio
from collections import deque


class Credit:
    """Lets a sender go on while its receiver has consumed enough.

    At most `items` items are out, and the next one is sent only while those that are out have less than `size` bytes: so a receiver
    holds at most that and one more item.

    Args:
        items: The most items.
        size: Bytes of them.
    """

    __slots__ = ("_freed", "_items", "_out", "_out_size", "_size", "consumed", "sent")

    def __init__(self, items: int, size: int) -> None:
        self._items = items
        self._size = size
        self._out: deque[int] = deque()
        self._out_size = 0
        self._freed: asyncio.Future[None] | None = None
        self.sent: int = 0
        self.consumed: int = 0

    @property
    def full(self) -> bool:
        """Whether nothing may be sent now."""
        return len(self._out) >= self._items or (self._out_size >= self._size and bool(self._out))

    def spend(self, size: int = 0) -> None:
        """Note that one item is sent.

        Args:
            size: Its bytes.
        """
        self.sent += 1
        self._out.append(size)
        self._out_size += size

    def free(self, consumed: int) -> bool:
        """Note how many items the receiver has consumed in all.

        Args:
            consumed: Their number; one that is known already changes nothing.

        Returns:
            Whether so many were sent.
        """
        if consumed > self.sent:
            return False
        while self.consumed < consumed:
            self.consumed += 1
            self._out_size -= self._out.popleft()
        if self._freed is not None and not self._freed.done() and not self.full:
            self._freed.set_result(None)
        return True

    async def wait(self, timeout: float | None) -> None:
        """Return when an item may be sent.

        Args:
            timeout: Seconds to wait, `None` for no limit.

        Raises:
            TimeoutError: The receiver has not consumed enough in time.
        """
        while self.full:
            self._freed = asyncio.get_running_loop().create_future()
            async with asyncio.timeout(timeout):
                await self._freed
