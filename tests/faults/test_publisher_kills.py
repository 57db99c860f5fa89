"""Events that were appended are published at least once and in order per stream, whenever their process is killed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from catga_core.event_sourcing.subscriptions import Subscriptions
from catga_testing.waiting import eventually
from tests.faults.kills.places import PLACES
from tests.faults.publishing import compose

pytestmark = pytest.mark.slow

_KILLS = 6
_ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def _application(url: str, log: Path, mode: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Start the application; it is killed when the block ends."""
    nowhere = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.publishing", url, str(log), mode,
        cwd=_ROOT, stdout=nowhere, stderr=nowhere,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        assert await process.wait() == -signal.SIGKILL


def _lines(log: Path, word: str) -> list[list[str]]:
    return [line.split()[1:] for line in log.read_text().splitlines() if line.startswith(f"{word} ")]


async def _finish(url: str, log: Path) -> dict[str, list[str]]:
    """Let one more process publish what is left; return the ids of each stream's events."""
    ids: defaultdict[str, list[str]] = defaultdict(list)
    async with compose(url, log).running() as app:
        await app.get(Subscriptions).caught_up("publisher-moved-all", timeout=60.0)
        async for each in app.event_store.read_all():
            ids[each.stream_id].append(each.message_id)
    return ids


def _check(log: Path, ids: dict[str, list[str]]) -> int:
    """Check what was published against the log; return how often an event was published again."""
    for stream, version in _lines(log, "appended"):
        assert len(ids[stream]) >= int(version), f"{stream} {version} was acknowledged and is gone"
    published: defaultdict[str, list[int]] = defaultdict(list)
    again = 0
    for stream, number, message_id in _lines(log, "published"):
        assert message_id == ids[stream][int(number) - 1], f"{stream} {number} was published with another id"
        # It may begin again where its checkpoint is; it never leaves one out.
        seen = published[stream]
        assert int(number) <= max(seen, default=0) + 1, (
            f"{stream} {number} was published before the one before it"
        )
        again += int(number) in seen
        seen.append(int(number))
    for stream, expected in ids.items():
        assert set(published[stream]) == set(range(1, len(expected) + 1)), f"of {stream}, events were lost"
    return again


@pytest.mark.parametrize("store", sorted(PLACES))
async def test_event_is_published_after_a_kill_between_append_and_publish(store: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    async with PLACES[store]() as place:
        async with _application(place.url, log, "die") as process:
            async with asyncio.timeout(60):
                await process.wait()
        assert _lines(log, "appended") == [["moved-0", "2"]]
        assert _lines(log, "published") == []

        ids = await _finish(place.url, log)

    assert len(ids["moved-0"]) == 2
    assert [int(number) for _, number, _ in _lines(log, "published")] == [1, 2]
    assert _check(log, ids) == 0


@pytest.mark.parametrize("store", sorted(PLACES))
async def test_every_event_is_published_in_stream_order_across_kills(store: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    chance = random.Random(20261130)
    async with PLACES[store]() as place:
        for _ in range(_KILLS):
            had = len(_lines(log, "published"))
            # At a random moment of its work: after so many more events.
            enough = had + chance.randint(1, 30)
            async with _application(place.url, log, "work"):
                await eventually(lambda: len(_lines(log, "published")) >= enough, within=30.0, every=0.002)  # noqa: B023 - awaited here

        ids = await _finish(place.url, log)

    again = _check(log, ids)
    # A kill, or a lease that ran out on a machine under load, repeats the event before the checkpoint; not a whole stream.
    assert again < len(_lines(log, "published")) / 4
