"""How things are measured here: short slices of ours beside short slices of the limit, medians of their ratios.

A virtual machine's speed changes by a factor of two for seconds at a time, so absolute numbers say little. Each slice of
ours is therefore bracketed by two slices of the limit and divided by their mean; the median over the rounds stays within
two or three per cent.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        name: What was measured.
        ratio: Ours compared with the limit, as `goal` is meant.
        ours: Our figure, in `unit`.
        limit: The limit's figure, in `unit`.
        unit: Such as "requests/s" or "ns".
        goal: Such as ">= 1.3" or "<= 1.5", empty for none.
    """

    name: str
    ratio: float
    ours: float
    limit: float
    unit: str
    goal: str = ""

    @property
    def met(self) -> bool:
        """Whether the goal is reached; a row without a goal always is."""
        if not self.goal:
            return True
        sign, _, number = self.goal.partition(" ")
        return self.ratio >= float(number) if sign == ">=" else self.ratio <= float(number)


async def paired(
    ours: Callable[[], Awaitable[float]], limit: Callable[[], Awaitable[float]], *, rounds: int
) -> tuple[float, float, float]:
    """Return the median of limit-time / our-time, our median seconds, and the limit's.

    Args:
        ours: One slice; gives its seconds.
        limit: One slice of the limit, of as many operations.
        rounds: How many slices of ours.
    """
    await limit()
    await ours()
    ratios: list[float] = []
    our_seconds: list[float] = []
    limit_seconds = [await limit()]
    for _ in range(rounds):
        our_seconds.append(await ours())
        limit_seconds.append(await limit())
        ratios.append((limit_seconds[-2] + limit_seconds[-1]) / 2 / our_seconds[-1])
    return statistics.median(ratios), statistics.median(our_seconds), statistics.median(limit_seconds)


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| what | ratio | goal | ours | limit | unit |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.name} | {row.ratio:.2f} | {row.goal}{'' if row.met else ' **missed**'} "
        f"| {row.ours:,.0f} | {row.limit:,.0f} | {row.unit} |"
        for row in rows
    ]
    return "\n".join(lines)
