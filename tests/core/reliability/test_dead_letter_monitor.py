"""The alarm of dead letters: too many of them, or too many more."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import msgspec
import pytest

from catga_core import CatgaContainer, ConfigurationError
from catga_core.interfaces import Health, HealthStatus
from catga_core.interfaces.dead_letters import DeadLetterFilter, DeadLetterSource, DeadLetterStore
from catga_core.reliability import DeadLetterMonitor, DeadLetterOptions, add_dead_letters
from catga_testing import ManualClock
from catga_testing.contracts.stores.records import letter
from catga_testing.waiting import eventually
from tests.core.reliability.support import moved
from tests.stores import Place


def watched(place: Place, **options: Any) -> CatgaContainer:
    catga = place.container()
    add_dead_letters(catga, DeadLetterOptions(**options))
    return catga


async def more(app: Any, count: int, source: DeadLetterSource = DeadLetterSource.HANDLER) -> None:
    for _ in range(count):
        await app.dead_letters.add(letter(source=source))


def health_of(app: Any) -> Health:
    found: Health = app.health()["dead_letter_monitor"]
    return found


async def test_too_many_letters_degrade_health_until_they_are_gone(
    place: Place, log: list[MutableMapping[str, Any]]
) -> None:
    clock = ManualClock()
    async with moved(watched(place, alarm_count=3, alarm_growth=None), clock) as app:
        monitor = app.get(DeadLetterMonitor)
        await more(app, 2)
        await more(app, 1, DeadLetterSource.OUTBOX)
        for _ in range(2):
            assert await monitor.look() == {"handler": 2, "outbox": 1}

        health = health_of(app)
        assert health.status is HealthStatus.DEGRADED
        assert health.description == "there are 3 dead letters, and the alarm is at 3"
        assert health.details == {"count": 3, "sources": {"handler": 2, "outbox": 1}}

        await app.dead_letters.purge(DeadLetterFilter(source=DeadLetterSource.OUTBOX))
        for _ in range(2):
            await monitor.look()
        assert health_of(app).status is HealthStatus.HEALTHY

    lines = [
        (line["event"], line["log_level"], line["dead_letters"])
        for line in log
        if line["event"].startswith("catga.dead_letters")
    ]
    assert lines == [("catga.dead_letters_grow", "error", 3), ("catga.dead_letters_recovered", "info", 2)]


async def test_fast_growth_degrades_health_until_the_window_has_passed(
    memory: Place, log: list[MutableMapping[str, Any]]
) -> None:
    clock = ManualClock()
    options = {"alarm_count": None, "alarm_growth": 3, "alarm_window_seconds": 60.0}
    async with moved(watched(memory, **options), clock) as app:
        monitor = app.get(DeadLetterMonitor)
        await eventually(lambda: health_of(app).details.get("count") == 0)
        for count in (2, 2):
            await more(app, count)
            clock.advance(61)
            await monitor.look()
        assert health_of(app).status is HealthStatus.HEALTHY, "two within each window"
        await more(app, 3)
        await monitor.look()
        health = health_of(app)
        assert (health.status, health.description) == (
            HealthStatus.DEGRADED,
            "there are 3 more dead letters than up to 60 s ago",
        )
        clock.advance(61)
        await monitor.look()
        assert health_of(app).status is HealthStatus.HEALTHY
        assert health_of(app).details["count"] == 7

    assert [line["event"] for line in log if line["event"].startswith("catga.dead_letters")] == [
        "catga.dead_letters_grow",
        "catga.dead_letters_recovered",
    ]


async def test_a_store_that_cannot_be_read_is_unhealthy(memory: Place) -> None:
    class Away:
        def __getattr__(self, name: str) -> Any:
            raise OSError("the disk is gone")

    clock = ManualClock()
    catga = watched(memory)
    with catga.override(DeadLetterStore, Away()):
        async with moved(catga, clock) as app:
            await eventually(lambda: health_of(app).status is HealthStatus.UNHEALTHY)
            assert "OSError: the disk is gone" in health_of(app).description


@pytest.mark.parametrize("flag", ["enable_outbox", "enable_queues"])
async def test_features_that_write_letters_have_them_watched(memory: Place, flag: str) -> None:
    async with memory.container(**{flag: True}).running() as app:
        assert "dead_letter_monitor" in app.health()
    async with memory.container().running() as app:
        assert "dead_letter_monitor" not in app.health()


@pytest.mark.parametrize(
    "wrong",
    [{"alarm_count": 0}, {"alarm_growth": -1}, {"replay_lease_seconds": 0}, {"alarm_window_seconds": 0}],
)
def test_options_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        DeadLetterOptions(**wrong)


def test_options_can_be_read_from_the_environment() -> None:
    found = DeadLetterOptions.from_env(
        {"CATGA_DEAD_LETTER_ALARM_COUNT": "", "CATGA_DEAD_LETTER_ALARM_GROWTH": "7"}
    )
    assert found == msgspec.structs.replace(DeadLetterOptions(), alarm_count=None, alarm_growth=7)
