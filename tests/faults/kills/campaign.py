"""Starts applications and kills them at random moments, a fresh place every few kills."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec

from catga_testing.waiting import eventually
from tests.faults.kills import checks
from tests.faults.kills.places import Place

_ROOT = Path(__file__).parents[3]
_KILLS_IN_ONE_PLACE = 20
_LONGEST = 0.4  # seconds an application works before it is killed
_READY = "ready"


class Count(msgspec.Struct):
    """What happened in one campaign."""

    store: str
    kills: int = 0
    kills_of_the_server: int = 0
    events_acknowledged: int = 0
    commands_acknowledged: int = 0
    commands_sent_again: int = 0
    events_relayed: int = 0
    events_projected: int = 0
    looks: int = 0
    problems: list[str] = []


class Campaign:
    """So many kills against one kind of place.

    Parameters:
        store: its name.
        place: opens a fresh one.
        seed: decides the moments.
    """

    def __init__(
        self, store: str, place: Callable[[], AbstractAsyncContextManager[Place]], seed: int
    ) -> None:
        self._place = place
        self._random = random.Random(f"{seed} {store}")
        self._count = Count(store)

    async def run(self, kills: int) -> Count:
        """Kill so often, and look at what is left after each."""
        while self._count.kills < kills:
            async with self._place() as place:
                with tempfile.TemporaryDirectory(prefix="catga-kills-") as folder:
                    log = Path(folder) / "said"
                    log.touch()
                    for _ in range(min(_KILLS_IN_ONE_PLACE, kills - self._count.kills)):
                        await self._kill_once(place, log)
                        await self._look(place, log, settle=False)
                    await self._look(place, log, settle=True)
        return self._count

    async def _kill_once(self, place: Place, log: Path) -> None:
        said = log.read_text().count(f"{_READY}\n")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.kills.application", place.url, str(log),
            str(self._random.randrange(2**32)),
            cwd=_ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            await eventually(
                lambda: log.read_text().count(f"{_READY}\n") > said or process.returncode is not None,
                within=30,
            )
            # Not a wait for anything: the moment of the kill is what chance is to decide.
            await asyncio.sleep(self._random.uniform(0, _LONGEST))
            if process.returncode is not None:
                assert process.stderr
                told = (await process.stderr.read()).decode()
                self._count.problems.append(f"the application ended by itself: {told[-2000:]}")
                return
            if place.can_break and self._random.random() < 0.25:
                await place.break_and_mend()
                self._count.kills_of_the_server += 1
                await asyncio.sleep(self._random.uniform(0, _LONGEST))
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.wait()
        self._count.kills += 1

    async def _look(self, place: Place, log: Path, *, settle: bool) -> None:
        found = await checks.look(place.url, log.read_text().splitlines(), settle=settle)
        self._count.looks += 1
        self._count.problems += found.problems
        if settle:
            self._count.events_acknowledged += found.events_acknowledged
            self._count.commands_acknowledged += found.commands_acknowledged
            self._count.commands_sent_again += found.commands_sent_again
            self._count.events_relayed += found.events_relayed
            self._count.events_projected += found.events_projected
