"""Memberships: who is alive in a group, by the storage's clock."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from catga_core.interfaces import MembershipStore, Stores
from catga_testing.contracts.kept import needs
from catga_testing.contracts.stores.base import StoresContractBase, both
from catga_testing.contracts.stores.place import Place, StoreTime
from catga_testing.contracts.stores.records import ODD_NAMES

Two = tuple[MembershipStore, MembershipStore]


class MembershipContract(StoresContractBase):
    """The tests a `MembershipStore` has to pass."""

    ports: ClassVar[tuple[Any, ...]] = (MembershipStore,)

    @pytest.fixture
    def memberships(self, stores: Stores) -> MembershipStore:
        """Return the membership store."""
        return stores[MembershipStore]

    @pytest.fixture
    def two(self, pair: tuple[Stores, Stores]) -> Two:
        """Return the membership stores of one process or of two."""
        return both(pair, MembershipStore)

    async def test_announced_members_are_alive(self, two: Two, time: StoreTime) -> None:
        """Each caller gets every living member, itself included, in the order of their names."""
        one, other = two

        assert await one.announce("mail", "b", lease=time.ample) == ["b"]
        assert await other.announce("mail", "a", lease=time.ample) == ["a", "b"]
        assert await one.announce("mail", "b", lease=time.ample) == ["a", "b"]

        assert await one.members("mail") == await other.members("mail") == ["a", "b"]

    async def test_group_without_members_is_empty(self, memberships: MembershipStore) -> None:
        """Nothing has to be created first."""
        assert await memberships.members("mail") == []
        assert await memberships.leave("mail", "a") is False

    async def test_member_is_dead_after_its_lease(self, two: Two, time: StoreTime) -> None:
        """Unless it has announced itself again; a dead member may come back."""
        one, other = two
        await one.announce("mail", "silent", lease=time.lease)
        await one.announce("mail", "renewed", lease=time.lease)
        await time.passes(0.6)
        await one.announce("mail", "renewed", lease=time.ample)
        await time.passes(0.6)

        assert await other.members("mail") == ["renewed"]
        assert await other.announce("mail", "third", lease=time.ample) == ["renewed", "third"]
        assert await other.leave("mail", "silent") is False
        assert await one.announce("mail", "silent", lease=time.ample) == ["renewed", "silent", "third"]

    async def test_shorter_lease_of_one_member_leaves_the_others_alive(
        self, two: Two, time: StoreTime
    ) -> None:
        """Each member has its own lease."""
        one, other = two
        await one.announce("mail", "long", lease=time.ample)
        await other.announce("mail", "short", lease=time.lease)

        await time.passes(1.2)

        assert await one.members("mail") == ["long"]

    async def test_member_that_leaves_is_gone_at_once(self, two: Two, time: StoreTime) -> None:
        """The others stay."""
        one, other = two
        await one.announce("mail", "a", lease=time.ample)
        await one.announce("mail", "b", lease=time.ample)

        assert await other.leave("mail", "a") is True

        assert await one.members("mail") == ["b"]
        assert await one.leave("mail", "a") is False

    async def test_many_members_announced_at_once_are_all_alive(self, two: Two, time: StoreTime) -> None:
        """None overwrites another."""
        names = [f"m-{number:02}" for number in range(20)]

        seen = await asyncio.gather(
            *(two[number % 2].announce("mail", name, lease=time.ample) for number, name in enumerate(names))
        )

        assert await two[0].members("mail") == names
        assert all(name in alive for name, alive in zip(names, seen, strict=True))

    async def test_groups_and_members_with_similar_names_are_kept_apart(
        self, memberships: MembershipStore, time: StoreTime
    ) -> None:
        """Separators, patterns, escapes, capitals, long ones."""
        for name in ODD_NAMES:
            await memberships.announce(name, f"of {name}", lease=time.ample)
            await memberships.announce("all", name, lease=time.ample)

        for name in ODD_NAMES:
            assert await memberships.members(name) == [f"of {name}"]
        assert await memberships.members("all") == sorted(ODD_NAMES)

    @pytest.mark.parametrize(("group", "member"), [("", "a"), ("mail", "")])
    async def test_empty_name_is_refused(self, memberships: MembershipStore, group: str, member: str) -> None:
        """It would be no name to find it by."""
        with pytest.raises(ValueError, match="must not be empty"):
            await memberships.announce(group, member, lease=1.0)

    @needs(durable=True)
    async def test_members_are_there_after_a_restart(
        self, place: Place, stores: Stores, time: StoreTime
    ) -> None:
        """Those whose lease still runs."""
        await stores[MembershipStore].announce("mail", "short", lease=time.lease)
        await stores[MembershipStore].announce("mail", "long", lease=time.ample)
        again = await place.reopen(stores)

        await time.passes(1.2)

        assert await again[MembershipStore].members("mail") == ["long"]
