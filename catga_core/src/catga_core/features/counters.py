"""What the parts of reliability have done so far, for `health()`."""

from __future__ import annotations


class Counters:
    """Counts since the container was made."""

    __slots__ = ("dead_letters", "lost_dead_letters", "repeated_commands", "skipped_duplicates")

    def __init__(self) -> None:
        self.skipped_duplicates: int = 0
        self.repeated_commands: int = 0
        self.dead_letters: int = 0
        self.lost_dead_letters: int = 0

    def told(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in self.__slots__}
