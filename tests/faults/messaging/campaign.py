"""Publishes messages while processes and servers are killed and stopped, and counts what became of them."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from catga_core import CatgaApp
from catga_testing.waiting import NotInTimeError, eventually
from tests.faults.histories.history import read_history
from tests.faults.kills.places import PLACES, Place
from tests.faults.messaging import checks
from tests.faults.messaging.application import BOOKED_LIST, BOOKED_TABLE, LEASE, QUEUES_OF, compose
from tests.faults.messaging.checks import Effect
from tests.faults.messaging.counts import Count
from tests.faults.messaging.places import way_of
from tests.faults.messaging.plan import BOOKED, LANES, planned
from tests.faults.messaging.processes import Process

_MODULE = "tests.faults.messaging.process"
_WORKERS = 3
_PUBLISHERS = 2
_BETWEEN = (0.2, 1.2)  # seconds between two faults
_LONGEST_PAUSE = 2 * LEASE
_SETTLED_WITHIN = 180.0


async def run(store: str, *, messages: int, seed: int, seconds: float) -> Count:
    """Publish so many messages over one store, and check what became of them.

    Args:
        store: `sqlite` or `redis`.
        messages: How many.
        seed: Decides what is published, and the faults.
        seconds: How long publishing takes at least.
    """
    count = Count(f"messages over {store}")
    began = time.monotonic()
    async with PLACES[store]() as place:
        with tempfile.TemporaryDirectory(prefix="catga-messaging-") as folder:
            await _run(place, Path(folder), max(1, messages // LANES), seed, seconds, count)
    count.seconds = time.monotonic() - began
    return count


async def _run(place: Place, folder: Path, each_lane: int, seed: int, seconds: float, count: Count) -> None:
    url = way_of(place)
    async with compose(url).running(roles={"admin"}):
        if not place.can_break:
            with closing(sqlite3.connect(_path_of(place))) as connection:
                connection.execute(BOOKED_TABLE)
    workers = [Process(f"worker-{number}", _MODULE, "work", (url,), folder) for number in range(_WORKERS)]
    publishers = [
        Process(
            f"publisher-{number}",
            _MODULE,
            "publish",
            (url, str(seed), f"{number}/{_PUBLISHERS}", str(each_lane), str(seconds / each_lane)),
            folder,
        )
        for number in range(_PUBLISHERS)
    ]
    chance = random.Random(f"{seed} faults")
    try:
        for each in [*workers, *publishers]:
            await each.start()
        await _break(place, workers, publishers, chance, count)
        async with compose(url).running(roles={"admin"}) as app:
            await _settle(app, count)
        for each in [*workers, *publishers]:
            count.problems += await each.end()
        pauses = [pause for each in workers for pause in each.pauses]
        effects = checks.effects_of(read_history([each.log for each in workers]), pauses)
        published = read_history([each.log for each in publishers])
        plan = {
            each.id: each
            for lane in range(LANES)
            for number in range(each_lane)
            for each in [planned(seed, lane, number)]
        }
        async with compose(url).running(roles={"admin"}) as app:
            found = await checks.look(app, plan, published, effects, await _booked(place))
    finally:
        for each in [*workers, *publishers]:
            await each.abandon()
    count.counts += found.counts
    count.problems += found.problems
    if found.counts["published"] + found.counts["not acknowledged"] < len(plan):
        count.problems.append("not everything was published")


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
    faults: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        ("worker is killed", worker.kill_and_start),
        ("worker stands still", lambda: worker.pause(seconds)),
        ("publisher is killed", publisher.kill_and_start),
    ]
    if place.can_break:
        faults.append(("server is killed", place.break_and_mend))
    return chance.choice(faults)


async def _settle(app: CatgaApp, count: Count) -> None:
    async def is_settled() -> bool:
        stats = await app.message_queues.stats()
        return not any(each.ready or each.scheduled for each in stats.values())

    try:
        await eventually(is_settled, within=_SETTLED_WITHIN, every=0.2)
    except NotInTimeError:
        stats = await app.message_queues.stats()
        count.problems.append(f"what was left was not finished within {_SETTLED_WITHIN:g} s: {stats}")


def _path_of(place: Place) -> str:
    return place.url.removeprefix("sqlite:///")


async def _booked(place: Place) -> list[Effect]:
    """Return what handlers have written in their units of work, in its order."""
    if place.can_break:
        from redis.asyncio import Redis

        async with Redis.from_url(place.url, decode_responses=True) as redis:
            rows: list[Any] = [str(row).split() for row in await redis.lrange(BOOKED_LIST, 0, -1)]
    else:
        with closing(sqlite3.connect(_path_of(place))) as connection:
            rows = connection.execute("SELECT id, key, number FROM messaging_booked ORDER BY seq").fetchall()
    queue = QUEUES_OF[BOOKED][0]
    # Numbered by their order, which is all that is known of their times.
    return [
        Effect(queue, id, key, int(number), float(at), float(at), stale=False)
        for at, (id, key, number) in enumerate(rows)
    ]
