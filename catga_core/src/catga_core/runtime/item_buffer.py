"""`ItemBuffer`: the items of a stream that have arrived and are not consumed."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Generic, TypeVar

from catga_core.errors import CatgaError

T = TypeVar("T")


class End:
    """Stands for the end of a stream."""


END: Final = End()


class ItemBuffer(Generic[T]):
    """Keeps items for the one who takes them, up to the stream's end or failure."""

    __slots__ = ("_arrived", "_ended", "_error", "_items", "consumed", "consumed_size", "size")

    def __init__(self) -> None:
        self._items: deque[tuple[T, int]] = deque()
        self._arrived: asyncio.Future[None] | None = None
        self._ended = False
        self._error: CatgaError | None = None
        self.consumed: int = 0
        self.consumed_size: int = 0
        self.size: int = 0

    def __len__(self) -> int:
        """Return how many items wait."""
        return len(self._items)

    @property
    def ended(self) -> bool:
        """Whether nothing more arrives."""
        return self._ended

    def put(self, item: T, size: int = 0) -> None:
        """Add an item.

        Args:
            item: The item.
            size: Its bytes.
        """
        self._items.append((item, size))
        self.size += size
        self._wake()

    def end(self, error: CatgaError | None = None) -> None:
        """End the stream after the items that have arrived; the first end counts.

        Args:
            error: What the stream failed with, `None` for a stream that is complete.
        """
        if not self._ended:
            self._ended, self._error = True, error
            self._wake()

    async def take(self, timeout: float | None) -> T | End:
        """Return the next item, or `END`.

        Args:
            timeout: Seconds to wait, `None` for no limit.

        Raises:
            CatgaError: What the stream failed with.
            TimeoutError: No item arrived in time.
        """
        while not self._items:
            if self._ended:
                if self._error is not None:
                    raise self._error
                return END
            self._arrived = asyncio.get_running_loop().create_future()
            if timeout is None:
                await self._arrived
            else:
                async with asyncio.timeout(timeout):
                    await self._arrived
        item, size = self._items.popleft()
        self.size -= size
        self.consumed += 1
        self.consumed_size += size
        return item

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)
