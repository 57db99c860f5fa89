"""What the units of work of all storages have in common; `Ledger` stands for a storage whose commit takes a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, MutableMapping
from typing import Any

import pytest

from catga_core import CatgaError, ErrorCode
from catga_core.unit_of_work import (
    BaseUnitOfWork,
    UnitOfWorkBlock,
    active_unit_of_work,
    joined_unit_of_work,
)


class Ledger:
    """Notes what became of its units of work."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.pace: asyncio.Event | None = None
        self.commit_fails = self.rollback_fails = False

    def unit_of_work(self) -> UnitOfWorkBlock[Entry]:
        return UnitOfWorkBlock(self, lambda: Entry(self))


class Entry(BaseUnitOfWork):
    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.ledger = ledger

    def _commit(self) -> Awaitable[None] | None:
        if self.ledger.commit_fails:
            msg = "the disk is full"
            raise OSError(msg)
        if self.ledger.pace is None:
            self.ledger.notes.append("committed")
            return None
        return self._slowly(self.ledger.pace, "committed")

    def _roll_back(self) -> Awaitable[None] | None:
        if self.ledger.rollback_fails:
            msg = "the server is gone"
            raise ConnectionError(msg)
        if self.ledger.pace is None:
            self.ledger.notes.append("rolled back")
            return None
        return self._slowly(self.ledger.pace, "rolled back")

    async def _slowly(self, pace: asyncio.Event, note: str) -> None:
        self.ledger.notes.append("begun")
        await pace.wait()
        self.ledger.notes.append(note)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


class Oops(Exception):
    pass


async def test_it_is_the_ambient_one_inside_its_block_and_in_tasks_started_there(ledger: Ledger) -> None:
    async def ambient() -> Any:
        return active_unit_of_work.get()

    async with ledger.unit_of_work() as unit:
        assert active_unit_of_work.get() is unit
        assert await asyncio.create_task(ambient()) is unit
    assert active_unit_of_work.get() is None
    assert ledger.notes == ["committed"]


async def test_an_error_rolls_back_and_passes_through(ledger: Ledger) -> None:
    with pytest.raises(Oops):
        async with ledger.unit_of_work():
            raise Oops
    assert ledger.notes == ["rolled back"]
    assert active_unit_of_work.get() is None


async def test_a_rollback_that_fails_is_noted_on_the_error_that_caused_it(ledger: Ledger) -> None:
    ledger.rollback_fails = True
    with pytest.raises(Oops) as caught:
        async with ledger.unit_of_work():
            raise Oops
    assert caught.value.__notes__ == ["Rolling back failed too: ConnectionError: the server is gone"]


async def test_a_commit_that_fails_is_rolled_back_and_raised(ledger: Ledger) -> None:
    told: list[str] = []
    ledger.commit_fails = True
    with pytest.raises(OSError, match="the disk is full"):
        async with ledger.unit_of_work() as unit:
            unit.after_commit(lambda: told.append("after"))
    assert ledger.notes == ["rolled back"]
    assert told == []


async def test_a_block_inside_of_another_joins_it(ledger: Ledger) -> None:
    async with ledger.unit_of_work() as outer:
        async with ledger.unit_of_work() as inner:
            assert inner is outer
        assert ledger.notes == []
        assert active_unit_of_work.get() is outer
    assert ledger.notes == ["committed"]


async def test_a_block_of_another_storage_is_its_own_and_stores_find_theirs(ledger: Ledger) -> None:
    other = Ledger()
    async with ledger.unit_of_work() as outer:
        async with other.unit_of_work() as inner:
            assert joined_unit_of_work(ledger) is outer
            assert joined_unit_of_work(other) is inner
            async with ledger.unit_of_work() as again:
                assert again is outer
        assert (other.notes, ledger.notes) == (["committed"], [])
    assert ledger.notes == ["committed"]


async def test_a_joined_block_that_fails_spoils_the_whole_even_when_its_error_is_caught(
    ledger: Ledger,
) -> None:
    async def catches_the_inner_error() -> None:
        async with ledger.unit_of_work():
            with pytest.raises(Oops):
                async with ledger.unit_of_work():
                    raise Oops

    with pytest.raises(CatgaError, match=r"a unit_of_work\(\) block inside of it failed with Oops") as caught:
        await catches_the_inner_error()
    assert caught.value.code == ErrorCode.PERSISTENCE_FAILED
    assert not caught.value.retryable
    assert isinstance(caught.value.__cause__, Oops)
    assert ledger.notes == ["rolled back"]


