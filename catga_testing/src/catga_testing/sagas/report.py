"""The report of an exploration."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from catga_testing.sagas.faults import Fault
from catga_testing.sagas.timeline import Moment, drawn


class FailingRun(msgspec.Struct, frozen=True):
    """A run that failed.

    Args:
        problem: What is wrong.
        faults: The faults that were injected, in their order.
        moments: Its timeline.
    """

    problem: str
    faults: Sequence[Fault]
    moments: Sequence[Moment]

    @property
    def timeline(self) -> str:
        """Its history as text: injected faults, events, and the problem."""
        injected = ", then ".join(map(str, self.faults)) or "nothing"
        return f"injected: {injected}\n{drawn(self.moments)}\n  {self.problem}"


class ExplorationReport(msgspec.Struct, frozen=True):
    """The report of `explore_crashes`.

    Args:
        runs: How many runs there were.
        crash_points: How many points of a run without faults the process crashed at.
        failures: The runs that failed.
        complete: Whether every run within the bounds was made; `False` where it ended with a failure or with `max_runs`.
        seconds: How long it took, in real seconds.
    """

    runs: int
    crash_points: int
    failures: Sequence[FailingRun]
    complete: bool
    seconds: float = 0.0

    @property
    def shortest(self) -> FailingRun | None:
        """The failing run with the fewest faults and the shortest timeline, if any."""
        return min(self.failures, key=lambda each: (len(each.faults), len(each.moments)), default=None)

    @property
    def timeline(self) -> str:
        """The shortest failing history as text, empty if no run failed."""
        return "" if self.shortest is None else self.shortest.timeline

    def raise_on_failure(self) -> None:
        """Raise an error if a run failed.

        Raises:
            ExplorationError: A run failed.
        """
        if self.failures:
            raise ExplorationError(self)

    def __str__(self) -> str:
        """Return a summary with the shortest failing history."""
        bound = "" if self.complete or self.failures else " (ended by max_runs)"
        head = (
            f"{self.runs} runs in {self.seconds:.1f} s{bound}, {self.crash_points} crash points in a run without faults, "
            f"{len(self.failures)} failed"
        )
        return f"{head}\n{self.timeline}" if self.failures else head


class ExplorationError(AssertionError):
    """A run of a saga failed.

    Args:
        report: What was found.
    """

    def __init__(self, report: ExplorationReport) -> None:
        super().__init__(str(report))
        self.report: ExplorationReport = report
