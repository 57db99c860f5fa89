"""What is refused or reported when a container with schedules starts."""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from catga_core import CatgaContainer, CatgaOptions, Clock, Command, ConfigurationError, add_catga
from catga_core.log import SCHEDULE_UNHANDLED
from catga_core.reliability import QueueOptions, add_queues
from catga_core.scheduling import OnMissed, OnOverlap, add_schedule
from catga_nats import NatsOptions, add_nats_catga
from catga_testing import ManualClock
from catga_testing.waiting import eventually

BEGIN = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)


class Tidy(Command[None]):
    at: str = ""


def composed(store: str | None, *, broker: bool = True, **schedule: Any) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name="tidy", store=store))
    if broker:
        add_nats_catga(catga, NatsOptions(enable_jetstream=True))
    add_schedule(catga, "tidy", Tidy(), every=60, **schedule)
    return catga


SHARED = [{"overlap": OnOverlap.SKIP}, {"debounce": 20}]
ALONE = [{}, {"overlap": OnOverlap.WAIT}, {"missed": OnMissed.ALL}]


@pytest.mark.parametrize("schedule", SHARED)
def test_ticks_that_replicas_of_a_broker_cannot_share_are_refused(schedule: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"'tidy' has .* store='memory://' for a single process"):
        composed(None, **schedule).validate()


@pytest.mark.parametrize("schedule", ALONE)
def test_schedule_that_shares_no_tick_needs_no_store_over_a_broker(schedule: dict[str, Any]) -> None:
    composed(None, **schedule).validate()


@pytest.mark.parametrize("schedule", SHARED)
@pytest.mark.parametrize("store", ["memory://", "sqlite:///{folder}/app.db"])
def test_chosen_store_is_accepted_over_a_broker(
    schedule: dict[str, Any], store: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    composed(store.format(folder=tmp_path_factory.mktemp("store")), **schedule).validate()


@pytest.mark.parametrize("schedule", SHARED)
def test_memory_is_accepted_without_a_broker(schedule: dict[str, Any]) -> None:
    composed(None, broker=False, **schedule).validate()


@pytest.mark.parametrize("function", [False, True])
async def test_command_without_a_handler_is_reported(
    log: list[MutableMapping[str, Any]], function: bool
) -> None:
    clock = ManualClock(BEGIN)
    catga = add_catga(CatgaOptions(service_name="tidy"))
    catga.add_singleton(Clock, clock)
    add_queues(catga, QueueOptions(poll_seconds=600))
    add_schedule(catga, "tidy", (lambda tick: Tidy(tick.isoformat())) if function else Tidy(), every=60)

    async with catga.running() as app:
        if function:
            for _ in range(2):
                await clock.run_for(60)
                await clock.sleeping(2)
        await eventually(lambda: app.health()["schedule_worker"].details["without_handler"])
        health = app.health()["schedule_worker"]

    assert (health.status, dict(health.details["without_handler"])) == ("healthy", {"tidy": "Tidy"})
    lines = [line for line in log if line["event"] == SCHEDULE_UNHANDLED]
    assert [(line["schedule"], line["command"]) for line in lines] == [("tidy", "Tidy")]


async def test_command_with_a_handler_is_not_reported(log: list[MutableMapping[str, Any]]) -> None:
    catga = add_catga(CatgaOptions(service_name="tidy"))
    add_queues(catga)
    add_schedule(catga, "tidy", Tidy(), every=60)

    async def tidy(command: Tidy) -> None: ...

    catga.add_handlers(tidy)
    async with catga.running() as app:
        assert not app.health()["schedule_worker"].details["without_handler"]
    assert not [line for line in log if line["event"] == SCHEDULE_UNHANDLED]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"missed": "foo"}, ["missed", "'once'", "'all'", "'none'", "'foo'"]),
        ({"overlap": "foo"}, ["overlap", "'allow'", "'wait'", "'skip'", "'foo'"]),
        ({"key": " "}, ["key", "' '"]),
        ({"debounce": 1e-9}, ["debounce", "0.001", "1e-09"]),
        ({"debounce": timedelta(seconds=0.0009)}, ["debounce", "0.001", "0.0009"]),
        ({"debounce": 61}, ["debounce", "shortest interval", "60 s", "61"]),
        ({"timezone": "Europe/Berlin"}, ["timezone", "every=", "'Europe/Berlin'", "cron="]),
        ({"timezone": UTC}, ["timezone", "every="]),
    ],
)
def test_refused_argument_is_named_with_what_is_possible(options: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(ConfigurationError) as error:
        add_schedule(add_catga(), "tidy", Tidy(), every=60, **options)

    assert [name for name in ["'tidy'", *names] if name not in str(error.value)] == []


def test_name_without_a_visible_character_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="name"):
        add_schedule(add_catga(), "\t ", Tidy(), every=60)


def test_debounce_below_the_shortest_of_uneven_intervals_is_accepted() -> None:
    # Ticks at :00, :10 and :50: intervals of 10 and 40 minutes.
    add_schedule(add_catga(), "tidy", Tidy(), cron="0,10,50 * * * *", debounce=599)

    with pytest.raises(ConfigurationError, match="600 s"):
        add_schedule(add_catga(), "tidy", Tidy(), cron="0,10,50 * * * *", debounce=600)
