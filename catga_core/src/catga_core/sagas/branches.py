"""The branches of a saga's code: `execute` itself, and those of each `gather`."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

from catga_core.errors import CatgaError, ErrorCode
from catga_core.sagas.entries import Operation


class Group:
    """The branches of one `gather`.

    Args:
        count: How many they are.
    """

    __slots__ = ("failed", "left")

    def __init__(self, count: int) -> None:
        self.left: int = count
        self.failed: bool = False


class Branch:
    """One branch: the operations that it recorded, and how far its code has come in them.

    Args:
        path: Its place in the code.
        recorded: Its operations, each with its index in the journal.
        parent: The branch around it, `None` for `execute` itself.
        group: The `gather` that it belongs to.
    """

    __slots__ = ("at", "busy", "counts", "gathers", "group", "parent", "path", "recorded")

    def __init__(
        self,
        path: str,
        recorded: Sequence[tuple[int, Operation]],
        parent: Branch | None = None,
        group: Group | None = None,
    ) -> None:
        self.path: str = path
        self.recorded: Sequence[tuple[int, Operation]] = recorded
        self.parent: Branch | None = parent
        self.group: Group | None = group
        self.at: int = 0
        self.gathers: int = 0
        self.busy: str | None = None
        self.counts: dict[str, int] = {}

    @property
    def is_live(self) -> bool:
        """Whether its code has come to the end of what it recorded."""
        return self.at >= len(self.recorded)

    @property
    def has_failed_sibling(self) -> bool:
        """Whether another branch of its `gather`, or of one around it, has failed."""
        branch: Branch | None = self
        while branch is not None and branch.group is not None:
            if branch.group.failed:
                return True
            branch = branch.parent
        return False

    def key(self, name: str) -> str:
        """Return the key of the next operation of a name: the same each time the code runs."""
        count = self.counts[name] = self.counts.get(name, 0) + 1
        return f"{self.path}{name}#{count}"

    def begin(self, name: str) -> None:
        """Note that an operation runs.

        Raises:
            CatgaError: Another one of the branch runs.
        """
        if self.busy is not None:
            text = (
                f"The saga began {name!r} while {self.busy!r} was running in the same branch, so that their order in the journal "
                "would be a matter of chance. Await one after the other, or run them with saga.gather(...)."
            )
            raise CatgaError(text, code=ErrorCode.INTERNAL_ERROR)
        self.busy = name


current_branch: ContextVar[Branch] = ContextVar("catga_saga_branch")
"""The branch that the running task belongs to."""
