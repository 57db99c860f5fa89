"""Runs sagas over three services while processes and servers are killed and stand still, and counts what became of them."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec

from catga_core import CatgaApp, CatgaError, CatgaMediator, CatgaOptions, add_catga
from catga_core.interfaces import EventStore
from catga_core.interfaces.saga_records import (
    ALL_SAGAS,
    SagaRecord,
    SagaState,
)
from catga_core.sagas import SagaExecutor
from catga_testing.servers import NatsServer
from catga_testing.waiting import NotInTimeError, eventually
from tests.faults.histories.history import Recorder, read_history
from tests.faults.kills.places import PLACES as STORES
from tests.faults.kills.places import Place
from tests.faults.messaging.counts import Count, Log
from tests.faults.messaging.places import REDIS_IS_KILLED, way_of
from tests.faults.messaging.processes import Process
from tests.faults.sagas.checks import Seen, broken_promises
from tests.faults.sagas.coordinator import LEASE, bookings_of, coordinator, over_nats
from tests.faults.sagas.ledger import Ledger
from tests.faults.sagas.plan import PlaceOrder, planned, stock_of
from tests.faults.sagas.process import COORDINATOR
from tests.faults.sagas.recoveries import percentile, recovery_times, start_times
from tests.faults.sagas.services import INVENTORY, SERVICES

_MODULE = "tests.faults.sagas.process"
_COORDINATORS = 3
_KILL_EVERY, _STOP_EVERY, _NATS_EVERY, _REDIS_EVERY = 1.0, 8.0, 11.0, 7.0  # seconds
_STANDS_FOR = 1.5 * LEASE
_SETTLED_WITHIN = 120.0
_READY_WITHIN = 60.0
_AGAIN = 0.2
_STARTED_TWICE = 0.1


class _Faults(msgspec.Struct):
    """What breaks in one run.

    Args:
        coordinators: The processes that run sagas.
        services: Those that do the work.
        place: The storage of the journals.
        server: The NATS server.
        kills: Which process was killed, and when.
        stops: Which coordinator was stopped, and when.
    """

    coordinators: Sequence[Process]
    services: Sequence[Process]
    place: Place
    server: NatsServer
    kills: list[tuple[str, float]] = []
    stops: list[tuple[str, float]] = []


async def run(store: str, *, sagas: int, seed: int, seconds: float) -> Count:
    """Run so many sagas with their journals in one storage.

    Args:
        store: `sqlite` or `redis`.
        sagas: How many.
        seed: Decides the orders, and the order of the faults.
        seconds: How long new sagas are started.
    """
    count = Count(f"{sagas:,} sagas over {store}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="catga-sagas-") as folder, ExitStack() as stack:
        ledgers = {
            name: stack.enter_context(closing(Ledger(Path(folder) / f"{name}.db"))) for name in SERVICES
        }
        async with STORES[store]() as place, NatsServer() as server:
            await _run(place, server, Path(folder), ledgers, sagas, seed, seconds, count)
    count.seconds = time.monotonic() - began
    return count


async def _run(
    place: Place,
    server: NatsServer,
    folder: Path,
    ledgers: Mapping[str, Ledger],
    sagas: int,
    seed: int,
    seconds: float,
    count: Count,
) -> None:
    plan = [planned(seed, number) for number in range(sagas)]
    url = way_of(place) if place.can_break else f"{place.url}?busy_timeout=30"
    before = stock_of(sagas)
    ledgers[INVENTORY].count(before)
    coordinators = [
        Process(f"{COORDINATOR}-{number}", _MODULE, COORDINATOR, (server.url, url), folder)
        for number in range(_COORDINATORS)
    ]
    services = [Process(name, _MODULE, name, (server.url, str(folder)), folder) for name in SERVICES]
    faults = _Faults(coordinators, services, place, server)
    processes = [*coordinators, *services]
    looking = coordinator(url, Log(Recorder(folder / "look.jsonl", "look")))
    try:
        # The first one alone, so that the file is prepared by one process.
        for each in processes:
            await each.start()
        await eventually(lambda: all(b"ready" in each.said for each in processes), within=_READY_WITHIN)
        await _start_all(server.url, plan, faults, seed, seconds, count)
        async with looking.running(roles={"admin"}) as app:
            began = time.monotonic()
            await _settle(app, sagas, count)
            count.counts["milliseconds until the last one ended"] = int(1000 * (time.monotonic() - began))
            for each in processes:
                count.problems += await each.end()
            records = await _records(app)
            bookings = {each.order_id: await _bookings(app, each.order_id) for each in plan}
    finally:
        for each in processes:
            await each.abandon()
    effects = [effect for each in ledgers.values() for effect in each.effects()]
    seen = Seen(records, effects, ledgers[INVENTORY].stock(), bookings)
    count.problems += broken_promises(plan, before, seen)
    _add_up(plan, seen, ledgers, faults, count)


async def _start_all(
    server: str, plan: Sequence[PlaceOrder], faults: _Faults, seed: int, seconds: float, count: Count
) -> None:
    """Start every saga, spread over a time, while things break."""
    chance = random.Random(f"{seed} starts")
    breaking = asyncio.create_task(_break(faults, seed, seconds, count))
    async with over_nats(add_catga(CatgaOptions(service_name="shop")), server).running() as app:
        async with asyncio.TaskGroup() as group:
            for order in plan:
                times = 1 + (chance.random() < _STARTED_TWICE)
                for _ in range(times):
                    group.create_task(_start(app.mediator, order, chance.uniform(0, seconds)))
        await breaking


async def _start(mediator: CatgaMediator, order: PlaceOrder, after: float) -> None:
    await asyncio.sleep(after)
    while not (await mediator.send(order, timeout=2.0, message_id=order.order_id)).is_success:
        await asyncio.sleep(_AGAIN)


async def _break(faults: _Faults, seed: int, seconds: float, count: Count) -> None:
    """Break one thing after the other for a time; what is to last goes on beside it."""
    processes = [*faults.coordinators, *faults.services]
    # A generator for each kind, so that the order of one does not depend on how long another took.
    kills, stops = random.Random(f"{seed} kills"), random.Random(f"{seed} stops")

    async def kill() -> None:
        victim = kills.choice(processes)
        faults.kills.append((victim.name, time.monotonic()))
        count.faults[f"{victim.name.partition('-')[0]} is killed"] += 1
        await victim.kill_and_start()

    async def stop() -> None:
        victim = stops.choice(faults.coordinators)
        faults.stops.append((victim.name, time.monotonic()))
        count.faults["coordinator stands still past its lease"] += 1
        await victim.pause(_STANDS_FOR)

    async def kill_nats() -> None:
        count.faults["NATS server is killed"] += 1
        await faults.server.kill()
        await faults.server.restart()

    async def kill_redis() -> None:
        count.faults[REDIS_IS_KILLED] += 1
        await faults.place.break_and_mend()

    async with asyncio.TaskGroup() as group:
        group.create_task(_again_and_again(kill, _KILL_EVERY, seconds))
        group.create_task(_again_and_again(stop, _STOP_EVERY, seconds))
        group.create_task(_again_and_again(kill_nats, _NATS_EVERY, seconds))
        if faults.place.can_break:
            group.create_task(_again_and_again(kill_redis, _REDIS_EVERY, seconds))


async def _again_and_again(fault: Callable[[], Awaitable[None]], every: float, seconds: float) -> None:
    end = time.monotonic() + seconds
    # In a short run each comes once.
    pause = min(every, seconds / 2)
    while time.monotonic() + pause <= end:
        await asyncio.sleep(pause)
        await fault()


async def _settle(app: CatgaApp, sagas: int, count: Count) -> None:
    left = sagas

    async def are_settled() -> bool:
        nonlocal left
        try:
            settled = sum(each.state.is_final or each.problem is not None for each in await _records(app))
        except CatgaError:
            return False
        left = sagas - settled
        return not left

    try:
        await eventually(are_settled, within=_SETTLED_WITHIN, every=0.2)
    except NotInTimeError:
        count.problems.append(f"{left} sagas had not ended after {_SETTLED_WITHIN:g} s")


async def _records(app: CatgaApp) -> list[SagaRecord]:
    executor = app.get(SagaExecutor)
    found: list[SagaRecord] = []
    after: str | None = None
    while True:
        page = await executor.find(ALL_SAGAS, after=after, limit=500)
        found += page.records
        if (after := page.next) is None:
            return found


async def _bookings(app: CatgaApp, order_id: str) -> int:
    return len([each async for each in app.get(EventStore).read(bookings_of(order_id))])


def _add_up(
    plan: Sequence[PlaceOrder], seen: Seen, ledgers: Mapping[str, Ledger], faults: _Faults, count: Count
) -> None:
    history = {each.name: read_history([each.log]) for each in [*faults.coordinators, *faults.services]}
    runs = {name: [each for each in entries if each.kind == "run"] for name, entries in history.items()}
    waiting = {each.order_id for each in plan if each.fate == "waits"}
    recovered = recovery_times(runs, sorted([*faults.kills, *faults.stops]), waiting=waiting)
    for state in (SagaState.COMPLETED, SagaState.COMPENSATED):
        count.counts[state.value] = sum(each.state is state for each in seen.records)
    count.counts["effects"] = len(seen.effects)
    count.counts["requests that came again"] = sum(each.repeated() for each in ledgers.values())
    count.counts["runs of sagas"] = sum(map(len, runs.values()))
    count.counts["sagas recovered"] = len(recovered)
    for name, share in (("median", 0.5), ("99 %", 0.99), ("longest", 1.0)):
        count.counts[f"milliseconds until recovered, {name}"] = round(1000 * percentile(recovered, share))
    # A part of that: on a busy machine, most of it.
    ready = percentile(start_times(history, faults.kills), 0.5)
    count.counts["milliseconds until a process is ready again"] = round(1000 * ready)
