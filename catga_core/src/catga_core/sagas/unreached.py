"""Recorded effects that the code of a saga does not reach, so that it registers no compensation for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from catga_core.sagas.entries import Mark, Operation, Step, StepFailed
from catga_core.sagas.history import History
from catga_core.sagas.values import decode_value


class Unreached(msgspec.Struct, frozen=True):
    """An effect that the code does not reach.

    Args:
        index: Its place in the journal.
        key: The key of its compensation in the journal.
        name: The name of its step.
        step: The step, `None` for a child saga and for a compensation without a step.
    """

    index: int
    key: str
    name: str
    step: Step | None

    @property
    def result(self) -> Any:
        """The step's result, `None` where there is none.

        Raises:
            SerializationError: Its class is not known here.
        """
        return None if self.step is None else decode_value(self.step.value)


def unreached(history: History) -> list[Unreached]:
    """Return the effects that an ended run did not reach and that are not yet compensated."""
    found = [each for path, recorded, at in history.branches() for each in _rest(path, recorded, at)]
    return sorted(
        (each for each in found if each.key not in history.compensations), key=lambda each: each.index
    )


def _rest(path: str, recorded: Sequence[tuple[int, Operation]], at: int) -> Iterator[Unreached]:
    counts: dict[str, int] = {}
    child: str | None = None
    for place, (index, entry) in enumerate(recorded):
        if isinstance(entry, Mark) and entry.kind in {"child", "compensation"}:
            child = entry.name if entry.kind == "child" else None
        elif isinstance(entry, Step | StepFailed):
            if child == entry.name:
                # The end of a child saga, which is compensated by the mark of its begin.
                child = None
                continue
        else:
            continue
        count = counts[entry.name] = counts.get(entry.name, 0) + 1
        if place >= at and not isinstance(entry, StepFailed):
            step = entry if isinstance(entry, Step) else None
            yield Unreached(index, f"{path}{entry.name}#{count}", entry.name, step)
