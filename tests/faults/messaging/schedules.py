"""Replicas with the same schedules are killed and stopped: each tick has one command, and none is missing.

Over JetStream the last ticks are in a storage that the replicas share, and the commands at the server, which is killed too.
`python -m tests.faults.messaging.schedules work WAY LOG` is one replica.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
import structlog

from catga_core import (
    CatgaApp,
    CatgaContainer,
    CatgaError,
    CatgaOptions,
    Command,
    RequestHandler,
    add_catga,
    message,
)
from catga_core.identifiers import new_id
from catga_core.interfaces.durable_transport import command_queue
from catga_core.reliability import QueueOptions, add_queues
from catga_core.scheduling import OnMissed, OnOverlap, add_schedule
from catga_testing.waiting import NotInTimeError, eventually
from tests.faults.histories.history import Recorder, read_history
from tests.faults.messaging.application import LEASE
from tests.faults.messaging.campaign import break_in_turn
from tests.faults.messaging.checks import Effect, Found, check_order, effects_of
from tests.faults.messaging.counts import Count, Log
from tests.faults.messaging.places import PLACES, REDIS_IS_KILLED, Place
from tests.faults.messaging.processes import Process
from tests.faults.messaging.ways import Way, add_servers, read_way, stored_over

INTERVAL = 0.25  # seconds between two ticks
_REPLICAS = 5
_BETWEEN = (0.1, 0.6)  # seconds between two faults
_LONGEST_PAUSE = 2 * LEASE
_SETTLED_WITHIN = 120.0
_AGAIN = 0.1
_TURNS_A_MINUTE = 20  # how often each thing that breaks in turn does so
_OVERLAPS: Mapping[str, OnOverlap] = {"all": OnOverlap.ALLOW, "wait": OnOverlap.WAIT}
_QUEUE = command_queue("schedules.tick")


@message(name="schedules.tick")
class Tick(Command[None]):
    """A tick of a schedule; made with another `made` by each replica, so that a second one would be refused."""

    schedule: str
    at: float
    made: str


class RunTick(RequestHandler[Tick, None]):
    """Says that it was run."""

    def __init__(self, log: Log) -> None:
        self._record = log.record

    async def handle(self, message: Tick) -> None:
        """Take a moment, and say it."""
        began = time.monotonic()
        await asyncio.sleep(random.uniform(0, INTERVAL / 4))
        self._record(
            "handled",
            queue=_QUEUE,
            id=f"{message.schedule} {message.at:.3f}",
            key="wait" if message.schedule == "wait" else "",
            number=round(message.at * 1_000),
            began=began,
            made=message.made,
            late=time.time() - message.at,
        )


def compose(way: Way, record: Recorder, schedules: Mapping[str, OnOverlap] = _OVERLAPS) -> CatgaContainer:
    """Put a replica together.

    Args:
        way: How it reaches its state and its commands.
        record: Where its handlers' effects go.
        schedules: The schedules, by name, with what happens at a tick whose predecessor is not done.
    """
    catga = add_catga(CatgaOptions(service_name="schedules", store=way.store))
    add_queues(
        catga,
        QueueOptions(
            lease_seconds=LEASE,
            poll_seconds=0.3,
            max_attempts=50,
            retry_delay_seconds=0.05,
            retry_max_delay_seconds=0.1,
        ),
    )
    catga.add_singleton(Log, Log(record))
    catga.add_handlers(RunTick)
    add_servers(catga, way)
    for name, overlap in schedules.items():
        add_schedule(catga, name, _tick_of(name), every=INTERVAL, missed=OnMissed.ALL, overlap=overlap)
    return catga


def _tick_of(name: str) -> Callable[[datetime], Tick]:
    return lambda tick: Tick(name, tick.timestamp(), new_id())


async def run(store: str, *, seconds: float, seed: int, ticks: str = "sqlite") -> Count:
    """Run replicas over one place, and check which ticks were run.

    Args:
        store: The place, one of `PLACES`.
        seconds: How long faults come.
        seed: Decides the faults.
        ticks: Where last ticks are over JetStream: `sqlite` or `redis`.
    """
    count = Count(f"schedules over {store}")
    began = time.monotonic()
    async with PLACES[store](_REPLICAS) as opened:
        place = opened
        if opened.look.servers:
            count.name += f", their last ticks in {ticks}"
            place = _with_ticks_in(opened, ticks)
        with tempfile.TemporaryDirectory(prefix="catga-schedules-") as folder:
            await _run(place, Path(folder), seconds, seed, count)
    count.seconds = time.monotonic() - began
    return count


def _with_ticks_in(place: Place, ticks: str) -> Place:
    """Return a place over JetStream whose processes keep their last ticks in one of its storages."""
    [store] = [each for each in (place.look.store, *place.look.inboxes) if stored_over(each) == ticks][:1]
    ways = [msgspec.structs.replace(each, store=store) for each in (*place.ways, place.look)]
    faults = {
        name: fault for name, fault in place.faults.items() if name != REDIS_IS_KILLED or ticks == "redis"
    }
    return msgspec.structs.replace(place, ways=ways[:-1], look=ways[-1], faults=faults)


async def _run(place: Place, folder: Path, seconds: float, seed: int, count: Count) -> None:
    replicas = [
        Process(f"replica-{number}", "tests.faults.messaging.schedules", "work", (way.written(),), folder)
        for number, way in enumerate(place.ways)
    ]
    chance = random.Random(f"{seed} schedules")
    try:
        for each in replicas:
            await each.start()
        await eventually(lambda: any(b'"ready"' in each.said for each in replicas), within=60)
        ready = time.time()
        async with asyncio.TaskGroup() as group:
            turns = max(1, round(_TURNS_A_MINUTE * seconds / 60))
            group.create_task(break_in_turn(place, turns, seconds, seed, count))
            await _break(place, replicas, seconds, chance, count)
        rest = Recorder(folder / "rest.jsonl", str(os.getpid()))
        async with compose(place.look, rest).running(roles={"admin"}) as app:
            # Of all replicas one is enough from here on.
            for each in replicas[1:]:
                count.problems += await each.end()
            await _caught_up(app, time.time(), count)
            count.problems += await replicas[0].end()
            # A tick may have been enqueued while it stopped.
            async with compose(place.look, rest, schedules={}).running(roles={"work"}) as worker:
                await _settled(worker, count)
            pauses = [pause for each in replicas for pause in each.pauses]
            history = read_history([folder / "rest.jsonl", *(each.log for each in replicas)])
            last = {each.name: each.last_at or 0.0 for each in await app.schedules.list()}
            made: defaultdict[str, set[str]] = defaultdict(set)
            for entry in history:
                if entry.kind == "handled":
                    made[entry["id"]].add(entry["made"])
            found = await _look(app, effects_of(history, pauses), last, ready)
    finally:
        for each in replicas:
            await each.abandon()
    late = sorted(entry["late"] for entry in history if entry.kind == "handled")
    count.counts["latest tick, milliseconds late"] = round(1_000 * late[-1]) if late else 0
    count.counts["half of the ticks, milliseconds late"] = round(1_000 * late[len(late) // 2]) if late else 0
    count.problems += [f"{id} was enqueued {len(ids)} times" for id, ids in made.items() if len(ids) > 1]
    count.problems += [
        f"{each.name} enqueued a tick that was there"
        for each in replicas
        if "MessageIdConflict" in each.errors
    ]
    count.counts += found.counts
    count.problems += found.problems


async def _break(
    place: Place, replicas: Sequence[Process], seconds: float, chance: random.Random, count: Count
) -> None:
    until = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        while time.monotonic() < until:
            await asyncio.sleep(chance.uniform(*_BETWEEN))
            replica, pause = chance.choice(replicas), chance.uniform(0.1, _LONGEST_PAUSE)
            kinds = ["replica is killed", "replica stands still", *place.faults]
            [name] = chance.choices(kinds, [4, 6, *(1 for _ in place.faults)])
            own = random.Random(chance.random())
            count.faults[name] += 1
            if name == "replica stands still":
                group.create_task(replica.pause(pause))
            elif name == "replica is killed":
                await replica.kill_and_start()
            else:
                await place.faults[name](own)


async def _caught_up(app: CatgaApp, until: float, count: Count) -> None:
    async def is_past() -> bool:
        return all((each.last_at or 0.0) > until for each in await app.schedules.list())

    await _within(is_past, "ticks were not enqueued", count)


async def _settled(app: CatgaApp, count: Count) -> None:
    async def is_empty() -> bool:
        return not any(each.ready for each in (await app.message_queues.stats()).values())

    await _within(is_empty, "ticks were not handled", count)


async def _within(holds: Callable[[], Awaitable[bool]], text: str, count: Count) -> None:
    try:
        await eventually(holds, within=_SETTLED_WITHIN, every=0.1)
    except NotInTimeError as error:
        count.problems.append(f"{text} within {_SETTLED_WITHIN:g} s: {error}")


async def _look(app: CatgaApp, effects: Sequence[Effect], last: dict[str, float], ready: float) -> Found:
    found = Found()
    times = Counter(each.id for each in effects)
    for name, last_at in last.items():
        ticks = sorted(each.number for each in effects if each.id.startswith(f"{name} "))
        if not ticks or ticks[0] / 1_000 > ready + INTERVAL:
            found.problems.append(f"{name} began at {ticks[:1]}, {ready} was the start")
            continue
        step = round(INTERVAL * 1_000)
        expected = range(ticks[0], round(last_at * 1_000) + 1, step)
        found.counts["ticks"] += len(expected)
        missing = sorted(set(expected) - set(ticks))
        if missing:
            found.problems.append(f"{name}: {len(missing)} ticks are missing, the first is {missing[0]}")
        if extra := sorted(set(ticks) - set(expected)):
            found.problems.append(f"{name}: ticks that are none: {extra[:5]}")
    found.counts["runs after the first of a tick"] = sum(times.values()) - len(times)
    found.counts["dead letters"] = await app.dead_letter_queue.count()
    if found.counts["dead letters"]:
        found.problems.append("ticks are in the dead letters")
    check_order(effects, set(times), found)
    return found


async def work(way: Way, log: Path) -> None:
    """Run a replica until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    record = Recorder(log, str(os.getpid()))
    while not stop.is_set():
        try:
            async with compose(way, record).running(roles={"work"}):
                record("ready")
                await stop.wait()
        except CatgaError as error:
            record("not started", error=error.message)
            await asyncio.sleep(_AGAIN)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(work(read_way(sys.argv[2]), Path(sys.argv[3])))
