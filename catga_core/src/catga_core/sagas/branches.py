"""The branches of a saga's code: `execute` itself, and those of each `gather`."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

from catga_core.errors import CatgaError, ErrorCode
from catga_core.runtime.unit_of_work import active_unit_of_work, open_unit_of_work
from catga_core.sagas.entries import Operation, Step, StepFailed


class Group:
    """The branches of one `gather`.

    Args:
        count: The number of branches.
        cancels: Whether running steps are cancelled when a branch fails.
    """

    __slots__ = ("cancels", "failed", "failed_at", "left")

    def __init__(self, count: int, *, cancels: bool = False) -> None:
        self.left: int = count
        self.cancels: bool = cancels
        self.failed: bool = False
        # The journal index of the first recorded failure, `None` without one.
        self.failed_at: int | None = None

    def fail(self, branch: Branch) -> None:
        """Record that a branch has failed."""
        self.failed = True
        last = branch.recorded[-1] if branch.recorded and not branch.has_gone_on else None
        # Other operations are recorded when they begin, and those of branches within it elsewhere.
        if last is not None and isinstance(last[1], Step | StepFailed) and not branch.gathers:
            self.failed_at = last[0] if self.failed_at is None else min(self.failed_at, last[0])


class Branch:
    """One branch: its recorded operations, and the position of its code among them.

    Args:
        path: Its place in the code.
        recorded: Its operations, each with its index in the journal.
        parent: The branch around it, `None` for `execute` itself.
        group: The `gather` that it belongs to.
    """

    __slots__ = ("at", "busy", "counts", "gathers", "group", "has_gone_on", "parent", "path", "recorded")

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
        # Whether it has run an operation in this process that is not in the journal.
        self.has_gone_on: bool = False
        self.busy: str | None = None
        self.counts: dict[str, int] = {}

    @property
    def is_live(self) -> bool:
        """Whether its code has passed the last recorded operation."""
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

    @property
    def may_have_begun_step(self) -> bool:
        """Whether a process may have begun a step behind what it recorded: it has not where a sibling had failed before."""
        last = self._last_index
        branch: Branch | None = self
        while branch is not None and branch.group is not None:
            if branch.group.failed and branch.group.cancels:
                return False
            failed_at = branch.group.failed_at
            if failed_at is not None and failed_at < last:
                return False
            branch = branch.parent
        return True

    @property
    def _last_index(self) -> int:
        branch: Branch | None = self
        while branch is not None:
            if branch.recorded:
                return branch.recorded[-1][0]
            branch = branch.parent
        return -1

    def key(self, name: str) -> str:
        """Return the key of the next operation with a name, the same on every run of the code."""
        count = self.counts[name] = self.counts.get(name, 0) + 1
        return f"{self.path}{name}#{count}"

    def begin(self, name: str) -> None:
        """Record that an operation is running.

        Raises:
            CatgaError: Another operation of the branch is running, or a unit of work is open.
        """
        if active_unit_of_work.get() is not None and open_unit_of_work() is not None:
            text = (
                f"The saga began {name!r} inside a unit of work, whose rollback would remove its record. Open the unit of work in the "
                "function of the step, or pass in_unit_of_work=True."
            )
            raise CatgaError(text, code=ErrorCode.INTERNAL_ERROR)
        if self.busy is not None:
            text = (
                f"The saga began {name!r} while {self.busy!r} was running in the same branch, so their order in the journal "
                "would be nondeterministic. Await one after the other, or run them with saga.gather(...)."
            )
            raise CatgaError(text, code=ErrorCode.INTERNAL_ERROR)
        self.busy = name


current_branch: ContextVar[Branch] = ContextVar("catga_saga_branch")
"""The branch that the running task belongs to."""
