"""Units of work that rely on the same thing."""

from __future__ import annotations

import asyncio

import pytest

from catga_core import CatgaError, ConcurrencyError, ErrorCode
from catga_core.interfaces import NO_STREAM, EventLog, Stores
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import PATIENCE
from catga_testing.contracts.stores.base import StoresContractBase, both
from catga_testing.contracts.stores.event_log.base import everything, stream
from catga_testing.contracts.stores.place import outside, turns
from catga_testing.contracts.stores.records import appends, record


class ConflictsContract(StoresContractBase):
    """One of them wins; the others are told, and have written nothing."""

    @needs(EventLog)
    async def test_of_many_that_expect_the_same_version_one_commits(
        self, pair: tuple[Stores, Stores]
    ) -> None:
        """And nothing is there of what the others wrote besides."""
        logs = both(pair, EventLog)

        async def work(number: int) -> None:
            async with pair[number % 2].storage.unit_of_work():
                await logs[number % 2].append([appends(f"mine-{number}")])
                await turns(number % 3)
                await logs[number % 2].append([appends("shared", record(), record(), expected=NO_STREAM)])

        async with asyncio.timeout(PATIENCE):
            outcomes = await asyncio.gather(*(work(number) for number in range(8)), return_exceptions=True)

        won = [number for number, each in enumerate(outcomes) if each is None]
        assert len(won) == 1, outcomes
        assert {each.code for each in outcomes if isinstance(each, CatgaError)} == {str(ErrorCode.CONFLICT)}
        assert sum(isinstance(each, CatgaError) for each in outcomes) == 7
        assert {each.stream_id for each in await everything(logs[0])} == {"shared", f"mine-{won[0]}"}
        assert await logs[1].version("shared") == 2

    @needs(EventLog)
    async def test_reading_deciding_and_writing_loses_no_update(self, pair: tuple[Stores, Stores]) -> None:
        """Whoever is told of a conflict begins again."""
        logs = both(pair, EventLog)
        conflicts: list[CatgaError] = []

        async def count(number: int) -> None:
            storage, log = pair[number % 2].storage, logs[number % 2]
            while True:
                try:
                    async with storage.unit_of_work():
                        version = await log.version("counter")
                        await turns(number % 3)
                        await log.append([appends("counter", record(data=b"%d" % version), expected=version)])
                except CatgaError as error:
                    assert error.code == ErrorCode.CONFLICT
                    conflicts.append(error)
                else:
                    return

        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(count(number) for number in range(10)))

        counted = await stream(logs[0], "counter")
        assert [each.record.data for each in counted] == [b"%d" % number for number in range(10)]

    @needs(EventLog)
    async def test_a_version_that_is_wrong_already_is_refused(self, stores: Stores) -> None:
        """By the append where the storage writes at once, else by the commit at the latest."""
        log = stores[EventLog]
        await log.append([appends("orders-1")])

        with pytest.raises(CatgaError) as raised:
            async with stores.storage.unit_of_work():
                await log.append([appends("beside")])
                await log.append([appends("orders-1", expected=NO_STREAM)])
                assert not stores.storage.capabilities.immediate

        assert raised.value.code == ErrorCode.CONFLICT
        assert [each.stream_id for each in await everything(log)] == ["orders-1"]

    @needs(EventLog, immediate=False)
    async def test_a_storage_that_writes_at_the_commit_finds_the_conflict_there(self, stores: Stores) -> None:
        """Whoever came between has won."""
        log = stores[EventLog]
        versions: list[int] = []
        with pytest.raises(ConcurrencyError) as raised:
            async with stores.storage.unit_of_work():
                results = await log.append([appends("orders-1", expected=NO_STREAM)])
                await log.append([appends("beside")])
                await outside(lambda: log.append([appends("orders-1")]))
                versions += [each.version for each in results]

        assert versions == [1]
        assert (raised.value.expected, raised.value.actual) == (NO_STREAM, 1)
        assert [each.stream_id for each in await everything(log)] == ["orders-1"]

    @needs(EventLog)
    async def test_a_unit_of_work_is_seen_whole_or_not_at_all(self, pair: tuple[Stores, Stores]) -> None:
        """By whoever reads meanwhile."""
        logs = both(pair, EventLog)
        done = False

        async def write() -> None:
            nonlocal done
            for _ in range(12):
                async with pair[0].storage.unit_of_work():
                    for stream_id in ("orders-1", "stock-1", "mail"):
                        await logs[0].append([appends(stream_id)])
                        await turns(1)
            done = True

        async def read() -> None:
            while not done:
                assert len(await logs[1].read_all(after=0, limit=10_000)) % 3 == 0
                await turns(1)

        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(write(), read())
        assert len(await everything(logs[1])) == 36
