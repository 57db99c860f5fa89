"""A few kills in each run of the tests; `nox -s faults -- letters` does more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.letters.application import HANDLER, PARKED, QUEUE
from tests.faults.letters.campaign import Campaign
from tests.faults.messaging.places import PLACES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.mark.parametrize(
    ("store", "source"),
    [("sqlite", HANDLER), ("sqlite", QUEUE), ("redis", PARKED), ("jetstream", PARKED)],
)
async def test_poison_messages_that_are_fixed_are_replayed_in_order_once_whoever_is_killed(
    tmp_path: Path, store: str, source: str
) -> None:
    async with PLACES[store](1) as place:
        campaign = Campaign(place, tmp_path / "log", source=source, messages=1_000, keys=20, seed=20261130)
        count = await campaign.run(3)

    assert count.problems == []
    assert (count.letters, count.handled) == (20 if source == PARKED else 1_000, 1_000)
    assert count.kills == 3
    assert count.attempts >= 1_000
