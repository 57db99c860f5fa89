"""How long sagas stood still after the process that ran them was killed, or stood still itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import pairwise

from tests.faults.histories.history import Entry


def recovery_times(
    runs: Mapping[str, Sequence[Entry]],
    breaks: Sequence[tuple[str, float]],
    *,
    waiting: AbstractSet[str] = frozenset(),
) -> list[float]:
    """Return the seconds from each fault of a process until another one ran a saga of it.

    Args:
        runs: By process, when it began to run which saga.
        breaks: The processes that were killed or stood still, with when.
        waiting: Sagas that wait for a time, and so are not looked at.
    """
    owners: dict[str, list[tuple[float, str]]] = {}
    for process, entries in runs.items():
        for each in entries:
            if each["id"] not in waiting:
                owners.setdefault(each["id"], []).append((each.at, process))
    times: list[float] = []
    for history in owners.values():
        history.sort()
        for (began, owner), (resumed, _) in pairwise(history):
            # Of several faults the last one has interrupted it: the others came before it ran there again.
            found = [at for process, at in breaks if process == owner and began < at < resumed]
            if found:
                times.append(resumed - found[0])
    return times


def start_times(history: Mapping[str, Sequence[Entry]], kills: Sequence[tuple[str, float]]) -> list[float]:
    """Return the seconds from each kill of a process until its successor was ready; those killed before are left out.

    Args:
        history: What each process wrote.
        kills: The processes that were killed, with when.
    """
    times: list[float] = []
    for process, entries in history.items():
        ready = [each.at for each in entries if each.kind == "ready"]
        killed = sorted(at for name, at in kills if name == process)
        for at, next_kill in pairwise([*killed, float("inf")]):
            times += [each - at for each in ready if at < each < next_kill][:1]
    return times


def percentile(times: Sequence[float], share: float) -> float:
    """Return a percentile, 0 where there is nothing."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
