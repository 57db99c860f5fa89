"""A unit of work in the in-memory storage."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from catga_core.memory.connection import MemoryConnection
from catga_core.runtime.unit_of_work import BaseUnitOfWork
from catga_core.runtime.waiter import Waiter

if TYPE_CHECKING:
    from catga_core.memory.storage import MemoryStorage


class Part(Protocol):
    """Data that a unit of work has written to."""

    def commit(self) -> None:
        """Make it visible to all."""
        ...

    def roll_back(self) -> None:
        """Forget it."""
        ...


@runtime_checkable
class SavedPart(Part, Protocol):
    """Data that a nested block can be rolled back in alone."""

    def save(self) -> object:
        """Return a mark of what is written so far."""
        ...

    def roll_back_to(self, mark: Any, /) -> None:
        """Forget what was written since a mark, and the mark."""
        ...

    def release(self, mark: Any, /) -> None:
        """Forget a mark, and keep what was written since."""
        ...


class MemoryUnitOfWork(BaseUnitOfWork):
    """What is written in one block; it has the storage for itself from its first write on."""

    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__(storage)
        self._memory = storage
        self._turn: asyncio.Lock | None = None
        self._written: list[Part] = []
        self._to_wake: dict[tuple[Waiter, Hashable], None] = {}

    @property
    def connection(self) -> MemoryConnection:
        """Read and write tables of your own, which are committed with everything else.

        Raises:
            PersistenceError: The unit of work has ended.
        """
        self.require_open()
        return MemoryConnection(self, self._memory)

    @property
    def has_writes(self) -> bool:
        """Whether it has written."""
        return bool(self._written)

    async def begin(self) -> None:
        """Have the storage for itself; wait for the one that has it."""
        if self._memory.writer is self:
            return
        if self._turn is None:
            self._turn = asyncio.Lock()
        # Several tasks of one unit of work may come to their first write at once.
        async with self._turn:
            if self._memory.writer is not self:
                await self._memory.take_turn()
                if self.over:
                    self._memory.end_turn()
                self.require_open()
                self._memory.writer = self

    def wrote(self, part: Part) -> None:
        """Note that a part was written to, once for each part."""
        self._written.append(part)

    def wake_later(self, waiter: Waiter, key: Hashable) -> None:
        """Wake the tasks that wait for a key once it is committed."""
        self._to_wake[waiter, key] = None

    def _save(self) -> dict[SavedPart, object] | None:
        marks: dict[SavedPart, object] = {}
        for part in self._written:
            if not isinstance(part, SavedPart):
                return None
            marks[part] = part.save()
        return marks

    def _roll_back_to(self, mark: Any) -> None:
        for part in self._written:
            if part in mark:
                part.roll_back_to(mark[part])  # type: ignore[attr-defined]
            else:
                part.roll_back()
        self._written = list(mark)

    def _release(self, mark: Any) -> None:
        for part, saved in mark.items():
            part.release(saved)

    def abandon(self) -> None:
        """Forget its writes: the event loop of its block is closed."""
        self.over = True
        for part in self._written:
            part.roll_back()

    def _commit(self) -> None:
        if self._memory.writer is self:
            for part in self._written:
                part.commit()
            self._end()
            for waiter, key in self._to_wake:
                waiter.wake(key)

    def _roll_back(self) -> None:
        if self._memory.writer is self:
            for part in self._written:
                part.roll_back()
            self._end()

    def _end(self) -> None:
        self._memory.writer = None
        self._memory.end_turn()
