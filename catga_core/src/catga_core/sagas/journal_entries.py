"""`JournalEntry`: an entry of a saga's journal, as migrations read and change it."""

from __future__ import annotations

from typing import Any

import msgspec

from catga_core.errors import CatgaError
from catga_core.option_checks import check_name
from catga_core.sagas.entries import (
    Compensated,
    CompensationFailed,
    Entry,
    Failing,
    Mark,
    Operation,
    Progress,
    Received,
    Step,
    StepFailed,
)
from catga_core.sagas.failures import catga_error
from catga_core.sagas.values import decode_value, encode_value


class JournalEntry:
    """An immutable entry of a journal; its methods return changed copies.

    Args:
        entry: The entry.
    """

    __slots__ = ("entry",)

    def __init__(self, entry: Entry) -> None:
        self.entry: Entry = entry

    @classmethod
    def step(cls, name: str, result: Any = None, *, branch: str = "", returns: Any = None) -> JournalEntry:
        """Create the entry of a step that succeeded.

        Args:
            name: The step's name.
            result: Its result.
            branch: Its branch, as in `SagaStep.branch`.
            returns: The type of the result, where the code declares it with `returns=` or sends a command.

        Raises:
            SerializationError: The result does not survive serialization unchanged.
        """
        check_name("name", name)
        return cls(Step(branch, name, encode_value(result, returns), 1, 0.0, 0.0))

    @classmethod
    def patch(cls, name: str, *, branch: str = "") -> JournalEntry:
        """Create the entry that makes `saga.patched(name)` return `True`.

        Args:
            name: The name of the change.
            branch: The branch.
        """
        check_name("name", name)
        return cls(Mark(branch, name, "patch"))

    @property
    def kind(self) -> str:
        """The kind of operation: `step`, `failed step`, `time`, `sleep`, `wait`, `event`, `timeout`, `patch`, `child`, `progress`, ..."""
        entry = self.entry
        if isinstance(entry, StepFailed):
            return "failed step"
        if isinstance(entry, Received):
            return "event" if entry.position is not None else "timeout"
        if isinstance(entry, Mark):
            return entry.kind.replace("_", " ")
        return entry.KIND if isinstance(entry, Operation) else _KINDS[type(entry)]

    @property
    def name(self) -> str:
        """The name that the code gave it; empty if it has none."""
        return self.entry.name if isinstance(self.entry, Operation) else ""

    @property
    def branch(self) -> str:
        """Its branch of `gather`, empty for `execute` itself."""
        return self.entry.branch if isinstance(self.entry, Operation) else ""

    @property
    def result(self) -> Any:
        """The result of a step, `None` for other entries.

        Raises:
            SerializationError: The class of the result is unknown here.
        """
        return decode_value(self.entry.value) if isinstance(self.entry, Step) else None

    @property
    def error(self) -> CatgaError | None:
        """The error of a failed step, `None` for other entries."""
        return catga_error(self.entry.error) if isinstance(self.entry, StepFailed) else None

    def renamed(self, name: str) -> JournalEntry:
        """Return the entry with another name.

        Raises:
            ValueError: The entry has no name, or is a child saga, which is looked up by its name.
        """
        check_name("name", name)
        self._check_no_child()
        if not self.name or isinstance(self.entry, Received) or self.kind == "wait":
            msg = f"{self!r} cannot be renamed: the code gave it no name. Rename only steps, patches and compensations."
            raise ValueError(msg)
        return JournalEntry(msgspec.structs.replace(self.entry, name=name))

    def moved(self, branch: str) -> JournalEntry:
        """Return the entry in another branch, such as `0.1/` for the second branch of the first `gather`.

        Raises:
            ValueError: The entry is in no branch, or is a child saga, which is looked up by its branch.
        """
        self._check_no_child()
        if not isinstance(self.entry, Operation):
            msg = (
                f"{self!r} cannot be moved: it does not belong to a branch. Move only operations of the code."
            )
            raise ValueError(msg)  # noqa: TRY004 - the entry, not its class, is what does not fit
        return JournalEntry(msgspec.structs.replace(self.entry, branch=branch))

    def with_result(self, result: Any, *, returns: Any = None) -> JournalEntry:
        """Return the step with another result.

        Args:
            result: The result.
            returns: As in `step`.

        Raises:
            ValueError: The entry is not a step that succeeded.
            SerializationError: The result does not survive serialization unchanged.
        """
        if not isinstance(self.entry, Step):
            msg = f"{self!r} has no result: it is not a step that succeeded. Call with_result(...) on such a step."
            raise ValueError(msg)  # noqa: TRY004 - the entry, not its class, is what does not fit
        return JournalEntry(msgspec.structs.replace(self.entry, value=encode_value(result, returns)))

    def _check_no_child(self) -> None:
        if self.kind == "child":
            msg = f"{self!r} cannot be renamed or moved: the transaction id of the child saga is derived from both. Keep the entry."
            raise ValueError(msg)

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        branch = f" in {self.branch!r}" if self.branch else ""
        return f"<{self.kind}{name}{branch}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JournalEntry) and self.entry == other.entry

    def __hash__(self) -> int:
        return hash(repr(self))


_KINDS: dict[type[Any], str] = {
    Failing: "failing",
    Compensated: "compensated",
    CompensationFailed: "compensation failed",
    Progress: "progress",
}
