"""Count the changes to the message classes of this process."""

from __future__ import annotations

import threading


class ClassChanges:
    """A number that grows whenever a message class is defined or renamed."""

    __slots__ = ("_lock", "count")

    def __init__(self) -> None:
        self.count: int = 0
        self._lock = threading.Lock()

    def note(self) -> None:
        """Count one change; modules may be imported in several threads."""
        with self._lock:
            self.count += 1


class_changes: ClassChanges = ClassChanges()
