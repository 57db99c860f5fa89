"""Publishes messages while processes and servers are killed and stopped, and counts what became of them."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from catga_testing.waiting import NotInTimeError, eventually
from tests.faults.histories.history import read_history
from tests.faults.messaging import checks
from tests.faults.messaging.application import LEASE, compose, services_of
from tests.faults.messaging.bookings import booked, prepare_bookings
from tests.faults.messaging.counts import Count
from tests.faults.messaging.operators import Operator
from tests.faults.messaging.places import PLACES, Place
from tests.faults.messaging.plan import LANES, planned
from tests.faults.messaging.processes import Process
from tests.faults.messaging.streams import consumers_in, left_in
from tests.faults.messaging.ways import Way

_MODULE = "tests.faults.messaging.process"
_WORKERS = 3
_PUBLISHERS = 2
_BETWEEN = (0.2, 1.2)  # seconds between two faults
_LONGEST_PAUSE = 2 * LEASE
_SETTLED_WITHIN = 180.0
_TURNS_OF_10_000 = 20  # how often each thing that breaks in turn does so in a run of 10,000 messages


async def run(store: str, *, messages: int, seed: int, seconds: float) -> Count:
    """Publish so many messages over one place, and check what became of them.

    Args:
        store: The place, one of `PLACES`.
        messages: How many.
        seed: Decides what is published, and the faults.
        seconds: How long publishing takes at least.
    """
    count = Count(f"messages over {store}")
    began = time.monotonic()
    async with PLACES[store](_WORKERS + _PUBLISHERS) as place:
        with tempfile.TemporaryDirectory(prefix="catga-messaging-") as folder:
            await _run(place, Path(folder), max(1, messages // LANES), seed, seconds, count)
    count.seconds = time.monotonic() - began
    return count


async def _run(place: Place, folder: Path, each_lane: int, seed: int, seconds: float, count: Count) -> None:
    look = place.look
    await _prepare(look)
    ways = iter(place.ways)
    workers = [
        Process(f"worker-{number}", _MODULE, "work", (next(ways).written(),), folder)
        for number in range(_WORKERS)
    ]
    publishers = [
        Process(
            f"publisher-{number}",
            _MODULE,
            "publish",
            (
                next(ways).written(),
                str(seed),
                f"{number}/{_PUBLISHERS}",
                str(each_lane),
                str(seconds / each_lane),
            ),
            folder,
        )
        for number in range(_PUBLISHERS)
    ]
    plan = {
        each.id: each
        for lane in range(LANES)
        for number in range(each_lane)
        for each in [planned(seed, lane, number)]
    }
    operator = Operator(look)
    purging = asyncio.create_task(operator.work())
    try:
        for each in [*workers, *publishers]:
            await each.start()
        async with asyncio.TaskGroup() as group:
            turns = max(1, round(_TURNS_OF_10_000 * len(plan) / 10_000))
            group.create_task(break_in_turn(place, turns, seconds, seed, count))
            await _break(place, workers, publishers, random.Random(f"{seed} faults"), count)
        await (_settle_streams(look, count) if look.servers else _settle(look, count))
        if purging.done():
            purging.result()
        purging.cancel()
        for each in [*workers, *publishers]:
            count.problems += await each.end()
        pauses = [pause for each in workers for pause in each.pauses]
        effects = checks.effects_of(read_history([each.log for each in workers]), pauses)
        published = read_history([each.log for each in publishers])
        found = await checks.look(look, plan, published, effects, await booked(look), purged=operator.purged)
    finally:
        purging.cancel()
        for each in [*workers, *publishers]:
            await each.abandon()
    count.counts += found.counts
    count.problems += found.problems
    if found.counts["published"] + found.counts["not acknowledged"] < len(plan):
        count.problems.append("not everything was published")


async def _prepare(look: Way) -> None:
    """Declare the queues, so that nothing is published that no queue takes yet, and the tables."""
    for made in services_of(look):
        async with made().running(roles={"work"} if look.servers else {"admin"}):
            pass
    prepare_bookings(look)


async def break_in_turn(place: Place, turns: int, seconds: float, seed: int, count: Count) -> None:
    """Break each of what breaks in turn so many times, evenly over a time.

    Args:
        place: What breaks.
        turns: How often each does.
        seconds: The time.
        seed: Decides the moments.
        count: Counts the faults.
    """
    chance = random.Random(f"{seed} turns")
    for _ in range(turns if place.turns else 0):
        for name, fault in place.turns.items():
            await asyncio.sleep(chance.uniform(0.5, 1) * seconds / turns / len(place.turns))
            count.faults[name] += 1
            await fault(chance)


async def _break(
    place: Place,
    workers: Sequence[Process],
    publishers: Sequence[Process],
    chance: random.Random,
    count: Count,
) -> None:
    """Break something again and again until everything is published."""
    async with asyncio.TaskGroup() as group:
        while not all(each.ended for each in publishers):
            for each in [*workers, *publishers]:
                if each.failed is not None:
                    count.problems.append(each.failed)
                    return
            await asyncio.sleep(chance.uniform(*_BETWEEN))
            name, fault = _choose(place, workers, publishers, chance)
            count.faults[name] += 1
            if name == "worker stands still":
                group.create_task(_awaited(fault))
            else:
                await fault()


async def _awaited(fault: Callable[[], Awaitable[None]]) -> None:
    await fault()


def _choose(
    place: Place, workers: Sequence[Process], publishers: Sequence[Process], chance: random.Random
) -> tuple[str, Callable[[], Awaitable[None]]]:
    worker, publisher = chance.choice(workers), chance.choice(publishers)
    seconds = chance.uniform(0.1, _LONGEST_PAUSE)
    # A fault of its own draws from a generator of its own, so that the order of the faults is that of the seed.
    own = random.Random(chance.random())
    faults: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        ("worker is killed", worker.kill_and_start),
        ("worker stands still", lambda: worker.pause(seconds)),
        ("publisher is killed", publisher.kill_and_start),
        *((name, partial(fault, own)) for name, fault in place.faults.items()),
    ]
    return chance.choice(faults)


async def _settle_streams(look: Way, count: Count) -> None:
    """Wait until every stream is empty, which drops a message when its last queue has settled it."""

    left: Counter[str] = Counter()

    async def is_settled() -> bool:
        nonlocal left
        left = await left_in(look.servers)
        return not left

    try:
        await eventually(is_settled, within=_SETTLED_WITHIN, every=0.5)
    except NotInTimeError as error:
        text = f"what was left was not finished within {_SETTLED_WITHIN:g} s: {error}; {dict(left)} before"
        count.problems.append(text)
        count.problems += await consumers_in(look.servers)


async def _settle(look: Way, count: Count) -> None:
    async with compose(look).running(roles={"admin"}) as app:

        async def is_settled() -> bool:
            stats = await app.message_queues.stats()
            return not any(each.ready or each.scheduled for each in stats.values())

        try:
            await eventually(is_settled, within=_SETTLED_WITHIN, every=0.2)
        except NotInTimeError:
            stats = await app.message_queues.stats()
            count.problems.append(f"what was left was not finished within {_SETTLED_WITHIN:g} s: {stats}")
