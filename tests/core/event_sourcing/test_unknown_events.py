"""Events of unknown names are passed over visibly: in the log, in counts and in health."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest

from catga_core import CatgaApp, CatgaContainer, ConfigurationError, Event, HealthStatus, add_catga, message
from catga_core.event_sourcing import add_events
from catga_core.event_sourcing.projections import (
    Projection,
    ProjectionMode,
    Projections,
    add_projection,
    project,
)
from catga_core.event_sourcing.subscriptions import Subscriptions, add_subscription
from catga_core.interfaces import ANY, EventRecord, StreamAppend


class Tallied(Event):
    number: int


class Tally(Projection, name="tally"):
    def __init__(self) -> None:
        self.total = 0

    @project
    async def tallied(self, event: Tallied) -> None:
        self.total += event.number


def tallying(**options: Any) -> CatgaContainer:
    catga = add_catga()
    add_projection(catga, Tally, mode=ProjectionMode.IN_MEMORY, poll_seconds=0.02, **options)
    return catga


async def append_foreign(app: CatgaApp, *names: str, stream: str = "foreign") -> None:
    records = [
        EventRecord(f"{stream}-{number}", name, 3, "msgpack", b"\x80", 0) for number, name in enumerate(names)
    ]
    await app.event_store.log.append([StreamAppend(stream, ANY, records)])


async def read_past(app: CatgaApp, *names: str) -> None:
    await append_foreign(app, *names)
    await app.event_store.append("tally", Tallied(1))
    await app.get(Projections).caught_up("tally")


def unknown_lines(log: list[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    return [line for line in log if line["event"] == "catga.event_unknown"]


async def test_unknown_event_degrades_the_health_of_its_projection() -> None:
    async with tallying().running() as app:
        await read_past(app, "unknown.One", "unknown.Two", "unknown.One")
        health = app.get(Projections).health("tally")
        assert app.get(Tally).total == 1
    assert health.status is HealthStatus.DEGRADED
    assert health.details["unknown"] == {"unknown.One v3": 2, "unknown.Two v3": 1}
    assert "unknown.One v3, unknown.Two v3" in health.description


async def test_unknown_event_is_logged_once_per_name_and_version(log: list[MutableMapping[str, Any]]) -> None:
    async with tallying().running() as app:
        await read_past(app, "unknown.One", "unknown.Two", "unknown.One")
    assert unknown_lines(log) == [
        {
            "event": "catga.event_unknown",
            "log_level": "warning",
            "projection": "tally",
            "name": name,
            "schema_version": 3,
            "stream_id": "foreign",
            "position": position,
        }
        for position, name in enumerate(("unknown.One", "unknown.Two"), 1)
    ]


async def test_health_recovers_when_the_class_is_imported() -> None:
    async with tallying().running() as app:
        await read_past(app, "unknown.Imported")
        assert app.get(Projections).health("tally").status is HealthStatus.DEGRADED

        @message(name="unknown.Imported", version=3)
        class Imported(Event):
            pass

        health = app.get(Projections).health("tally")
    assert health.status is HealthStatus.HEALTHY, health
    assert "unknown" not in health.details
    assert issubclass(Imported, Event)


@pytest.mark.parametrize("ignored", [True, ["unknown.One"], frozenset({"unknown.One"})])
async def test_ignored_name_is_passed_over_silently(
    ignored: Any, log: list[MutableMapping[str, Any]]
) -> None:
    async with tallying(ignore_unknown=ignored).running() as app:
        await read_past(app, "unknown.One")
        health = app.get(Projections).health("tally")
    assert health.status is HealthStatus.HEALTHY
    assert unknown_lines(log) == []


async def test_names_that_are_not_ignored_still_degrade_health() -> None:
    async with tallying(ignore_unknown=["unknown.One"]).running() as app:
        await read_past(app, "unknown.One", "unknown.Two")
        assert app.get(Projections).health("tally").details["unknown"] == {"unknown.Two v3": 1}


async def test_closed_set_makes_other_events_foreign(log: list[MutableMapping[str, Any]]) -> None:
    catga = tallying()
    add_events(catga, closed=True)
    async with catga.running() as app:
        await read_past(app, "unknown.One")
        assert app.get(Projections).health("tally").status is HealthStatus.HEALTHY
        assert app.get(Tally).total == 1
    assert unknown_lines(log) == []


async def test_streams_that_are_not_followed_do_not_degrade_health() -> None:
    async with tallying(stream="tally*").running() as app:
        await read_past(app, "unknown.One")
        assert app.get(Projections).health("tally").status is HealthStatus.HEALTHY


async def test_unknown_event_degrades_the_health_of_its_subscription(
    log: list[MutableMapping[str, Any]],
) -> None:
    async def listen(event: Tallied) -> None:
        pass

    catga = add_catga()
    add_subscription(catga, "listener", listen, partitions=3, poll_seconds=0.02)
    async with catga.running() as app:
        await append_foreign(app, "unknown.One", stream="a")
        await append_foreign(app, "unknown.One", stream="b")
        await app.get(Subscriptions).caught_up("listener")
        health = app.get(Subscriptions).health("listener")
    assert health.status is HealthStatus.DEGRADED
    assert health.details["unknown"] == {"unknown.One v3": 2}
    assert [line["subscription"] for line in unknown_lines(log)] == ["listener"]


@pytest.mark.parametrize("given", ["unknown.One", 1, None])
def test_ignore_unknown_must_be_a_bool_or_names(given: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"ignore_unknown=.*expected a bool or a collection of wire names"
    ):
        tallying(ignore_unknown=given)
