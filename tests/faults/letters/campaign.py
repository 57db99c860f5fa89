"""Poison messages, fixed and replayed by processes that are killed in the middle."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import defaultdict
from pathlib import Path

import msgspec

from catga_testing.waiting import eventually
from tests.faults.letters.application import CONCURRENT, POISONS, compose

_ROOT = Path(__file__).parents[3]
_PUBLISHED_AT_ONCE = 32


class Count(msgspec.Struct):
    """What a run has found.

    Args:
        letters: Dead letters at the beginning.
        kills: Processes that were killed in the middle of their replay.
        handled: Effects at the end.
        attempts: Attempts of the handler, those included that were rolled back.
        problems: Promises that were broken.
    """

    letters: int = 0
    kills: int = 0
    handled: int = 0
    attempts: int = 0
    problems: list[str] = []


class Campaign:
    """One run.

    Args:
        url: Where the state is.
        log: A file for the lines of the processes.
        source: The source of the dead letters: `handler` or `queue`.
        messages: How many poison messages.
        keys: Of how many keys.
        seed: Of the moments of the kills.
    """

    def __init__(self, url: str, log: Path, *, source: str, messages: int, keys: int, seed: int) -> None:
        self._url = url
        self._source = source
        self._log = log
        self._each = messages // keys
        self._keys = [f"key-{number}" for number in range(keys)]
        self._chance = random.Random(seed)

    async def run(self, kills: int) -> Count:
        """Write the letters, kill so many processes that replay them, let the last one finish, and check."""
        self._log.touch()
        count = Count(letters=await self._poison())
        for number in range(kills):
            # At a random moment of its share of the work.
            left = count.letters - len(self._attempts())
            share = max(left // (kills + 1 - number), 2)
            enough = len(self._attempts()) + self._chance.randint(1, share)
            process = await self._start()
            await eventually(lambda: len(self._attempts()) >= enough, within=60.0, every=0.001)  # noqa: B023 - awaited here
            if process.returncode is None:
                process.kill()
                count.kills += 1
            await process.wait()
        last = await self._start()
        async with asyncio.timeout(300):
            if await last.wait():
                count.problems.append(f"the last process ended with {last.returncode}")
        await self._check(count)
        return count

    async def _poison(self) -> int:
        async with compose(self._url, self._source).running() as app:
            poison = POISONS[self._source]
            wanted = self._each * len(self._keys)
            free = asyncio.Semaphore(_PUBLISHED_AT_ONCE)

            async def publish(key: str) -> None:
                for number in range(self._each):
                    async with free:
                        await app.mediator.publish(poison(key, number))

            await asyncio.gather(*(publish(key) for key in self._keys))

            async def all_failed() -> bool:
                return int(await app.dead_letters.count()) >= wanted

            await eventually(all_failed, within=120.0, every=0.05)
            return int(await app.dead_letters.count())

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.letters.application",
            self._url,
            str(self._log),
            self._source,
            cwd=_ROOT,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

    def _attempts(self) -> list[list[str]]:
        return [line.split() for line in self._log.read_text().splitlines()]

    async def _check(self, count: Count) -> None:
        attempts = self._attempts()
        count.attempts = len(attempts)
        async with compose(self._url, self._source).running(roles={"admin"}) as app:
            if left := await app.dead_letters.count():
                count.problems.append(f"{left} letters are left")
            for key in self._keys:
                had = [each.event.number async for each in app.event_store.read(f"handled-{key}")]
                count.handled += len(had)
                if had != list(range(self._each)):
                    count.problems.append(f"{key} was handled as {had}")
        if count.attempts > count.handled + count.kills * CONCURRENT:
            count.problems.append(f"{count.attempts} attempts: more were repeated than were in flight")
        began: defaultdict[str, list[int]] = defaultdict(list)
        for key, number, _process in attempts:
            began[key].append(int(number))
        count.problems += [
            f"{key} was begun as {numbers}" for key, numbers in began.items() if numbers != sorted(numbers)
        ]
