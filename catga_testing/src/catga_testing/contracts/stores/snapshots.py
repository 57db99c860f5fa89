"""Snapshots: the newest ones of a stream, by kind and shape."""

from __future__ import annotations

import asyncio

import pytest

from catga_core.interfaces import Snapshot, SnapshotStore, Stores
from catga_testing.contracts.kept import needs
from catga_testing.contracts.stores.base import StoresContractBase, both
from catga_testing.contracts.stores.place import Place
from catga_testing.contracts.stores.records import ODD_DATA, ODD_NAMES, ODD_PAIRS, snapshot


class SnapshotsContract(StoresContractBase):
    """A snapshot comes back as it was, as long as it is among the newest."""

    @pytest.fixture
    def snapshots(self, stores: Stores) -> SnapshotStore:
        """Return the snapshot store."""
        return stores[SnapshotStore]

    async def test_a_stream_without_a_snapshot_has_none(self, snapshots: SnapshotStore) -> None:
        """And nothing is removed of it."""
        assert await snapshots.load("orders-1", "Order", schema_version=1) is None
        assert await snapshots.delete("orders-1") == 0

    @pytest.mark.parametrize("data", ODD_DATA, ids=lambda data: f"{len(data)} bytes {data[:3].hex()}")
    async def test_a_snapshot_comes_back_as_it_was(self, snapshots: SnapshotStore, data: bytes) -> None:
        """Every field and every byte."""
        given = Snapshot("orders: {1}", 2**40, "Order*é", 2**31 - 1, "msgpack+ü", data, 2**53 - 1)

        await snapshots.save(given)

        assert await snapshots.load("orders: {1}", "Order*é", schema_version=2**31 - 1) == given

    async def test_the_newest_is_loaded_by_version(self, pair: tuple[Stores, Stores]) -> None:
        """Whatever the order in which they were saved."""
        one, other = both(pair, SnapshotStore)
        given = {version: snapshot("orders-1", version) for version in (10, 30, 20)}
        for each in given.values():
            await one.save(each, keep=9)

        assert await other.load("orders-1", "Order", schema_version=1) == given[30]
        for asked, version in ((100, 30), (30, 30), (29, 20), (10, 10)):
            found = await other.load("orders-1", "Order", schema_version=1, max_version=asked)
            assert found == given[version]
        assert await other.load("orders-1", "Order", schema_version=1, max_version=9) is None

    async def test_snapshots_of_another_shape_are_passed_over(self, snapshots: SnapshotStore) -> None:
        """Also newer ones."""
        old, new = snapshot("orders-1", 10), snapshot("orders-1", 20, schema_version=2)
        await snapshots.save(old, keep=2)
        await snapshots.save(new, keep=2)

        assert await snapshots.load("orders-1", "Order", schema_version=1) == old
        assert await snapshots.load("orders-1", "Order", schema_version=2) == new
        assert await snapshots.load("orders-1", "Order", schema_version=3) is None

    async def test_one_of_the_same_version_is_replaced(self, snapshots: SnapshotStore) -> None:
        """And not kept beside it."""
        first, second = snapshot("orders-1", 10), snapshot("orders-1", 10)
        await snapshots.save(snapshot("orders-1", 5), keep=2)
        await snapshots.save(first, keep=2)

        await snapshots.save(second, keep=2)

        assert await snapshots.load("orders-1", "Order", schema_version=1) == second
        assert await snapshots.delete("orders-1") == 2

    @pytest.mark.parametrize("keep", [1, 2, 3])
    async def test_as_many_of_the_newest_stay_as_are_asked_for(
        self, snapshots: SnapshotStore, keep: int
    ) -> None:
        """Those of other streams and other kinds do not count."""
        given = [snapshot("orders-1", version) for version in range(1, 6)]
        await snapshots.save(snapshot("orders-2", 1))
        await snapshots.save(snapshot("orders-1", 1, name="Stock"))

        for each in given:
            await snapshots.save(each, keep=keep)

        for each in given:
            found = await snapshots.load("orders-1", "Order", schema_version=1, max_version=each.version)
            assert found == (each if each.version > 5 - keep else None)
        assert await snapshots.load("orders-2", "Order", schema_version=1) is not None
        assert await snapshots.load("orders-1", "Stock", schema_version=1) is not None
        assert await snapshots.delete("orders-1", "Order") == keep

    async def test_an_older_one_does_not_push_out_a_newer_one(self, snapshots: SnapshotStore) -> None:
        """The version decides, not who saved last."""
        newest = snapshot("orders-1", 20)
        await snapshots.save(newest, keep=1)

        await snapshots.save(snapshot("orders-1", 10), keep=1)

        assert await snapshots.load("orders-1", "Order", schema_version=1) == newest

    async def test_the_snapshots_of_a_stream_are_removed_by_kind_or_all(
        self, snapshots: SnapshotStore
    ) -> None:
        """And counted."""
        for version in (1, 2, 3):
            await snapshots.save(snapshot("orders-1", version), keep=5)
            await snapshots.save(snapshot("orders-1", version, name="Stock"), keep=5)
        await snapshots.save(snapshot("orders-2", 1))

        assert await snapshots.delete("orders-1", "Order") == 3
        assert await snapshots.load("orders-1", "Order", schema_version=1) is None
        assert await snapshots.load("orders-1", "Stock", schema_version=1) is not None
        assert await snapshots.delete("orders-1") == 3
        assert await snapshots.delete("orders-1") == 0
        assert await snapshots.load("orders-2", "Order", schema_version=1) is not None

    async def test_streams_and_kinds_with_similar_names_are_kept_apart(
        self, snapshots: SnapshotStore
    ) -> None:
        """However they are joined."""
        names = [*ODD_PAIRS, *((name, "Order") for name in ODD_NAMES if name != "x" * 512)]
        given = [snapshot(stream_id, 1, name=name) for stream_id, name in names]

        for each in given:
            await snapshots.save(each)

        for each in given:
            assert await snapshots.load(each.stream_id, each.name, schema_version=1) == each
        assert await snapshots.delete("a:b", "c") == 1
        assert await snapshots.load("a", "b:c", schema_version=1) is not None

    async def test_many_who_save_at_once_leave_the_newest(self, pair: tuple[Stores, Stores]) -> None:
        """In one process and in two."""
        two = both(pair, SnapshotStore)
        given = [snapshot("orders-1", version) for version in range(1, 13)]

        await asyncio.gather(
            *(two[number % 2].save(each, keep=3) for number, each in enumerate(given[::-1] + given))
        )

        assert await two[1].load("orders-1", "Order", schema_version=1) == given[-1]
        assert await two[0].load("orders-1", "Order", schema_version=1, max_version=10) == given[9]
        assert await two[0].delete("orders-1") == 3

    @needs(durable=True)
    async def test_snapshots_are_there_after_a_restart(self, place: Place, stores: Stores) -> None:
        """As they were."""
        given = snapshot("orders-1", 7)
        await stores[SnapshotStore].save(given)

        again = (await place.reopen(stores))[SnapshotStore]

        assert await again.load("orders-1", "Order", schema_version=1) == given
