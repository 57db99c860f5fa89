"""All or nothing, whatever ends the block."""

from __future__ import annotations

import asyncio

import pytest

from catga_core.interfaces import Stores
from catga_testing.contracts.limits import PATIENCE
from catga_testing.contracts.stores.place import outside, turns
from catga_testing.contracts.stores.unit_of_work.writes import WritesContractBase, prepared, prepared_write


class Refused(Exception):  # noqa: N818 - what an application raises to have nothing written
    """Raised in a block by a test."""


class AtomicContract(WritesContractBase):
    """Everything that stores were asked to write in a block is written when it is left, or nothing."""

    async def test_a_write_is_there_after_the_block_and_not_before(
        self, pair: tuple[Stores, Stores], kind: str
    ) -> None:
        """Nobody outside sees it until the commit."""
        write = await prepared_write(kind, pair[0])

        async with pair[0].storage.unit_of_work():
            await write.done()
            assert not await outside(lambda: write.there(pair[1]))

        assert await write.there(pair[1])
        assert await write.there(pair[0])

    async def test_a_write_is_undone_when_the_block_raises(self, stores: Stores, kind: str) -> None:
        """The error passes through as it is, and the write can be made afterwards."""
        write = await prepared_write(kind, stores)
        error = Refused("no stock")

        with pytest.raises(Refused) as raised:
            async with stores.storage.unit_of_work():
                await write.done()
                raise error

        assert raised.value is error
        assert not await write.there(stores)
        await write.done()
        assert await write.there(stores)

    async def test_writes_to_all_stores_are_one(self, pair: tuple[Stores, Stores]) -> None:
        """All of them are done, or none."""
        writes = await prepared(pair[0])

        with pytest.raises(Refused):
            async with pair[0].storage.unit_of_work():
                for write in writes:
                    await write.done()
                raise Refused
        undone = [await write.there(pair[1]) for write in writes]
        async with pair[0].storage.unit_of_work():
            for write in writes:
                await write.done()
        done = [await write.there(pair[1]) for write in writes]

        assert not any(undone)
        assert all(done)

    async def test_a_block_that_is_cancelled_writes_nothing(self, stores: Stores) -> None:
        """The cancellation passes through."""
        writes = await prepared(stores)
        written = asyncio.Event()

        async def work() -> None:
            async with stores.storage.unit_of_work():
                for write in writes:
                    await write.done()
                written.set()
                await asyncio.sleep(PATIENCE)

        working = asyncio.create_task(work())
        async with asyncio.timeout(PATIENCE):
            await written.wait()
        working.cancel()
        await asyncio.wait({working}, timeout=PATIENCE)

        assert working.cancelled()
        assert not any([await write.there(stores) for write in writes])
        for write in writes:
            await write.done()
        assert all([await write.there(stores) for write in writes])

    @pytest.mark.parametrize("moment", [0, 1, 2, 3, 5, 8, 13, 0.0005, 0.001, 0.002, 0.004])
    async def test_a_block_that_is_cancelled_at_any_moment_is_done_whole_or_not_at_all(
        self, stores: Stores, moment: float
    ) -> None:
        """Also while it is being committed; and who was not cancelled after all has everything."""
        writes = await prepared(stores)

        async def work() -> None:
            async with stores.storage.unit_of_work():
                for write in writes:
                    await write.done()

        working = asyncio.create_task(work())
        if isinstance(moment, int):
            await turns(moment)
        else:
            await asyncio.sleep(moment)
        working.cancel()
        await asyncio.wait({working}, timeout=PATIENCE)

        # The next unit of work comes after it, so that what is looked at has come to an end.
        async with stores.storage.unit_of_work():
            pass
        there = [await write.there(stores) for write in writes]
        assert len(set(there)) <= 1, there
        if not working.cancelled():
            working.result()
            assert all(there)

    async def test_an_empty_block_and_one_that_only_reads_are_fine(self, stores: Stores) -> None:
        """There is nothing to write."""
        writes = await prepared(stores)

        async with stores.storage.unit_of_work():
            pass
        async with stores.storage.unit_of_work():
            assert not any([await write.there(stores) for write in writes])

        assert not any([await write.there(stores) for write in writes])