async def test_a_task_still_inside_when_the_block_ends_rolls_the_whole_back(ledger: Ledger) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def straggler() -> None:
        async with ledger.unit_of_work():
            inside.set()
            await go_on.wait()

    async def leaves_too_early() -> None:
        async with ledger.unit_of_work():
            stragglers.append(asyncio.create_task(straggler()))
            await inside.wait()

    stragglers: list[asyncio.Task[None]] = []
    with pytest.raises(CatgaError, match="a task is still in a unit_of_work"):
        await leaves_too_early()
    assert ledger.notes == ["rolled back"]
    go_on.set()
    await asyncio.gather(*stragglers)


async def test_who_outlives_the_block_is_told_so_and_may_begin_one_of_its_own(ledger: Ledger) -> None:
    ended = asyncio.Event()

    async def outlives() -> None:
        await ended.wait()
        with pytest.raises(CatgaError, match="This unit of work has ended") as caught:
            joined_unit_of_work(ledger)
        assert caught.value.code == ErrorCode.PERSISTENCE_FAILED
        async with ledger.unit_of_work() as own:
            assert joined_unit_of_work(ledger) is own

    async with ledger.unit_of_work() as unit:
        task = asyncio.create_task(outlives())
    ended.set()
    await task
    assert ledger.notes == ["committed", "committed"]
    with pytest.raises(CatgaError, match="This unit of work has ended"):
        unit.after_commit(lambda: None)
    with pytest.raises(CatgaError, match="This unit of work has ended"):
        unit.before_commit(lambda: None)


async def test_what_is_to_be_done_before_the_commit_is_done_in_the_unit_of_work_in_order(
    ledger: Ledger,
) -> None:
    done: list[str] = []

    async with ledger.unit_of_work() as unit:

        async def first() -> None:
            assert joined_unit_of_work(ledger) is unit
            done.append("first")
            unit.before_commit(lambda: done.append("third"))

        unit.before_commit(first)
        unit.before_commit(lambda: done.append("second"))
        unit.after_commit(lambda: done.append(f"after {ledger.notes}"))
    assert done == ["first", "second", "third", "after ['committed']"]


async def test_an_action_that_fails_before_the_commit_rolls_everything_back(ledger: Ledger) -> None:
    async def fails() -> None:
        raise Oops

    async def works() -> None:
        async with ledger.unit_of_work() as unit:
            unit.before_commit(fails)
            unit.after_commit(lambda: told.append("after"))

    told: list[str] = []
    with pytest.raises(Oops):
        await works()
    assert (ledger.notes, told) == (["rolled back"], [])


async def test_an_action_that_fails_after_the_commit_is_logged_and_keeps_nobody_from_being_told(
    ledger: Ledger, log: list[MutableMapping[str, Any]]
) -> None:
    def fails() -> None:
        raise Oops

    told: list[str] = []
    async with ledger.unit_of_work() as unit:
        unit.after_commit(fails)
        unit.after_commit(lambda: told.append("after"))
    assert told == ["after"]
    assert [(line["event"], line["error"]) for line in log] == [("catga.after_commit_failed", "Oops")]


async def test_a_cancelled_commit_is_awaited_to_its_end_and_told_before_the_cancellation_goes_on(
    ledger: Ledger,
) -> None:
    ledger.pace = asyncio.Event()
    told: list[str] = []

    async def commits() -> None:
        async with ledger.unit_of_work() as unit:
            unit.after_commit(lambda: told.append("after"))

    task = asyncio.create_task(commits())
    await _until_begun(ledger)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    ledger.pace.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ledger.notes == ["begun", "committed"]
    assert told == ["after"]


async def test_a_cancelled_rollback_is_awaited_to_its_end(ledger: Ledger) -> None:
    ledger.pace = asyncio.Event()

    async def fails() -> None:
        async with ledger.unit_of_work():
            raise Oops

    task = asyncio.create_task(fails())
    await _until_begun(ledger)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    ledger.pace.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ledger.notes == ["begun", "rolled back"]


async def test_a_block_is_entered_once(ledger: Ledger) -> None:
    block = ledger.unit_of_work()
    async with block:
        pass
    with pytest.raises(RuntimeError, match=r"Call unit_of_work\(\) for every block"):
        async with block:
            pass


async def _until_begun(ledger: Ledger) -> None:
    async with asyncio.timeout(5):
        while "begun" not in ledger.notes:
            await asyncio.sleep(0)
