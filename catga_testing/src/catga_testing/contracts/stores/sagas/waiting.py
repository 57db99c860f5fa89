"""What wakes those who wait for sagas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from catga_core.interfaces import SagaKind, SagaPause, SagaRecord, SagaState, SagaStore, Stores
from catga_testing.contracts.limits import PATIENCE, SOON
from catga_testing.contracts.stores.place import StoreTime, turns
from catga_testing.contracts.stores.sagas.base import (
    AMPLE,
    DONE,
    KIND,
    NAME,
    TOPIC,
    SagaContractBase,
    TwoSagaStores,
    begun,
    ids,
    paused,
    saga,
    signal,
    taken,
)


class SagaWaitingContract(SagaContractBase):
    """Whatever makes a saga due ends the wait."""

    async def test_due_saga_is_not_waited_for(self, saga_stores: TwoSagaStores) -> None:
        """It may be there since before."""
        await paused(saga_stores[0], "o-1", 1.0)

        async with asyncio.timeout(SOON):
            await saga_stores[1].wait([SagaKind("Other", 1), KIND], timeout=PATIENCE)

    @pytest.mark.parametrize("joined", [False, True])
    @pytest.mark.parametrize("act", ["release", "signal", "cancel"])
    async def test_saga_that_becomes_due_ends_the_wait(
        self, stores: Stores, sagas: SagaStore, time: StoreTime, act: str, joined: bool
    ) -> None:
        """Also by the commit of a unit of work."""
        claim = await begun(sagas, "released")
        await paused(sagas, "waiting", time.clock.time() + AMPLE, topics=[TOPIC])
        acts: dict[str, Callable[[], Awaitable[object]]] = {
            "release": lambda: sagas.release(
                claim, [], after=0, pause=SagaPause(SagaState.WAITING, due_at=1.0)
            ),
            "signal": lambda: sagas.signal(signal("m-1")),
            "cancel": lambda: sagas.cancel("waiting"),
        }

        async with _woken(sagas, "released" if act == "release" else "waiting"):
            if joined:
                async with stores.storage.unit_of_work():
                    await acts[act]()
            else:
                await acts[act]()

    async def test_saga_of_another_kind_is_not_waited_for(self, sagas: SagaStore) -> None:
        """By name or version; nor one that is leased or parked."""
        await paused(sagas, "a", 1.0, name="Other")
        await paused(sagas, "b", 1.0, version=2)
        await begun(sagas, "c")
        claim = await begun(sagas, "d")
        await sagas.release(claim, [], after=0, pause=SagaPause(SagaState.WAITING, problem=b"changed"))

        async with _woken(sagas, "e"):
            await paused(sagas, "e", 1.0)

    async def test_time_of_a_saga_ends_the_wait(self, sagas: SagaStore, time: StoreTime) -> None:
        """Also the time of one that is released meanwhile and comes first."""
        now = time.clock.time()
        await paused(sagas, "late", now + AMPLE)
        waiting = asyncio.create_task(_first_taken(sagas))
        await turns(20)
        await asyncio.sleep(0.05)
        await paused(sagas, "soon", now + time.lease)

        assert await _taken_in_time(time, waiting) == ["soon"]

    async def test_end_of_a_lease_ends_the_wait(self, sagas: SagaStore, time: StoreTime) -> None:
        """The process that had it is dead."""
        await begun(sagas, "o-1", lease=time.lease)
        waiting = asyncio.create_task(_first_taken(sagas))

        assert await _taken_in_time(time, waiting) == ["o-1"]

    async def test_room_for_the_next_saga_ends_the_wait(self, saga_stores: TwoSagaStores) -> None:
        """Not a saga that is due while there is none."""
        one, other = saga_stores
        limited = SagaKind(NAME, 1, 1)
        claim = await begun(one, "a")
        assert (await other.begin(saga("b"), lease=AMPLE, most=1)).claim is None

        async with _woken(other, "b", kind=limited):
            await one.release(claim, [], after=0, pause=DONE)

    async def test_wait_lets_other_tasks_work(self, sagas: SagaStore) -> None:
        """Also where it never has to wait."""
        await paused(sagas, "o-1", 1.0)
        working = asyncio.create_task(taken(sagas))
        for _ in range(1000):
            if working.done():
                break
            await sagas.wait([KIND], timeout=0.01)

        assert working.done()
        assert ids(await working) == ["o-1"]

    async def test_wait_ends_with_its_timeout(self, sagas: SagaStore) -> None:
        """Or with a cancellation, which does not end other waits."""
        async with asyncio.timeout(SOON):
            await sagas.wait([KIND], timeout=0.05)
            await sagas.wait([], timeout=0.01)
        waiting = [asyncio.create_task(sagas.wait([KIND], timeout=PATIENCE)) for _ in range(2)]
        await turns(10)
        waiting[0].cancel()
        await turns(2)
        await paused(sagas, "o-1", 1.0)

        async with asyncio.timeout(SOON):
            await waiting[1]
        assert waiting[0].cancelled()


class SagaEndContract(SagaContractBase):
    """The end of a saga is noticed by those who wait for it."""

    @pytest.mark.parametrize("pause", [DONE, SagaPause(SagaState.WAITING, problem=b"changed")])
    async def test_end_of_a_saga_ends_the_wait_for_it(
        self, saga_stores: TwoSagaStores, pause: SagaPause
    ) -> None:
        """It is final or parked; several may wait, and for other sagas too."""
        one, other = saga_stores
        claims = [await begun(one, name) for name in ("o-1", "o-2")]
        waiting = [
            asyncio.create_task(other.wait_final(name, timeout=PATIENCE)) for name in ("o-1", "o-1", "o-2")
        ]
        await turns(20)
        await asyncio.sleep(0.05)
        await one.append(claims[0], [b"1"], after=0)
        assert not any(each.done() for each in waiting)
        await one.release(claims[0], [b"2"], after=1, pause=pause)

        async with asyncio.timeout(SOON):
            found = [await each for each in waiting[:2]]
        assert found == [await one.get("o-1")] * 2
        assert not waiting[2].done()
        await one.release(claims[1], [], after=0, pause=pause)
        async with asyncio.timeout(SOON):
            assert await waiting[2] == await one.get("o-2")

    async def test_commit_of_the_end_ends_the_wait_for_it(self, stores: Stores, sagas: SagaStore) -> None:
        """And nothing before the commit does."""
        claim = await begun(sagas, "o-1")
        waiting: asyncio.Task[SagaRecord | None] = asyncio.create_task(
            sagas.wait_final("o-1", timeout=PATIENCE)
        )
        await turns(20)
        async with stores.storage.unit_of_work():
            await sagas.release(claim, [], after=0, pause=DONE)
            await asyncio.sleep(0.05)
            assert not waiting.done()

        async with asyncio.timeout(SOON):
            found = await waiting
        assert found is not None
        assert found.state is SagaState.COMPLETED

    async def test_ended_saga_is_not_waited_for(self, saga_stores: TwoSagaStores) -> None:
        """Nor one that is not there."""
        one, other = saga_stores
        claim = await begun(one, "o-1")
        await one.release(claim, [], after=0, pause=DONE)

        async with asyncio.timeout(SOON):
            assert await other.wait_final("o-1", timeout=PATIENCE) == await one.get("o-1")
            assert await other.wait_final("o-2", timeout=PATIENCE) is None

    async def test_wait_for_the_end_ends_with_its_timeout(self, sagas: SagaStore) -> None:
        """The saga is returned as it is then."""
        await begun(sagas, "o-1")

        async with asyncio.timeout(SOON):
            found = await sagas.wait_final("o-1", timeout=0.05)
            at_once = await sagas.wait_final("o-1", timeout=0)
        assert found is not None
        assert found == at_once == await sagas.get("o-1")


async def _first_taken(sagas: SagaStore, kind: SagaKind = KIND) -> list[str]:
    """Wait until a saga can be taken; a wait may end before that."""
    while not (found := ids(await taken(sagas, kind))):
        await sagas.wait([kind], timeout=PATIENCE)
    return found


async def _taken_in_time(time: StoreTime, waiting: asyncio.Task[list[str]]) -> list[str]:
    """Return what is taken a lease's time from now, and not before."""
    await turns(20)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await time.passes(1.0)
    async with asyncio.timeout(SOON):
        return await waiting


@asynccontextmanager
async def _woken(sagas: SagaStore, *expected: str, kind: SagaKind = KIND) -> AsyncGenerator[None, None]:
    """Have a task wait, and see that the block, and nothing before, lets it take these sagas."""
    waiting = asyncio.create_task(_first_taken(sagas, kind))
    await turns(10)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    yield
    async with asyncio.timeout(SOON):
        assert await waiting == list(expected)
