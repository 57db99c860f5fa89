"""Poison messages, fixed and replayed by processes that are killed in the middle."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import msgspec

from catga_testing.waiting import eventually
from tests.faults.letters.application import CONCURRENT, PARKED, compose, is_settled, poison_of
from tests.faults.messaging.places import REDIS_IS_KILLED, Place
from tests.faults.messaging.ways import stored_over

_ROOT = Path(__file__).parents[3]
_PUBLISHED_AT_ONCE = 32
_BETWEEN = (0.5, 1.5)  # seconds between two faults of servers


class Count(msgspec.Struct):
    """What a run has found.

    Args:
        letters: Dead letters at the beginning.
        kills: Processes that were killed in the middle of their replay.
        handled: Effects at the end.
        attempts: Attempts of the handler, those included that were rolled back.
        faults: What else broke meanwhile, by name.
        problems: Promises that were broken.
        seconds: How long it took.
    """

    letters: int = 0
    kills: int = 0
    handled: int = 0
    attempts: int = 0
    faults: Counter[str] = msgspec.field(default_factory=Counter[str])
    problems: list[str] = []
    seconds: float = 0.0


class Campaign:
    """One run.

    Args:
        place: Where state and messages are.
        log: A file for the lines of the processes.
        source: What becomes of the messages, as of `poison_of`.
        messages: How many poison messages.
        keys: Of how many keys.
        seed: Of the moments of the kills.
    """

    def __init__(self, place: Place, log: Path, *, source: str, messages: int, keys: int, seed: int) -> None:
        self._place = place
        self._look = place.look
        self._way = place.ways[0]
        self._source = source
        self._log = log
        self._each = messages // keys
        self._keys = [f"key-{number}" for number in range(keys)]
        self._chance = random.Random(seed)
        self._faults = dict(place.turns)
        if stored_over(self._look.store) == "redis":
            self._faults |= place.faults
        elif self._look.servers:
            self._faults |= {name: each for name, each in place.faults.items() if name != REDIS_IS_KILLED}

    async def run(self, kills: int) -> Count:
        """Write the letters, kill so many processes that replay them, let the last one finish, and check."""
        began = time.monotonic()
        self._log.touch()
        count = Count(letters=await self._poison())
        enough_broken = asyncio.Event()
        breaking = asyncio.create_task(self._break(count, enough_broken))
        try:
            for number in range(kills):
                # At a random moment of its share of the work.
                left = self._each * len(self._keys) - len(self._attempts())
                share = max(left // (kills + 1 - number), 2)
                enough = len(self._attempts()) + self._chance.randint(1, share)
                process = await self._start()
                await eventually(
                    lambda: len(self._attempts()) >= enough or process.returncode is not None,  # noqa: B023 - awaited here
                    within=60.0,
                    every=0.001,
                )
                if process.returncode is None:
                    process.kill()
                    count.kills += 1
                await process.wait()
        finally:
            enough_broken.set()
            await breaking
        last = await self._start()
        async with asyncio.timeout(300):
            if await last.wait():
                count.problems.append(f"the last process ended with {last.returncode}")
        await self._check(count)
        count.seconds = time.monotonic() - began
        return count

    async def _break(self, count: Count, enough: asyncio.Event) -> None:
        # Of a generator of its own, so that the kills are those of the seed.
        chance = random.Random(self._chance.random())
        while self._faults and not enough.is_set():
            await asyncio.sleep(chance.uniform(*_BETWEEN))
            name = chance.choice(sorted(self._faults))
            count.faults[name] += 1
            await self._faults[name](random.Random(chance.random()))

    async def _poison(self) -> int:
        async with compose(self._look, self._source).running() as app:
            wanted = len(self._keys) * (1 if self._source == PARKED else self._each)
            free = asyncio.Semaphore(_PUBLISHED_AT_ONCE)

            async def publish(key: str) -> None:
                for number in range(self._each):
                    async with free:
                        await app.mediator.publish(poison_of(self._source, key, number))

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
            self._way.written(),
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
        async with compose(self._look, self._source).running(roles={"admin"}) as app:
            if not await is_settled(app, self._look, self._source):
                count.problems.append(f"{await app.dead_letters.count()} letters are left, or messages")
            for key in self._keys:
                had = [each.event.number async for each in app.event_store.read(f"handled-{key}")]
                count.handled += len(had)
                if had != list(range(self._each)):
                    count.problems.append(f"{key} was handled as {had}")
        # A process that replays handles what is parked as well; what is under way is repeated after a fault of a server too.
        once = CONCURRENT * (2 if self._source == PARKED else 1)
        if count.attempts > count.handled + (count.kills + count.faults.total()) * once:
            count.problems.append(f"{count.attempts} attempts: more were repeated than were in flight")
        began: defaultdict[str, list[int]] = defaultdict(list)
        for key, number, _process in attempts:
            began[key].append(int(number))
        count.problems += [
            f"{key} was begun as {numbers}" for key, numbers in began.items() if numbers != sorted(numbers)
        ]
