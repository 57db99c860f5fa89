"""What is counted in a run."""

from __future__ import annotations

from collections import Counter

import msgspec

from tests.faults.histories.history import Recorder


class Count(msgspec.Struct):
    """What happened in one run.

    Args:
        name: What was run.
        faults: The faults, by name.
        counts: What became of the messages, by name.
        problems: The promises that were broken.
        seconds: How long it took.
    """

    name: str
    faults: Counter[str] = msgspec.field(default_factory=Counter[str])
    counts: Counter[str] = msgspec.field(default_factory=Counter[str])
    problems: list[str] = []
    seconds: float = 0.0

    def shown(self) -> str:
        """Lay out what was counted."""
        lines = [f"{self.name}, {self.seconds:.0f} s"]
        for some in (self.counts, self.faults):
            lines += [f"  {name:<50}{number:>9,}" for name, number in sorted(some.items())]
        lines += [f"  BROKEN {problem}" for problem in self.problems[:20]]
        return "\n".join(lines)


class Log:
    """What handlers write to, as a service of the container.

    Args:
        record: Writes.
    """

    def __init__(self, record: Recorder) -> None:
        self.record: Recorder = record
