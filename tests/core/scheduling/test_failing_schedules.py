"""A schedule that fails is retried alone: the others keep their times, and health names it."""

from __future__ import annotations

import functools
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

from catga_core import CatgaContainer, CatgaOptions, Clock, Command, add_catga
from catga_core.log import SCHEDULE_FAILED
from catga_core.reliability import QueueOptions, add_queues
from catga_core.scheduling import OnMissed, add_schedule
from catga_testing import ManualClock
from catga_testing.waiting import eventually

BEGIN = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)


class NamedReport(Command[None]):
    name: str
    at: str


class Reports:
    """A container with schedules of which some fail, and what its handler got."""

    def __init__(self) -> None:
        self.clock = ManualClock(BEGIN)
        self.had: list[tuple[str, str]] = []
        self.broken: set[str] = set()
        self.catga: CatgaContainer = add_catga(CatgaOptions(service_name="reports"))
        self.catga.add_singleton(Clock, self.clock)
        add_queues(self.catga, QueueOptions(poll_seconds=0.05))

        async def report(command: NamedReport) -> None:
            self.had.append((command.name, command.at))

        self.catga.add_handlers(report)

    def command(self, name: str) -> Callable[[datetime], NamedReport]:
        def made(tick: datetime) -> NamedReport:
            if name in self.broken:
                raise RuntimeError(f"{name} is not ready")
            return NamedReport(name, tick.strftime("%H:%M:%S"))

        return made


async def test_failing_schedule_delays_no_other() -> None:
    reports = Reports()
    reports.broken.add("bad")
    for name in ("bad", "good"):
        add_schedule(
            reports.catga, name, reports.command(name), every=1, missed=OnMissed.NONE, grace_seconds=0
        )

    async with reports.catga.running():
        await each_second_is_run(reports, "good")

        assert len(reports.had) == 29


async def test_health_names_each_failing_schedule() -> None:
    reports = Reports()
    reports.broken.update({"bad", "worse"})
    for name in ("good", "bad", "worse"):
        add_schedule(reports.catga, name, reports.command(name), every=10)

    async with reports.catga.running():
        await reports.clock.run_for(10)
        await eventually(lambda: len(failing(reports)) == 2)
        health = reports.catga.health()["schedule_worker"]
        assert health.status == "unhealthy"
        assert "bad, worse" in health.description
        assert dict(health.details["failing"]) == {
            "bad": "RuntimeError: bad is not ready",
            "worse": "RuntimeError: worse is not ready",
        }

        reports.broken.clear()
        await eventually_at(reports, lambda: not failing(reports))
        assert reports.catga.health()["schedule_worker"].status == "healthy"
        assert {name for name, _ in reports.had} == {"good", "bad", "worse"}


async def test_failing_schedule_is_logged_by_its_name(log: list[MutableMapping[str, Any]]) -> None:
    reports = Reports()
    reports.broken.update({"bad", "worse"})
    for name in ("bad", "worse"):
        add_schedule(reports.catga, name, reports.command(name), every=10)

    async with reports.catga.running():
        await reports.clock.run_for(10)
        await eventually(lambda: len(failing(reports)) == 2)

    lines = [line for line in log if line["event"] == SCHEDULE_FAILED]
    assert {(line["schedule"], line["error"], line["failures"]) for line in lines} == {
        ("bad", "RuntimeError: bad is not ready", 1),
        ("worse", "RuntimeError: worse is not ready", 1),
    }


async def test_failing_schedule_backs_off_by_itself(log: list[MutableMapping[str, Any]]) -> None:
    reports = Reports()
    reports.broken.add("bad")
    for name in ("bad", "good"):
        add_schedule(reports.catga, name, reports.command(name), every=1)

    async with reports.catga.running():
        await each_second_is_run(reports, "good")

    delays = [line["retry_in_seconds"] for line in log if line["event"] == SCHEDULE_FAILED]
    # 0.5 to 1 s, 1 to 2 s, and so on, whatever the other schedule does meanwhile.
    assert 4 <= len(delays) <= 7
    assert all(
        full / 2 - 0.001 <= delay <= full
        for delay, full in zip(delays, (1, 2, 4, 8, 16, 30, 30), strict=False)
    )


async def each_second_is_run(reports: Reports, name: str) -> None:
    """Move the clock to 12:00:59, and wait at each second for the tick of a schedule."""
    for second in range(31, 60):
        await reports.clock.run_for(1)
        await eventually(functools.partial(reports.had.__contains__, (name, f"12:00:{second}")))


def failing(reports: Reports) -> dict[str, str]:
    """Return what health says of the schedules that fail."""
    return dict(reports.catga.health()["schedule_worker"].details["failing"])


async def eventually_at(reports: Reports, condition: Callable[[], bool]) -> None:
    """Wait for a condition while the clock moves."""

    async def moved() -> bool:
        await reports.clock.run_for(1)
        return condition()

    await eventually(moved)
