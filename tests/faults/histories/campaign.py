"""Runs a workload in several processes, breaks what they rely on, and lets the model explain what they have seen."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from pathlib import Path

import msgspec

from tests.faults.histories.history import read_history
from tests.faults.histories.places import PLACES, Fault, Place
from tests.faults.histories.processes import Worker
from tests.faults.histories.workload import Found, Workload

_BETWEEN = (0.05, 0.35)  # seconds between two faults
_STARTING = 60.0  # seconds, on a machine that is busy


class Count(msgspec.Struct):
    """What happened in the rounds of one workload in one place."""

    workload: str
    place: str
    rounds: int = 0
    entries: int = 0
    faults: Counter[str] = msgspec.field(default_factory=Counter)
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    problems: list[str] = []


async def run(workload: Workload, place: str, *, seed: int, rounds: int, seconds: float) -> Count:
    """Run so many rounds, each in a new place.

    Args:
        workload: What the processes do.
        place: Where.
        seed: Decides what they do, and which faults come when.
        rounds: How many rounds.
        seconds: How long faults come in each.
    """
    count = Count(workload.name, place)
    for number in range(rounds):
        round_seed = seed + number
        async with PLACES[place](len(workload.roles)) as there:
            with tempfile.TemporaryDirectory(prefix="catga-histories-") as folder:
                found = await _round(workload, there, Path(folder), round_seed, seconds, count)
        count.rounds += 1
        count.counts += found.counts
        count.problems += [f"seed {round_seed}: {each}" for each in found.problems]
    return count


async def _round(
    workload: Workload, place: Place, folder: Path, seed: int, seconds: float, count: Count
) -> Found:
    chance = random.Random(f"{seed} {workload.name}")
    workers = [
        Worker(workload.name, role, url, folder, seed)
        for role, url in zip(workload.roles, place.ways, strict=True)
    ]
    early = workers[: len(workers) - workload.late]
    try:
        for each in early:
            await each.start()
        await _started(early)
        await _break(place, workers, early, chance, seconds, count)
        url = await place.settle()
        problems = [problem for each in workers for problem in await each.end()]
    finally:
        for each in workers:
            await each.abandon()
    history = await asyncio.to_thread(read_history, [each.log for each in workers])
    count.entries += len(history)
    found = await workload.check(url, history)
    found.problems += problems
    return found


async def _started(workers: list[Worker]) -> None:
    async with asyncio.timeout(_STARTING):
        while not all(each.log.exists() for each in workers):
            await asyncio.sleep(0.02)


async def _break(
    place: Place,
    workers: list[Worker],
    early: list[Worker],
    chance: random.Random,
    seconds: float,
    count: Count,
) -> None:
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds
    late = workers[len(early) :]
    async with asyncio.TaskGroup() as group:
        while (left := ends_at - loop.time()) > 0:
            await asyncio.sleep(chance.uniform(*_BETWEEN))
            if left < seconds / 2:
                while late:
                    await late.pop().start()
            name, fault = _choose(place, workers, chance)
            count.faults[name] += 1
            group.create_task(_apply(fault, random.Random(chance.random())))


async def _apply(fault: Fault, chance: random.Random) -> None:
    await fault(chance)


def _choose(place: Place, workers: list[Worker], chance: random.Random) -> tuple[str, Fault]:
    worker = chance.choice(workers)
    own: list[tuple[str, Fault]] = [
        ("process hangs", worker.hang),
        ("process is killed", worker.kill_and_start),
    ]
    return chance.choice([*own, *sorted(place.faults.items())])
