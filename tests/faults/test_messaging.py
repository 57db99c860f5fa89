"""A few hundred messages while processes and servers are killed; `nox -s faults -- messaging` publishes 10,000 for each place."""

from __future__ import annotations

import pytest

from tests.faults.kills.places import PLACES as STORES
from tests.faults.messaging import campaign, schedules
from tests.faults.messaging.checks import Effect, Found, check_order

# Far longer than it takes: what is not settled in time is to be told, and not cut off.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

_SEED = 20261130


# The others differ in how schedules and flushes are done: `nox -s faults` has them.
@pytest.mark.parametrize("store", sorted({*STORES, "jetstream", "jetstream-cluster"}))
async def test_whatever_is_killed_each_message_is_handled_or_a_dead_letter(store: str) -> None:
    count = await campaign.run(store, messages=320, seed=_SEED, seconds=4)

    assert count.problems == []
    assert count.counts["published"] + count.counts["not acknowledged"] == 320
    assert count.counts["handled"] > 0
    assert count.counts["dead letters"] > 0
    assert count.counts["effects exactly once"] > 0
    assert count.counts["keys in order"] > 0
    assert sum(count.faults.values()) > 3


@pytest.mark.parametrize(
    ("store", "ticks"),
    [*((store, store) for store in sorted(STORES)), ("jetstream", "sqlite")],
)
async def test_whatever_is_killed_each_tick_is_run_once(store: str, ticks: str) -> None:
    count = await schedules.run(store, seconds=5, seed=_SEED, ticks=ticks)

    assert count.problems == []
    assert count.counts["ticks"] > 20
    assert sum(count.faults.values()) > 3


def effect(number: int, began: float, ended: float, *, stale: bool = False, id: str = "m") -> Effect:
    return Effect("q", id, "k", number, began, ended, stale)


@pytest.mark.parametrize(
    ("effects", "broken"),
    [
        ([effect(1, 0, 1), effect(2, 1, 2)], 0),
        ([effect(1, 0, 1), effect(1, 2, 3), effect(3, 4, 5)], 0),
        ([effect(1, 0, 1), effect(2, 1, 2), effect(1, 2, 3)], 1),
        ([effect(1, 0, 2), effect(2, 1, 3)], 1),
        ([effect(1, 0, 1), effect(2, 1, 2), effect(1, 0, 3, stale=True)], 0),
        ([effect(1, 0, 1), effect(2, 1, 2), effect(1, 2, 3, id="unknown")], 0),
    ],
    ids=[
        "in order",
        "repeated",
        "an earlier one again",
        "at the same time",
        "stood still",
        "not acknowledged",
    ],
)
def test_a_look_finds_what_is_out_of_order(effects: list[Effect], broken: int) -> None:
    found = Found()

    check_order(effects, {"m"}, found)

    assert len(found.problems) == broken
