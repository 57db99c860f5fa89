"""What is added to journals by the process that runs the saga, and by no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from catga_core.errors import ConflictError, LeaseLostError
from catga_core.interfaces import SagaClaim, SagaKind, SagaPause, SagaState, SagaStore
from catga_testing.contracts.stores.place import StoreTime
from catga_testing.contracts.stores.records import EVERY_BYTE, ODD_DATA
from catga_testing.contracts.stores.sagas.base import (
    AMPLE,
    DONE,
    NAME,
    SagaContractBase,
    TwoSagaStores,
    begun,
    ids,
    taken,
)

Owned: TypeAlias = Callable[[SagaStore, SagaClaim], Awaitable[None]]


async def _append(sagas: SagaStore, claim: SagaClaim) -> None:
    await sagas.append(claim, [b"late"], after=1, state=SagaState.COMPENSATING)


async def _release(sagas: SagaStore, claim: SagaClaim) -> None:
    await sagas.release(claim, [b"late"], after=1, pause=SagaPause(SagaState.COMPENSATED))


async def _rewrite(sagas: SagaStore, claim: SagaClaim) -> None:
    await sagas.rewrite(claim, [b"late"], version=9, data=b"late", state=SagaState.COMPENSATING)


WRITES: dict[str, Owned] = {"append": _append, "release": _release, "rewrite": _rewrite}
"""What only the holder of the last claim may do."""


class SagaJournalContract(SagaContractBase):
    """Entries keep their order and their bytes, and none is there twice."""

    async def test_entries_come_back_in_order(self, saga_stores: TwoSagaStores) -> None:
        """Every byte, of several in one write, and of none."""
        one, other = saga_stores
        claim = await begun(one, "o-1")

        await one.append(claim, ODD_DATA, after=0)
        await other.append(claim, [], after=len(ODD_DATA))
        await other.append(claim, [b"last"], after=len(ODD_DATA))

        found = await one.read("o-1")
        assert found is not None
        assert list(found.entries) == [*ODD_DATA, b"last"]
        assert found.record.entries == len(ODD_DATA) + 1

    async def test_append_changes_state_and_time(self, sagas: SagaStore, time: StoreTime) -> None:
        """The lease and all other fields stay."""
        claim = await begun(sagas, "o-1")
        begin = await sagas.get("o-1")
        await time.passes(0.1)

        await sagas.append(claim, [b"1"], after=0)
        first = await sagas.get("o-1")
        await sagas.append(claim, [], after=1, state=SagaState.COMPENSATING)
        second = await sagas.get("o-1")
        await sagas.append(claim, [b"2"], after=1)
        third = await sagas.get("o-1")

        assert begin is not None
        assert first is not None
        assert second is not None
        assert third is not None
        assert [each.state for each in (first, second, third)] == [
            SagaState.RUNNING,
            SagaState.COMPENSATING,
            SagaState.COMPENSATING,
        ]
        assert [each.entries for each in (first, second, third)] == [1, 1, 2]
        assert first.updated_at >= begin.updated_at + 0.09 * time.lease
        assert [
            (each.saga, each.due_at, each.leased, each.created_at) for each in (first, second, third)
        ] == [(begin.saga, begin.due_at, True, begin.created_at)] * 3

    async def test_concurrent_appends_keep_their_order(self, sagas: SagaStore) -> None:
        """Those of one process are written in the order of the calls."""
        claim = await begun(sagas, "o-1")

        await asyncio.gather(*(sagas.append(claim, [b"%d" % at], after=at) for at in range(50)))

        found = await sagas.read("o-1")
        assert found is not None
        assert list(found.entries) == [b"%d" % at for at in range(50)]

    async def test_repeated_append_changes_nothing(self, saga_stores: TwoSagaStores, time: StoreTime) -> None:
        """Its outcome was unknown to the caller, who asks again; more entries may follow it then."""
        one, other = saga_stores
        claim = await begun(one, "o-1")
        await one.append(claim, [b"1", b"2"], after=0, state=SagaState.COMPENSATING)
        before = await one.read("o-1")
        await time.passes(0.1)

        for sagas in saga_stores:
            await sagas.append(claim, [b"1", b"2"], after=0, state=SagaState.COMPENSATING)
        assert await one.read("o-1") == before
        await other.append(claim, [b"2", b"3"], after=1)

        found = await one.read("o-1")
        assert found is not None
        assert list(found.entries) == [b"1", b"2", b"3"]

    async def test_append_after_missing_entries_is_refused(self, sagas: SagaStore) -> None:
        """A write between them failed; the journal has no gap."""
        claim = await begun(sagas, "o-1")
        await sagas.append(claim, [b"1"], after=0)
        before = await sagas.read("o-1")

        with pytest.raises(ConflictError):
            await sagas.append(claim, [b"3"], after=2, state=SagaState.COMPENSATING)
        with pytest.raises(ConflictError):
            await sagas.release(claim, [], after=2, pause=DONE)

        assert await sagas.read("o-1") == before
        await sagas.append(claim, [b"2"], after=1)

    @pytest.mark.parametrize("write", WRITES)
    async def test_former_owner_writes_nothing(
        self, saga_stores: TwoSagaStores, time: StoreTime, write: str
    ) -> None:
        """Another process has taken the saga over."""
        one, other = saga_stores
        former = await begun(one, "o-1", lease=time.lease)
        await one.append(former, [b"1"], after=0)
        await time.passes(1.1)
        [current] = await taken(other)
        before = await other.read("o-1")

        with pytest.raises(LeaseLostError):
            await WRITES[write](one, former)

        assert await other.read("o-1") == before
        assert current.claim.fencing_token > former.fencing_token
        await WRITES[write](other, current.claim)

    @pytest.mark.parametrize("write", WRITES)
    async def test_released_saga_is_not_written(self, sagas: SagaStore, write: str) -> None:
        """Nor one of another transaction id, nor one that is not there."""
        claim = await begun(sagas, "o-1")
        other = await begun(sagas, "o-2")
        await sagas.release(claim, [b"1"], after=0, pause=DONE)
        before = [await sagas.read(name) for name in ("o-1", "o-2")]

        for lost in (claim, SagaClaim("o-2", claim.fencing_token), SagaClaim("o-3", other.fencing_token)):
            with pytest.raises(LeaseLostError):
                await WRITES[write](sagas, lost)

        assert [await sagas.read(name) for name in ("o-1", "o-2")] == before

    @pytest.mark.parametrize("write", WRITES)
    async def test_claim_without_a_successor_writes(
        self, sagas: SagaStore, time: StoreTime, write: str
    ) -> None:
        """Its lease has expired, but no other process has taken the saga over."""
        claim = await begun(sagas, "o-1", lease=time.lease)
        await sagas.append(claim, [b"1"], after=0)
        await time.passes(1.1)

        await WRITES[write](sagas, claim)

        found = await sagas.read("o-1")
        assert found is not None
        assert found.entries[-1] == b"late"

    async def test_removed_saga_that_begins_again_has_no_former_owner(
        self, sagas: SagaStore, time: StoreTime
    ) -> None:
        """Fencing tokens of a transaction id rise, also after the saga was pruned."""
        former = await begun(sagas, "o-1")
        await sagas.release(former, [], after=0, pause=DONE)
        await time.passes(0.1)
        assert await sagas.prune(older_than=0.0) == 1

        current = await begun(sagas, "o-1")

        assert current.fencing_token > former.fencing_token
        with pytest.raises(LeaseLostError):
            await sagas.append(former, [b"1"], after=0)

    async def test_rewrite_replaces_journal_data_and_version(self, sagas: SagaStore) -> None:
        """By a shorter or a longer one; what was requested or ended before is forgotten."""
        claim = await begun(sagas, "o-1", deadline=7.5, parent="p")
        await sagas.append(claim, [b"1", b"2", b"3"], after=0)
        pause = SagaPause(SagaState.WAITING, problem=b"changed", outcome=b"none")
        await sagas.release(claim, [], after=3, pause=pause)
        await sagas.cancel("o-1")
        claimed = await sagas.claim("o-1", lease=AMPLE)
        assert claimed is not None
        assert claimed.record.cancelling

        await sagas.rewrite(claimed.claim, [b"new"], version=2, data=EVERY_BYTE, state=SagaState.RUNNING)
        short = await sagas.read("o-1")
        await sagas.rewrite(
            claimed.claim, [b"a", b"b", b"c", b"d"], version=2, data=b"", state=SagaState.RUNNING
        )
        long = await sagas.read("o-1")

        assert short is not None
        assert long is not None
        assert list(short.entries) == [b"new"]
        assert list(long.entries) == [b"a", b"b", b"c", b"d"]
        record = short.record
        assert (record.saga.version, record.saga.data) == (2, EVERY_BYTE)
        assert (record.saga.deadline, record.saga.parent) == (7.5, "p")
        assert (record.state, record.entries, record.leased) == (SagaState.RUNNING, 1, True)
        assert (record.cancelling, record.outcome, record.problem) == (False, None, None)
        assert record.due_at == claimed.record.due_at
        assert (long.record.entries, long.record.saga.data) == (4, b"")
        await sagas.append(claimed.claim, [b"e"], after=4)

    async def test_rewritten_saga_is_of_its_new_version(self, sagas: SagaStore, time: StoreTime) -> None:
        """Processes that run this version take it over."""
        claim = await begun(sagas, "o-1", lease=time.lease)
        await sagas.rewrite(claim, [], version=2, data=b"new", state=SagaState.RUNNING)
        await time.passes(1.1)

        old = await taken(sagas)
        [new] = await taken(sagas, _version(2))
        await sagas.rewrite(new.claim, [], version=3, data=b"new", state=SagaState.RUNNING)
        pause = SagaPause(SagaState.RUNNING, due_at=time.clock.time())
        await sagas.release(new.claim, [], after=0, pause=pause)

        assert old == []
        assert new.record.saga.version == 2
        assert await taken(sagas, _version(1), _version(2)) == []
        assert ids(await taken(sagas, _version(3))) == ["o-1"]

    async def test_long_journals_come_back(self, sagas: SagaStore) -> None:
        """A thousand entries, and big ones."""
        claim = await begun(sagas, "o-1")
        entries = [b"%d" % number for number in range(1000)]
        for at in range(0, 1000, 250):
            await sagas.append(claim, entries[at : at + 250], after=at)
        big = [EVERY_BYTE * 1024, EVERY_BYTE * 4096]
        await sagas.release(claim, big, after=1000, pause=SagaPause(SagaState.RUNNING, due_at=0.0))

        [found] = await taken(sagas)

        assert list(found.entries) == entries + big


def _version(number: int) -> SagaKind:
    return SagaKind(NAME, number)
