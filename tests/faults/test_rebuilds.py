"""A process that builds a projection anew is killed: what is read is the old target or the new one, and whole."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from catga_core.event_sourcing.projections.generations import Generation, Generations
from catga_core.interfaces import CheckpointStore, EventLog
from catga_sqlite import SqliteOptions, sqlite_stores
from tests.faults.rebuilds import EVENTS, NAME, NEW, OLD, Moment

_ROOT = Path(__file__).parents[2]
_KILLED = -signal.SIGKILL


@asynccontextmanager
async def started(file: Path, moment: Moment) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run a process that builds; whatever becomes of the test, it does not outlive the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.rebuilds", str(file), moment,
        cwd=_ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def end_of(process: asyncio.subprocess.Process) -> int:
    """Return how a process ended, once it has."""
    async with asyncio.timeout(60):
        _, errors = await process.communicate()
    assert process.returncode is not None
    assert process.returncode in {0, _KILLED}, errors.decode()[-2000:]
    return process.returncode


async def run(file: Path, moment: Moment) -> int:
    """Run a process that builds to its end, and return how it ended."""
    async with started(file, moment) as process:
        return await end_of(process)


def tables_of(file: Path) -> dict[str, list[int]]:
    """Return what a program beside Catga reads: the targets there are, each with the positions in it."""
    with closing(sqlite3.connect(file)) as connection:
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if name.startswith(f"{NAME}_")
        ]
        return {
            name: [each for (each,) in connection.execute(f"SELECT position FROM {name} ORDER BY rowid")]
            for name in names
        }


async def read_by(file: Path) -> tuple[Generation, int, int]:
    """Return which generation is read, how far it is by its checkpoint, and how long the log is."""
    stores = sqlite_stores(SqliteOptions(file))
    await stores.storage.start()
    try:
        checkpoints, log = stores[CheckpointStore], stores[EventLog]
        assert isinstance(checkpoints, CheckpointStore)
        assert log is not None
        generations = Generations(NAME, checkpoints)
        active = await generations.active()
        assert active is not None
        checkpoint = await generations.checkpoint(active)
        return active, 0 if checkpoint is None else checkpoint.position, await log.head()
    finally:
        await stores.storage.stop()


async def whole_target(file: Path) -> tuple[str, int, int]:
    """Return the target that is read, once it was found to hold every event up to its checkpoint, in order, once."""
    active, position, head = await read_by(file)
    target = active.target(NAME)
    tables = await asyncio.to_thread(tables_of, file)
    assert tables.get(target) == list(range(1, position + 1))
    later = {f"{NAME}_1_{active.run + 1}"}
    assert set(tables) - later == {target}, "an old target is gone with its switch, and only with it"
    return target, position, head


@pytest.mark.parametrize(
    ("moment", "read"), [(Moment.BUILDING, OLD), (Moment.SWITCHING, OLD), (Moment.SWITCHED, NEW)]
)
async def test_a_rebuild_whose_process_is_killed_is_finished_by_another(
    tmp_path: Path, moment: Moment, read: str
) -> None:
    file = tmp_path / "app.db"

    assert await run(file, moment) == _KILLED
    target, position, _ = await whole_target(file)
    assert target == read
    assert position >= EVENTS

    assert await run(file, Moment.NEVER) == 0
    target, position, head = await whole_target(file)
    assert (target, position) == (NEW, head)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_whatever_moment_rebuilds_are_killed_at_what_is_read_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "app.db"
    chance = random.Random(20261124)

    read: set[str] = set()
    for kills in range(1, 25):
        async with started(file, Moment.FOR_EVER) as process:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
            # Not a wait for anything: the moment of the kill is what chance is to decide.
            await asyncio.sleep(chance.uniform(0, 0.6))
            process.kill()
            assert await end_of(process) == _KILLED
        target, position, _ = await whole_target(file)
        assert position >= EVENTS
        read.add(target)
        # On a machine that is busy, more of them before there was a switch.
        if kills >= 5 and len(read) > 1:
            break

    assert await run(file, Moment.NEVER) == 0
    _, position, head = await whole_target(file)
    assert position == head
    assert len(read) > 1, "none was killed beside a switch"
