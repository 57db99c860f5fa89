"""A workload: what the processes of a run do, and the model that has to explain what they have seen."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from tests.faults.histories.history import Entry, Recorder


class Task(msgspec.Struct, frozen=True):
    """What one process is given.

    Args:
        role: What it does in the workload.
        url: Its way to the storage.
        seed: Decides what it does.
        record: Writes its history.
        stop: Set when it is to end.
    """

    role: str
    url: str
    seed: int
    record: Recorder
    stop: asyncio.Event

    @property
    def chance(self) -> random.Random:
        """A new source of chance for this process."""
        return random.Random(f"{self.seed} {self.role}")


class Found(msgspec.Struct):
    """What the model has found.

    Args:
        problems: What it cannot explain, a sentence each.
        counts: What was compared.
    """

    problems: list[str] = []
    counts: Counter[str] = msgspec.field(default_factory=Counter)


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """A workload.

    Args:
        name: Its name.
        places: Where it runs.
        roles: One process for each.
        late: How many of them start in the middle of the run.
        work: What a process does until it is stopped.
        check: Compares the histories with the storage, given its URL, after all faults were undone.
    """

    name: str
    places: Sequence[str]
    roles: Sequence[str]
    late: int = 0
    work: Callable[[Task], Awaitable[None]]
    check: Callable[[str, Sequence[Entry]], Awaitable[Found]]
