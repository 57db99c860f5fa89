"""Schedules over each storage: one run for each tick, whatever runs, stops or stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from catga_core import (
    CatgaApp,
    CatgaError,
    CatgaMediator,
    CatgaOptions,
    Clock,
    Command,
    ConfigurationError,
    ErrorCode,
    add_catga,
)
from catga_core.container import add_stores
from catga_core.features.scheduling.definition import ScheduleDefinition
from catga_core.features.scheduling.enqueueing import TickEnqueuer
from catga_core.features.scheduling.run import ScheduleRun
from catga_core.features.scheduling.worker import ScheduleWorker
from catga_core.interfaces.health import HealthStatus
from catga_core.interfaces.named_values import NamedValueConflictError
from catga_core.interfaces.queue import QueueStats
from catga_core.log import TICK_SKIPPED
from catga_core.memory.stores import MEMORY_PORTS, MemoryStorage, memory_stores
from catga_core.memory.stores.named_values import MemoryNamedValueStore
from catga_core.reliability import QueueOptions, add_queues
from catga_core.scheduling import OnMissed, OnOverlap, add_schedule
from catga_testing import ManualClock
from catga_testing.waiting import eventually

BEGIN = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)


class Report(Command[None]):
    at: str


Start = Callable[..., Any]


class Places:
    """Replicas over one storage and one clock, and what their handlers have had."""

    def __init__(self) -> None:
        self.clock = ManualClock(BEGIN)
        self.storage = MemoryStorage()
        self.had: list[str] = []
        self.running = AsyncExitStack()
        self.fails = 0

    async def stop(self) -> None:
        await self.running.aclose()

    async def start(
        self, *, queues: QueueOptions | None = None, also: Sequence[str] = (), **schedule: Any
    ) -> CatgaApp:
        catga = add_catga(CatgaOptions(service_name="reports"))
        catga.add_singleton(Clock, self.clock)
        add_stores(catga, lambda clock: memory_stores(clock, self.storage), MEMORY_PORTS, name="memory")
        add_queues(catga, queues or QueueOptions(poll_seconds=0.05))

        async def report(command: Report) -> None:
            if self.fails:
                self.fails -= 1
                raise RuntimeError("no paper")
            self.had.append(command.at)

        catga.add_handlers(report)
        given = {"every": 60.0, **schedule} if "cron" not in schedule else schedule
        command = given.pop("command", lambda tick: Report(tick.strftime("%H:%M")))
        for name in ("report", *also):
            add_schedule(catga, name, command, **given)
        return await self.running.enter_async_context(catga.running())

    async def until(self, *times: str) -> None:
        await eventually(lambda: sorted(self.had) == sorted(times))


@pytest_asyncio.fixture
async def places() -> AsyncIterator[Places]:
    made = Places()
    async with made.running:
        yield made


async def test_replicas_run_each_tick_once(places: Places) -> None:
    for _ in range(3):
        await places.start()

    for minute in range(1, 6):
        await places.clock.run_for(60)
        await eventually(lambda minute=minute: len(places.had) == minute)  # type: ignore[misc]

    assert places.had == ["12:01", "12:02", "12:03", "12:04", "12:05"]


async def test_a_tick_that_comes_during_a_turn_is_enqueued_after_it(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, slow = ScheduleRun._turn, False

    async def run(self: ScheduleRun) -> bool:
        nonlocal slow
        more = await real(self)
        if not slow:
            slow = True
            places.clock.advance(31)
        return more

    monkeypatch.setattr(ScheduleRun, "_turn", run)
    await places.start()

    await places.until("12:01")


async def test_first_start_runs_no_past_tick(places: Places) -> None:
    app = await places.start()

    assert places.had == []
    [state] = await app.schedules.list()
    assert state.name == "report"
    assert state.next_at == BEGIN.timestamp() + 30
    assert state.last_at is not None


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        (OnMissed.ONCE, ["12:05"]),
        (OnMissed.ALL, ["12:01", "12:02", "12:03", "12:04", "12:05"]),
        (OnMissed.NONE, []),
    ],
)
async def test_missed_ticks_follow_the_policy(places: Places, missed: OnMissed, expected: list[str]) -> None:
    await places.start()
    await places.stop()
    places.clock.advance(5 * 60)

    app = await places.start(missed=missed, grace_seconds=10)

    await places.until(*expected)
    assert (await app.schedules.list())[0].next_at == BEGIN.timestamp() + 330


async def test_clock_that_is_set_back_runs_no_tick_again(places: Places) -> None:
    await places.start()
    await places.clock.run_for(60)
    await places.until("12:01")
    await places.clock.run_for(60)
    await places.until("12:01", "12:02")

    await places.stop()
    places.clock = ManualClock(BEGIN + timedelta(seconds=15))
    await places.start()
    for _ in range(3):
        await places.clock.run_for(60)

    await places.until("12:01", "12:02", "12:03")


async def test_overlapping_tick_is_skipped(places: Places, log: list[MutableMapping[str, Any]]) -> None:
    places.fails = 1
    await places.start(
        overlap=OnOverlap.SKIP, queues=QueueOptions(poll_seconds=0.05, retry_delay_seconds=250)
    )
    await places.clock.run_for(60)
    await eventually(lambda: places.fails == 0)

    await places.clock.run_for(60)

    await eventually(lambda: sum(line["event"] == TICK_SKIPPED for line in log) == 1)
    await places.clock.run_for(60)
    await eventually(lambda: sum(line["event"] == TICK_SKIPPED for line in log) == 2)
    assert places.had == []


async def test_schedules_of_one_key_share_their_ticks(places: Places) -> None:
    await places.start(also=("again", "once more"), key="all reports")
    await places.start(also=("again", "once more"), key="all reports")

    for times in (["12:01"], ["12:01", "12:02"], ["12:01", "12:02", "12:03"]):
        await places.clock.run_for(60)
        await places.until(*times)


async def test_overlap_looks_at_the_ticks_of_the_key(
    places: Places, log: list[MutableMapping[str, Any]]
) -> None:
    places.fails = 1
    patient = QueueOptions(poll_seconds=0.05, retry_delay_seconds=250)
    await places.start(also=("again",), key="all reports", overlap=OnOverlap.SKIP, queues=patient)
    await places.clock.run_for(60)
    await eventually(lambda: places.fails == 0)

    await places.clock.run_for(60)

    await eventually(lambda: sum(line["event"] == TICK_SKIPPED for line in log) == 2)
    assert places.had == []


async def test_debounced_runs_are_one(places: Places) -> None:
    app = await places.start(debounce=20)
    ids = set()
    for _ in range(3):
        ids.add(await app.schedules.run_now("report"))
        await places.clock.run_for(5)
    assert (len(ids), places.had) == (3, [])

    await places.clock.run_for(20)

    await places.until("12:00")
    # At 12:01, and 20 seconds later.
    await places.clock.run_for(30)
    await places.until("12:00", "12:01")


@pytest.mark.parametrize("key", ["all reports", "report"])
async def test_debounced_runs_of_two_schedules_of_one_key_are_one(places: Places, key: str) -> None:
    app = await places.start(also=("again",), key=key, debounce=20)
    await app.schedules.run_now("report")
    await places.clock.run_for(5)

    await app.schedules.run_now("again")

    assert await waiting(app, 1)


async def test_a_debounced_run_replaces_a_tick_that_waits(places: Places) -> None:
    app = await places.start(debounce=timedelta(seconds=20))
    await places.clock.run_for(31)
    await eventually(lambda: waiting(app, 1))

    await app.schedules.run_now("report")

    await places.clock.run_for(19)
    assert await waiting(app, 1)
    assert places.had == []
    await places.clock.run_for(2)
    await places.until("12:01")
    assert await waiting(app, 0)


async def over_a_broker(places: Places, **schedule: Any) -> CatgaApp:
    """Start a replica whose queues take no part in the storage's transactions."""
    app = await places.start(**schedule)
    app.get(TickEnqueuer)._joins = lambda: False
    return app


