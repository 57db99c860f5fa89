"""A consumer reads the log by position while others write."""

from __future__ import annotations

import asyncio
import random

from catga_core.interfaces import EventLog, Stores
from catga_testing.contracts.limits import PATIENCE, SOON
from catga_testing.contracts.stores.base import both
from catga_testing.contracts.stores.event_log.base import EventLogContractBase, everything
from catga_testing.contracts.stores.place import outside, turns
from catga_testing.contracts.stores.records import appends, record

WRITERS = 6
ROUNDS = 6


class _Abandoned(Exception):  # noqa: N818 - no error: a writer that changes its mind
    pass


class LogConsumer:
    """Reads on from its position, as a projection does, and keeps the ids that it has seen.

    Args:
        log: The log that it reads.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._position = 0
        self.seen: list[str] = []

    async def catch_up(self) -> None:
        """Read what is there now."""
        for event in await everything(self._log, after=self._position, page=3):
            assert event.position > self._position
            self._position = event.position
            self.seen.append(event.record.message_id)

    async def consume(self, wanted: int) -> None:
        """Read until so many were seen."""
        async with asyncio.timeout(PATIENCE):
            while len(self.seen) < wanted:
                await self.catch_up()
                await self._log.wait(after=self._position, timeout=0.05)


class ConsumingContract(EventLogContractBase):
    """Nothing is missed and nothing seen twice, however commits and positions interleave."""

    async def test_who_waits_for_an_event_that_is_there_lets_others_work(self, log: EventLog) -> None:
        """Also when it does nothing else."""
        await log.append([appends("orders-1", record())])
        others = asyncio.create_task(turns(2))

        for _ in range(100):
            await log.wait(after=0, timeout=PATIENCE)

        assert others.done()

    async def test_an_event_that_commits_late_is_not_skipped(self, pair: tuple[Stores, Stores]) -> None:
        """Another one may be appended, and read, between its append and its commit."""
        logs = both(pair, EventLog)
        late, between = record("late"), record("between")
        consumer = LogConsumer(logs[1])
        async with pair[0].storage.unit_of_work():
            await logs[0].append([appends("orders-1", late)])
            appending = asyncio.create_task(outside(lambda: logs[1].append([appends("orders-2", between)])))
            # It may be made to wait for the unit of work: then it comes after it.
            await asyncio.wait({appending}, timeout=0.05)
            await outside(consumer.catch_up)

        async with asyncio.timeout(PATIENCE):
            await appending
        await consumer.consume(2)

        assert sorted(consumer.seen) == ["between", "late"]
        assert consumer.seen == [each.record.message_id for each in await everything(logs[0])]

    async def test_a_consumer_sees_every_event_once_while_many_write(
        self, pair: tuple[Stores, Stores]
    ) -> None:
        """Alone and in units of work, some of which commit late and some not at all."""
        logs = both(pair, EventLog)
        chance = random.Random(7)  # noqa: S311 - the same writers on every run
        committed: list[str] = []

        async def write(writer: int) -> None:
            stores, log = pair[writer % 2], logs[writer % 2]
            for number in range(ROUNDS):
                made = [record(f"{writer}-{number}-{each}") for each in range(1 + number % 2)]
                pause, kept = chance.randrange(4), chance.random() < 0.7
                try:
                    if number % 2:
                        await log.append([appends(f"orders-{chance.randrange(3)}", *made)])
                    else:
                        async with stores.storage.unit_of_work():
                            for each in made:
                                await log.append([appends(f"orders-{chance.randrange(3)}", each)])
                                await turns(pause)
                            if not kept:
                                raise _Abandoned
                except _Abandoned:
                    continue
                committed.extend(each.message_id for each in made)

        consumer = LogConsumer(logs[1])
        writing = asyncio.gather(*(write(writer) for writer in range(WRITERS)))
        consuming = asyncio.create_task(consumer.consume(10**9))
        async with asyncio.timeout(PATIENCE):
            await writing
        consuming.cancel()
        await asyncio.wait({consuming})
        async with asyncio.timeout(SOON):
            await consumer.catch_up()

        assert sorted(consumer.seen) == sorted(committed)
        assert consumer.seen == [each.record.message_id for each in await everything(logs[0])]
