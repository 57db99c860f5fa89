"""Who joins a unit of work: what is called in its block, in its tasks, and in blocks within it."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from catga_core import CatgaError, ErrorCode
from catga_core.interfaces import LockProvider, Stores
from catga_core.unit_of_work import active_unit_of_work
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import PATIENCE, SOON
from catga_testing.contracts.stores.place import outside
from catga_testing.contracts.stores.unit_of_work.atomic import Refused
from catga_testing.contracts.stores.unit_of_work.writes import WritesContractBase, prepared, prepared_write


class JoiningContract(WritesContractBase):
    """It is the ambient one inside its block, in the tasks started there too, and nowhere else."""

    async def test_it_is_the_ambient_one_inside_its_block(self, stores: Stores) -> None:
        """And none is outside of it."""
        before = active_unit_of_work.get()
        async with stores.storage.unit_of_work() as unit:
            inside = active_unit_of_work.get()
            without = await outside(_ambient)
        with pytest.raises(Refused):
            async with stores.storage.unit_of_work():
                raise Refused

        assert before is without is active_unit_of_work.get() is None
        assert inside is unit

    async def test_a_task_started_in_the_block_joins(self, stores: Stores) -> None:
        """Its writes are undone with the block's own."""
        writes = await prepared(stores)

        with pytest.raises(Refused):
            async with stores.storage.unit_of_work():
                await asyncio.gather(*(write.done() for write in writes))
                raise Refused
        undone = [await write.there(stores) for write in writes]
        async with stores.storage.unit_of_work():
            await asyncio.gather(*(write.done() for write in writes))

        assert not any(undone)
        assert all([await write.there(stores) for write in writes])

    async def test_a_block_inside_another_joins_it(self, stores: Stores) -> None:
        """What it wrote is there when the outer one is left, and not before."""
        writes = await prepared(stores)
        storage = stores.storage

        async with storage.unit_of_work():
            async with storage.unit_of_work():
                for write in writes:
                    await write.done()
            early = [await outside(partial(write.there, stores)) for write in writes]

        assert not any(early)
        assert all([await write.there(stores) for write in writes])

    async def test_the_outer_block_undoes_what_an_inner_one_wrote(self, stores: Stores) -> None:
        """The inner one was left without an error."""
        writes = await prepared(stores)
        storage = stores.storage

        with pytest.raises(Refused):
            async with storage.unit_of_work():
                async with storage.unit_of_work():
                    for write in writes:
                        await write.done()
                raise Refused

        assert not any([await write.there(stores) for write in writes])

    async def test_an_error_that_leaves_both_blocks_undoes_both(self, stores: Stores) -> None:
        """What the outer one wrote before as well."""
        writes = await prepared(stores)
        storage = stores.storage

        with pytest.raises(Refused):
            async with storage.unit_of_work():
                for write in writes:
                    await write.done()
                async with storage.unit_of_work():
                    raise Refused

        assert not any([await write.there(stores) for write in writes])

    async def test_a_task_that_outlives_the_block_is_told_so(self, stores: Stores, kind: str) -> None:
        """Its write can neither join any more nor be done beside it."""
        write = await prepared_write(kind, stores)
        over = asyncio.Event()

        async def late() -> None:
            await over.wait()
            await write.done()

        async with stores.storage.unit_of_work():
            outliving = asyncio.create_task(late())
        over.set()

        with pytest.raises(CatgaError, match="unit of work") as raised:
            async with asyncio.timeout(SOON):
                await outliving
        assert raised.value.code == ErrorCode.PERSISTENCE_FAILED
        assert not await write.there(stores)

    async def test_blocks_of_several_tasks_are_several(self, pair: tuple[Stores, Stores]) -> None:
        """One that is undone does not touch another."""
        kept, undone = await prepared(pair[0]), asyncio.Event()
        before = active_unit_of_work.get()

        async def keep() -> None:
            async with pair[0].storage.unit_of_work():
                for write in kept:
                    await write.done()

        async def undo() -> None:
            with pytest.raises(Refused):
                async with pair[1].storage.unit_of_work():
                    undone.set()
                    raise Refused

        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(undo(), keep(), undo())

        assert before is active_unit_of_work.get() is None
        assert undone.is_set()
        assert all([await write.there(pair[1]) for write in kept])

    @needs(immediate=True)
    async def test_a_storage_that_writes_at_once_sees_its_own_writes(self, stores: Stores, kind: str) -> None:
        """Before the commit, in the block."""
        write = await prepared_write(kind, stores)

        async with stores.storage.unit_of_work():
            await write.done()
            assert await write.there(stores)

    @needs(LockProvider, joining_locks=False)
    async def test_a_unit_of_work_has_no_part_in_locks(self, stores: Stores) -> None:
        """One that is taken in it is held at once, and one that is given back is free at once, whatever becomes of it."""
        locks = stores[LockProvider]
        before = await locks.acquire("before", lease=60.0)
        assert before is not None

        with pytest.raises(Refused):
            async with stores.storage.unit_of_work():
                assert await locks.acquire("within", lease=60.0) is not None
                assert await locks.release(before)
                assert await outside(partial(locks.acquire, "within", lease=60.0)) is None
                assert await outside(partial(locks.acquire, "before", lease=60.0)) is not None
                raise Refused

        assert await locks.acquire("within", lease=60.0) is None
        assert await locks.acquire("before", lease=60.0) is None

    @needs(LockProvider, joining_locks=True)
    async def test_locks_that_join_are_taken_and_given_back_at_the_commit(self, stores: Stores) -> None:
        """And as they were before a block that is undone."""
        locks = stores[LockProvider]
        before = await locks.acquire("before", lease=60.0)
        assert before is not None

        with pytest.raises(Refused):
            async with stores.storage.unit_of_work():
                assert await locks.acquire("within", lease=60.0) is not None
                assert await locks.release(before)
                raise Refused
        assert await locks.acquire("before", lease=60.0) is None

        async with stores.storage.unit_of_work():
            assert await locks.acquire("within", lease=60.0) is not None
            assert await locks.release(before)
        assert await locks.acquire("within", lease=60.0) is None
        assert await locks.acquire("before", lease=60.0) is not None


async def _ambient() -> object:
    return active_unit_of_work.get()