@pytest.mark.parametrize("broker", [True, False], ids=["over a broker", "in the storage"])
@pytest.mark.parametrize("how", ["refused", "cancelled"])
async def test_a_debounced_run_that_fails_leaves_the_waiting_tick(
    places: Places, monkeypatch: pytest.MonkeyPatch, how: str, broker: bool
) -> None:
    app = await (over_a_broker(places, debounce=20) if broker else places.start(debounce=20))
    await places.clock.run_for(31)
    await eventually(lambda: waiting(app, 1))

    async def fail(*_: Any, **__: Any) -> Any:
        if how == "refused":
            raise CatgaError("no answer", code=ErrorCode.PERSISTENCE_FAILED)
        raise asyncio.CancelledError

    with monkeypatch.context() as broken:
        broken.setattr(CatgaMediator, "enqueue", fail)
        with pytest.raises((CatgaError, asyncio.CancelledError)):
            await app.schedules.run_now("report")

    assert await waiting(app, 1)
    await places.clock.run_for(21)
    await places.until("12:01")


async def test_a_failing_command_function_leaves_the_waiting_tick(places: Places) -> None:
    broken = False

    def made(tick: datetime) -> Report:
        if broken and tick.second:
            raise RuntimeError("not ready")
        return Report(tick.strftime("%H:%M"))

    app = await over_a_broker(places, debounce=20, command=made)
    await places.clock.run_for(31)
    await eventually(lambda: waiting(app, 1))
    broken = True

    with pytest.raises(RuntimeError, match="not ready"):
        await app.schedules.run_now("report")

    assert await waiting(app, 1)


