"""A few kills in each run of the tests; `nox -s faults` does it 200 times for each store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.kills.application import compose
from tests.faults.kills.campaign import Campaign
from tests.faults.kills.checks import look
from tests.faults.kills.domain import Added, Paid, Receipted
from tests.faults.kills.places import PLACES

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("store", sorted(PLACES))
async def test_whatever_moment_an_application_is_killed_at_every_promise_is_kept(store: str) -> None:
    count = await Campaign(store, PLACES[store], seed=20261124).run(4)

    assert count.problems == []
    assert count.kills == 4
    assert count.events_acknowledged
    assert count.events_relayed >= count.commands_acknowledged > 0
    assert count.events_projected == count.events_relayed


@pytest.mark.parametrize(
    ("events", "said", "found"),
    [
        ([Paid(1, 5), Paid(1, 5)], [], "payment 1 was made 2 times"),
        ([Paid(1, 5), Receipted(1), Receipted(1)], [], "receipt 1 went out 2 times"),
        ([Receipted(1)], [], "receipt 1 went out without a payment"),
        ([], ["paid 1 1"], "payment 1 was acknowledged and is not there"),
        ([Added("b", 0, 2)], [], "of batch b there are 1 of 2 events"),
        ([Added("b", 0, 1)], ["added s 2 b 1"], "batch b was acknowledged at s 2 and is not there"),
        (
            [],
            ["broken: payment 1 was answered 1, and then 2"],
            "broken: payment 1 was answered 1, and then 2",
        ),
    ],
)
async def test_a_look_finds_what_is_broken(
    tmp_path: Path, events: list[Paid | Receipted | Added], said: list[str], found: str
) -> None:
    url = f"sqlite:///{tmp_path / 'app.db'}"
    async with compose(url, working=False).running() as app:
        for event in events:
            await app.event_store.append("s", event)

    looked = await look(url, said, settle=False)

    assert looked.problems == [found]
