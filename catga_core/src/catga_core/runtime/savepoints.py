"""Savepoints: which nested block of a unit of work can be rolled back without the rest of it."""

from __future__ import annotations

from contextvars import ContextVar

import msgspec


class Savepoint(msgspec.Struct, eq=False):
    """One nested block.

    Args:
        unit: The unit of work that the block is in.
        outer: The block around it, in the task that entered it; of any unit of work.
        mark: What the storage rolls back to; `None` where it cannot.
        before: Number of actions before the commit that were registered when the block was entered.
        after: The same of the actions after the commit.
        undone: The same of the actions after a rollback.
        spoiled_by: The error that prevented the commit when the block was entered.
        mixed: Whether writes that are not the block's own came after its beginning.
        closed: Whether the block was left.
    """

    unit: object
    outer: Savepoint | None
    mark: object
    before: int
    after: int
    undone: int
    spoiled_by: BaseException | None
    mixed: bool = False
    closed: bool = False


active_savepoint: ContextVar[Savepoint | None] = ContextVar("catga_savepoint", default=None)
"""The innermost nested block of the running task."""


class Savepoints:
    """The nested blocks of one unit of work that are open, innermost last.

    They are rolled back as a stack. Where several tasks share a unit of work, a block may have begun while another task's
    block was open, or others may have written since it began: rolling it back alone would take their writes with it.

    Args:
        unit: The unit of work.
    """

    __slots__ = ("_open", "_unit")

    def __init__(self, unit: object) -> None:
        self._unit = unit
        self._open: list[Savepoint] = []

    def __bool__(self) -> bool:
        return bool(self._open)

    def may_begin(self) -> bool:
        """Return whether the running task's own block is the innermost; else note that blocks overlap."""
        current = self._current()
        if self._open and self._open[-1] is not current:
            self._mix(current)
            return False
        return True

    def begin(self, point: Savepoint) -> None:
        """Open a nested block for the running task."""
        self._open.append(point)
        active_savepoint.set(point)

    def wrote(self) -> None:
        """Note that the running task writes."""
        if self._open and self._open[-1] is not (current := self._current()):
            self._mix(current)

    def end(self, point: Savepoint) -> bool:
        """Close a nested block; return whether it can be released or rolled back alone."""
        alone = not point.mixed and bool(self._open) and self._open[-1] is point
        point.closed = True
        if point in self._open:
            self._open.remove(point)
        # Without a token: a block may be left in another context than it was entered in, as in fixtures.
        if active_savepoint.get() is point:
            active_savepoint.set(point.outer)
        return alone

    def _current(self) -> Savepoint | None:
        return self._outwards(active_savepoint.get())

    def _outwards(self, point: Savepoint | None) -> Savepoint | None:
        while point is not None and (point.closed or point.unit is not self._unit):
            point = point.outer
        return point

    def _mix(self, current: Savepoint | None) -> None:
        around: list[Savepoint] = []
        while current is not None:
            around.append(current)
            current = self._outwards(current.outer)
        for point in self._open:
            if point not in around:
                point.mixed = True