async def test_a_debounced_tick_that_is_repeated_after_a_crash_runs_once(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await over_a_broker(places, debounce=40)
    await app.schedules.run_now("report")
    real, crashed = MemoryNamedValueStore.compare_and_set, False

    async def crash(self: MemoryNamedValueStore, name: str, value: int, *, expected: int | None) -> None:
        nonlocal crashed
        if name.endswith(":enqueued") and not crashed:
            crashed = True
            raise RuntimeError("killed")
        await real(self, name, value, expected=expected)

    monkeypatch.setattr(MemoryNamedValueStore, "compare_and_set", crash)
    await places.clock.run_for(31)
    await eventually(lambda: crashed)
    await places.clock.run_for(5)

    await eventually(lambda: waiting(app, 1))
    await places.clock.run_for(40)
    await places.until("12:01")


async def test_a_tick_that_was_noted_and_not_enqueued_is_not_skipped(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    await over_a_broker(places, overlap=OnOverlap.SKIP)
    real, crashed = CatgaMediator.enqueue, False

    async def crash(self: CatgaMediator, command: Any, **options: Any) -> Any:
        nonlocal crashed
        if not crashed:
            crashed = True
            raise RuntimeError("killed")
        return await real(self, command, **options)

    monkeypatch.setattr(CatgaMediator, "enqueue", crash)
    await places.clock.run_for(31)
    await eventually(lambda: crashed)
    # The wait for the retry may begin after the first of them.
    await places.clock.run_for(10)
    await places.clock.run_for(10)

    await places.until("12:01")


async def test_debounced_runs_of_two_replicas_at_once_are_one(places: Places) -> None:
    first = await over_a_broker(places, debounce=20)
    places.clock = ManualClock(BEGIN + timedelta(seconds=1))
    second = await over_a_broker(places, debounce=20)

    ids = await asyncio.gather(*(each.schedules.run_now("report") for each in (first, second)))

    assert len(set(ids)) == 2
    assert await waiting(first, 1)


async def test_a_tick_of_the_key_that_comes_in_between_is_seen(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"also": ("again",), "key": "all reports", "overlap": OnOverlap.SKIP}
    app = await over_a_broker(places, queues=QueueOptions(poll_seconds=600), **given)
    enqueuer = app.get(TickEnqueuer)
    one, other = app.get(ScheduleWorker)._definitions()
    real, overtaken = TickEnqueuer._last, False

    async def last(self: TickEnqueuer, definition: ScheduleDefinition) -> Any:
        nonlocal overtaken
        found = await real(self, definition)
        if not overtaken:
            overtaken = True
            await enqueuer.enqueue(other, 61_000)
        return found

    monkeypatch.setattr(TickEnqueuer, "_last", last)
    with pytest.raises(NamedValueConflictError):
        await enqueuer.enqueue(one, 60_000)


async def waiting(app: CatgaApp, count: int) -> bool:
    stats: Iterable[QueueStats] = (await app.message_queues.stats()).values()
    return sum(each.ready + each.scheduled for each in stats) == count


async def test_schedule_is_run_now(places: Places) -> None:
    app = await places.start()

    await app.schedules.run_now("report")

    await places.until("12:00")


async def test_backfill_enqueues_each_tick_once(places: Places) -> None:
    app = await places.start()
    start, end = datetime(2026, 1, 1, 9, 0, tzinfo=UTC), datetime(2026, 1, 1, 9, 3, tzinfo=UTC)

    first = await app.schedules.backfill("report", start=start, end=end)
    again = await app.schedules.backfill("report", start=start, end=end)

    await places.until("09:00", "09:01", "09:02")
    assert first == again
    assert places.had == ["09:00", "09:01", "09:02"]


async def test_unknown_schedule_is_not_found(places: Places) -> None:
    app = await places.start()

    with pytest.raises(CatgaError) as error:
        await app.schedules.run_now("nightly")

    assert error.value.code == "NOT_FOUND"


async def test_failing_command_function_degrades_and_is_repeated(places: Places) -> None:
    broken = True

    def made(tick: datetime) -> Report:
        if broken:
            raise RuntimeError("not ready")
        return Report(tick.strftime("%H:%M"))

    catga = add_catga(CatgaOptions(service_name="reports"))
    catga.add_singleton(Clock, places.clock)
    add_queues(catga)

    async def report(command: Report) -> None:
        places.had.append(command.at)

    catga.add_handlers(report)
    add_schedule(catga, "report", made, every=60)
    async with catga.running():
        await places.clock.run_for(30)
        await eventually(lambda: catga.health()["schedule_worker"].status == "unhealthy")
        broken = False
        # The wait for the retry may begin after the first of them.
        await places.clock.run_for(10)
        await places.clock.run_for(10)
        await places.until("12:01")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (Report, {"every": 60}),
        ("report", {"every": 60}),
        (Report("x"), {}),
        (Report("x"), {"every": 60, "cron": "* * * * *"}),
        (Report("x"), {"every": 60, "missed": "never"}),
        (Report("x"), {"every": 60, "overlap": "never"}),
        (Report("x"), {"every": 60, "grace_seconds": -1}),
        (Report("x"), {"cron": "* * *"}),
        (Report("x"), {"every": 60, "key": ""}),
        (Report("x"), {"every": 60, "debounce": 0}),
        (Report("x"), {"every": 60, "debounce": 60}),
        (Report("x"), {"cron": "* * * * *", "debounce": timedelta(minutes=1)}),
    ],
)
def test_impossible_schedules_are_refused(command: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="report"):
        add_schedule(add_catga(), "report", command, **options)


async def test_a_tick_that_another_replica_has_enqueued_over_a_broker_is_no_failure(places: Places) -> None:
    made = iter(range(100))
    [app, other] = [await over_a_broker(places, command=lambda _: Report(f"{next(made)}")) for _ in range(2)]
    last = (await app.schedules.list())[0].last_at
    await other.mediator.enqueue(
        Report("first"), message_id="schedule:report:2026-01-01T12:01:00+00:00", delay=60
    )

    await places.clock.run_for(31)

    await eventually(lambda: moved(app, last))
    assert app.get(ScheduleWorker).health().status is HealthStatus.HEALTHY
    await places.clock.run_for(30)
    await places.until("first")


async def moved(app: CatgaApp, last: float | None) -> bool:
    return bool((await app.schedules.list())[0].last_at != last)
