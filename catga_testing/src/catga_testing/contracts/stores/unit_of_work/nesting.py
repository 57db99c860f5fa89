"""A block inside another that fails: what is rolled back, and what the outer one keeps."""

from __future__ import annotations

import asyncio

import pytest

from catga_core import CatgaError, ErrorCode
from catga_core.interfaces import Stores
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import PATIENCE
from catga_testing.contracts.stores.unit_of_work.atomic import Refused
from catga_testing.contracts.stores.unit_of_work.writes import (
    Write,
    WritesContractBase,
    independent,
    prepared,
    prepared_write,
)


class NestingContract(WritesContractBase):
    """A nested block is a savepoint: its failure is its own where the outer block tolerates it."""

    @needs(savepoints=True)
    async def test_nested_block_that_fails_is_rolled_back_alone(self, stores: Stores, kind: str) -> None:
        """What the outer one wrote before and after it is committed."""
        within = await prepared_write(kind, stores)
        port = kind.partition(".")[0]
        kinds = independent(stores.ports)
        others = [await prepare(stores) for name, prepare in kinds.items() if name.partition(".")[0] != port]
        before, after = others[::2], others[1::2]
        storage = stores.storage

        async with storage.unit_of_work():
            for each in before:
                await each.done()
            with pytest.raises(Refused):
                async with storage.unit_of_work():
                    await within.done()
                    raise Refused
            for each in after:
                await each.done()

        assert not await within.there(stores)
        assert all([await each.there(stores) for each in others])

    @needs(savepoints=True)
    async def test_nested_block_that_writes_first_is_rolled_back_alone(
        self, stores: Stores, kind: str
    ) -> None:
        """Before the outer one has written anything; and the write can be repeated in the same unit of work."""
        write = await prepared_write(kind, stores)
        storage = stores.storage

        async with storage.unit_of_work():
            with pytest.raises(Refused):
                async with storage.unit_of_work():
                    await write.done()
                    raise Refused
        undone = await write.there(stores)
        async with storage.unit_of_work():
            for fails in (True, False):
                try:
                    async with storage.unit_of_work():
                        await write.done()
                        if fails:
                            raise Refused
                except Refused:
                    pass

        assert not undone
        assert await write.there(stores)

    @needs(savepoints=True)
    async def test_nested_blocks_fail_each_for_itself(self, stores: Stores) -> None:
        """At any depth: those that end well stay, with what is around them."""
        names = ("outer", "kept", "deep", "failed", "below", "last")
        writes: dict[str, list[Write]] = {name: [] for name in names}
        for number, each in enumerate(await prepared(stores)):
            writes[names[number % len(names)]].append(each)
        storage = stores.storage

        async def write(name: str) -> None:
            for each in writes[name]:
                await each.done()

        async with storage.unit_of_work():
            await write("outer")
            async with storage.unit_of_work():
                await write("kept")
                with pytest.raises(Refused):
                    async with storage.unit_of_work():
                        await write("deep")
                        raise Refused
            with pytest.raises(Refused):
                async with storage.unit_of_work():
                    await write("failed")
                    async with storage.unit_of_work():
                        await write("below")
                    raise Refused
            async with storage.unit_of_work():
                await write("last")

        for name, several in writes.items():
            there = [await each.there(stores) for each in several]
            assert there == [name in {"outer", "kept", "last"}] * len(several), name

    @needs(savepoints=True)
    async def test_outer_block_that_fails_rolls_back_its_nested_blocks(self, stores: Stores) -> None:
        """Those that ended well, and those that were rolled back before."""
        writes = await prepared(stores)
        storage = stores.storage

        with pytest.raises(Refused):
            async with storage.unit_of_work():
                with pytest.raises(Refused):
                    async with storage.unit_of_work():
                        for write in writes:
                            await write.done()
                        raise Refused
                async with storage.unit_of_work():
                    for write in writes:
                        await write.done()
                raise Refused

        assert not any([await write.there(stores) for write in writes])
        for write in writes:
            await write.done()
        assert all([await write.there(stores) for write in writes])

    @needs(savepoints=True)
    async def test_nested_block_that_is_cancelled_is_rolled_back_alone(self, stores: Stores) -> None:
        """By its time limit, which the outer block tolerates."""
        writes = await prepared(stores)
        storage = stores.storage

        async with storage.unit_of_work():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), storage.unit_of_work():
                    for write in writes:
                        await write.done()
                    await asyncio.sleep(PATIENCE)

        assert not any([await write.there(stores) for write in writes])

    @needs(savepoints=True)
    async def test_actions_of_a_nested_block_that_failed_are_not_run(self, stores: Stores) -> None:
        """Those after a rollback are, once the outer block has ended."""
        done: list[str] = []

        async def undone(error: BaseException) -> None:
            done.append(f"undone by {type(error).__name__}")

        async with stores.storage.unit_of_work() as outer:
            outer.after_commit(lambda: done.append("outer"))
            with pytest.raises(Refused):
                async with stores.storage.unit_of_work() as unit:
                    unit.before_commit(lambda: done.append("before"))
                    unit.after_commit(lambda: done.append("after"))
                    unit.after_rollback(undone)  # type: ignore[attr-defined]
                    raise Refused
            outer.after_rollback(undone)  # type: ignore[attr-defined]
            assert done == []

        assert done == ["outer", "undone by Refused"]

    @needs(savepoints=True)
    async def test_nested_blocks_of_several_tasks_lose_no_write_of_another(self, stores: Stores) -> None:
        """A block that others wrote beside cannot be rolled back alone: then the whole is rolled back, and says so."""
        writes = await prepared(stores)
        # Where there is one kind only, both tasks write the same.
        failing, beside = writes[::2], writes[1::2] or writes
        storage, written = stores.storage, asyncio.Event()
        wrote_beside = asyncio.Event()

        async def fails() -> None:
            with pytest.raises(Refused):
                async with storage.unit_of_work():
                    for write in failing:
                        await write.done()
                    written.set()
                    await wrote_beside.wait()
                    raise Refused

        async def write_beside() -> None:
            await written.wait()
            for write in beside:
                await write.done()
            wrote_beside.set()

        with pytest.raises(CatgaError) as raised:
            async with asyncio.timeout(PATIENCE), storage.unit_of_work():
                await asyncio.gather(fails(), write_beside())

        assert raised.value.code == ErrorCode.PERSISTENCE_FAILED
        assert not any([await write.there(stores) for write in (*failing, *beside)])

    @needs(savepoints=False)
    async def test_an_inner_block_that_fails_undoes_the_whole(self, stores: Stores) -> None:
        """Nothing of both is written."""
        writes = await prepared(stores)
        storage = stores.storage

        with pytest.raises(CatgaError) as raised:
            async with storage.unit_of_work():
                for write in writes:
                    await write.done()
                with pytest.raises(Refused):
                    async with storage.unit_of_work():
                        raise Refused

        assert raised.value.code == ErrorCode.PERSISTENCE_FAILED
        assert not any([await write.there(stores) for write in writes])
