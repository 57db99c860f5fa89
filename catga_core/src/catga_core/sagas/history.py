"""`History`: the journal of a saga as read at its takeover."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from catga_core.sagas.branches import Branch, Group
from catga_core.sagas.entries import (
    COMMIT_POINT,
    Compensated,
    CompensationFailed,
    Entry,
    Failing,
    Mark,
    Operation,
    Progress,
    Received,
    decode_entry,
)


class History:
    """The recorded operations by branch, and the outcomes of compensations.

    Args:
        entries: The journal.

    Raises:
        SerializationError: An entry cannot be decoded.
    """

    __slots__ = (
        "_begun",
        "_branches",
        "committed",
        "compensations",
        "entries",
        "failing",
        "left",
        "positions",
        "progress",
    )

    def __init__(self, entries: Sequence[bytes]) -> None:
        self.entries: int = len(entries)
        self.left: int = 0
        self.failing: Failing | None = None
        # Whether the commit point is in the journal.
        self.committed: bool = False
        self.compensations: dict[str, Compensated | CompensationFailed] = {}
        self.progress: Progress | None = None
        self.positions: dict[str, int] = {}
        self._branches: dict[str, list[tuple[int, Operation]]] = {}
        self._begun: dict[str, Branch] = {}
        for index, data in enumerate(entries):
            self._read(index, decode_entry(data))

    def branch(self, path: str, parent: Branch | None = None, group: Group | None = None) -> Branch:
        """Return a new branch with its recorded operations."""
        begun = self._begun[path] = Branch(path, self._branches.get(path, ()), parent, group)
        return begun

    def has_branches(self, prefix: str) -> bool:
        """Return whether a branch whose path begins with a prefix recorded anything."""
        return any(path.startswith(prefix) for path in self._branches)

    def branches(self) -> Iterator[tuple[str, Sequence[tuple[int, Operation]], int]]:
        """Yield each recorded branch: its path, its operations, and how many of them the code has asked for."""
        for path, recorded in self._branches.items():
            yield path, recorded, self._begun[path].at if path in self._begun else 0

    @property
    def shown(self) -> Sequence[str]:
        """The recorded operations in their order, for errors."""
        found = [each for recorded in self._branches.values() for each in recorded]
        return [each.shown for _, each in sorted(found, key=lambda pair: pair[0])]

    def unread(self) -> str | None:
        """Return the first recorded operation that the code did not request, if any."""
        left = [recorded[at] for _, recorded, at in self.branches() if at < len(recorded)]
        return min(left, key=lambda pair: pair[0])[1].shown if left else None

    def _read(self, index: int, entry: Entry) -> None:
        if isinstance(entry, Operation):
            self._branches.setdefault(entry.branch, []).append((index, entry))
            self.left += 1
            if isinstance(entry, Received) and entry.position is not None:
                self.positions[entry.topic] = max(self.positions.get(entry.topic, 0), entry.position)
            elif isinstance(entry, Mark) and entry.kind == COMMIT_POINT:
                self.committed = True
        elif isinstance(entry, Failing):
            self.failing = entry
        elif isinstance(entry, Progress):
            self.progress = entry
        else:
            self.compensations[entry.of] = entry
