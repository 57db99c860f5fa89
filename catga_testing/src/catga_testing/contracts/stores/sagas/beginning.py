"""What is begun, once, and comes back as it was."""

from __future__ import annotations

import asyncio

import pytest

from catga_core.interfaces import SagaClaim, SagaKind, SagaState, SagaStore, SavedSaga, Stores
from catga_testing.contracts.kept import needs
from catga_testing.contracts.stores.place import Place, StoreTime
from catga_testing.contracts.stores.records import NOW, ODD_DATA, ODD_NAMES
from catga_testing.contracts.stores.sagas.base import (
    AMPLE,
    DONE,
    SagaContractBase,
    TwoSagaStores,
    begun,
    ids,
    paused,
    saga,
    signal,
    taken,
)


class SagaBeginningContract(SagaContractBase):
    """A transaction id is one saga, however often and by whichever process it is begun."""

    async def test_empty_store_has_no_sagas(self, sagas: SagaStore) -> None:
        """Nothing is found, taken, cancelled or removed."""
        assert await taken(sagas) == []
        assert list(await sagas.take([], limit=10, lease=AMPLE)) == []
        assert await sagas.claim("o-1", lease=AMPLE) is None
        assert await sagas.get("o-1") is None
        assert await sagas.read("o-1") is None
        assert await sagas.cancel("o-1") is None
        assert list(await sagas.signals("topic")) == []
        assert await sagas.prune(older_than=0.0) == 0
        page = await sagas.find()
        assert (list(page.records), page.next) == ([], None)
        renewal = await sagas.renew([], lease=AMPLE)
        assert (renewal.lost, renewal.cancelling) == (frozenset(), frozenset())
        unknown = await sagas.renew([SagaClaim("o-1", 1)], lease=AMPLE)
        assert unknown.lost == {"o-1"}

    @pytest.mark.parametrize("data", ODD_DATA, ids=lambda data: f"{len(data)} bytes {data[:3].hex()}")
    async def test_saga_comes_back_as_it_was(
        self, saga_stores: TwoSagaStores, time: StoreTime, data: bytes
    ) -> None:
        """Every field and every byte, wherever it is read."""
        one, other = saga_stores
        full = saga(
            "o: {é} *",
            name="kit.Größe{}: *",
            version=2**31 - 1,
            format="msgpack+ü",
            data=data,
            deadline=NOW + 0.125,
            parent="parent: é",
        )
        now = time.clock.time()
        answer = await one.begin(full, lease=AMPLE)
        bare = await one.begin(saga("bare", data=data), lease=AMPLE)

        assert answer.created
        assert answer.claim is not None
        assert answer.claim.transaction_id == "o: {é} *"
        record = answer.record
        assert record.saga == full
        assert bare.record.saga == saga("bare", data=data)
        assert (record.state, record.entries, record.leased, record.cancelling) == (
            SagaState.RUNNING,
            0,
            True,
            False,
        )
        assert (record.outcome, record.problem) == (None, None)
        assert record.created_at == pytest.approx(now, abs=time.about(0))
        assert record.updated_at == record.created_at
        assert record.due_at == pytest.approx(now + AMPLE, abs=time.about(AMPLE))
        found = await other.get("o: {é} *")
        assert found == record
        assert found is not None
        assert isinstance(found.state, SagaState)
        assert await other.read("o: {é} *") == SavedSaga(record, [])
        assert list((await other.find()).records) == [bare.record, record]

    async def test_known_saga_is_returned_unchanged(
        self, saga_stores: TwoSagaStores, time: StoreTime
    ) -> None:
        """Running, waiting or done: with other data too, and without a claim."""
        one, other = saga_stores
        claim = await begun(one, "o-1")

        async def again() -> None:
            before = await one.get("o-1")
            for each in (saga("o-1"), saga("o-1", name="Other", data=b"other")):
                answer = await other.begin(each, lease=AMPLE, most=1)
                assert before is not None
                assert (answer.record, answer.claim, answer.created) == (before, None, False)
            assert await one.get("o-1") == before

        await again()
        await one.append(claim, [b"1"], after=0)
        await again()
        await time.passes(0.1)
        await one.release(claim, [b"2"], after=1, pause=DONE)
        await again()

    async def test_concurrent_begins_create_one_saga(self, saga_stores: TwoSagaStores) -> None:
        """One caller has the claim, and all have the same saga."""
        answers = await asyncio.gather(
            *(
                saga_stores[number % 2].begin(saga("o-1", data=b"%d" % number), lease=AMPLE)
                for number in range(20)
            )
        )

        [first] = [each for each in answers if each.created]
        assert first.claim is not None
        assert [each.claim for each in answers].count(None) == 19
        assert {each.record.saga.data for each in answers} == {first.record.saga.data}
        await saga_stores[1].append(first.claim, [b"1"], after=0)

    async def test_concurrent_sagas_are_kept_apart(self, saga_stores: TwoSagaStores) -> None:
        """Many begin, go on and end at once."""

        async def run(number: int) -> None:
            store = saga_stores[number % 2]
            claim = await begun(store, f"o-{number}")
            await asyncio.gather(
                *(store.append(claim, [b"%d.%d" % (number, step)], after=step) for step in range(3))
            )
            await store.release(claim, [b"%d.end" % number], after=3, pause=DONE)

        await asyncio.gather(*(run(number) for number in range(40)))

        for number in range(40):
            found = await saga_stores[0].read(f"o-{number}")
            assert found is not None
            assert list(found.entries) == [b"%d.%d" % (number, step) for step in range(3)] + [
                b"%d.end" % number
            ]
            assert found.record.state is SagaState.COMPLETED

    async def test_sagas_with_similar_names_are_kept_apart(self, sagas: SagaStore) -> None:
        """So are their journals, kinds, parents and topics."""
        for number, name in enumerate(ODD_NAMES):
            claim = await begun(sagas, name, name=name, parent=name)
            await sagas.append(claim, [b"%d" % number], after=0)
            assert await sagas.signal(signal(name, name))
            await paused(sagas, f"waits for {name}", topics=[f"{name}!"], name=name)

        found = await sagas.find(limit=200)
        assert sorted(each.saga.transaction_id for each in found.records) == sorted(
            [*ODD_NAMES, *(f"waits for {name}" for name in ODD_NAMES)]
        )
        for number, name in enumerate(ODD_NAMES):
            saved = await sagas.read(name)
            assert saved is not None
            assert saved.record.saga == saga(name, name=name, parent=name)
            assert list(saved.entries) == [b"%d" % number]
            assert [each.message_id for each in await sagas.signals(name, limit=10)] == [name]
        assert await taken(sagas, *(SagaKind(name, 1) for name in ODD_NAMES)) == []
        for name in ODD_NAMES:
            assert await sagas.signal(signal(name, f"{name}!"))
            assert ids(await taken(sagas, *(SagaKind(each, 1) for each in ODD_NAMES))) == [
                f"waits for {name}"
            ]

    @pytest.mark.parametrize("name", ["", "\ud800"])
    async def test_unusable_names_are_refused(self, sagas: SagaStore, name: str) -> None:
        """Before anything is written."""
        with pytest.raises(ValueError, match="transaction_id"):
            await sagas.begin(saga(name), lease=AMPLE)
        with pytest.raises(ValueError, match="topic"):
            await sagas.signal(signal("m-1", name))
        with pytest.raises(ValueError, match="message_id"):
            await sagas.signal(signal(name))

    @needs(durable=True)
    async def test_sagas_are_there_after_a_restart(
        self, place: Place, stores: Stores, time: StoreTime
    ) -> None:
        """With journals, claims, times, waits and signals."""
        sagas = stores[SagaStore]
        claim = await begun(sagas, "running")
        await sagas.append(claim, [b"1", b"2"], after=0)
        await paused(sagas, "sleeping", time.clock.time() + time.lease)
        await paused(sagas, "waiting", topics=["paid"])
        await sagas.signal(signal("m-1", "shipped"))
        before = {name: await sagas.read(name) for name in ("running", "sleeping", "waiting")}

        sagas = (await place.reopen(stores))[SagaStore]

        assert {name: await sagas.read(name) for name in before} == before
        assert await taken(sagas) == []
        await sagas.append(claim, [b"3"], after=2)
        assert [each.message_id for each in await sagas.signals("shipped")] == ["m-1"]
        assert await sagas.signal(signal("m-1", "shipped")) is False
        await sagas.signal(signal("m-2", "paid"))
        assert ids(await taken(sagas)) == ["waiting"]
        await time.passes(1.1)
        assert ids(await taken(sagas)) == ["sleeping"]
