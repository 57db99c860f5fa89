"""A few kills in each run of the tests; `nox -s faults -- letters` does more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.letters.application import POISONS
from tests.faults.letters.campaign import Campaign

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("source", sorted(POISONS))
async def test_poison_messages_that_are_fixed_are_replayed_in_order_once_whoever_is_killed(
    tmp_path: Path, source: str
) -> None:
    url = f"sqlite:///{tmp_path / 'app.db'}"

    campaign = Campaign(url, tmp_path / "log", source=source, messages=1_000, keys=20, seed=20261130)
    count = await campaign.run(3)

    assert count.problems == []
    assert (count.letters, count.handled, count.kills) == (1_000, 1_000, 3)
    assert count.attempts >= 1_000
