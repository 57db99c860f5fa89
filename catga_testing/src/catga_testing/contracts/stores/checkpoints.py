"""Checkpoints: one position for each name, fenced off from former consumers."""

from __future__ import annotations

import asyncio

import pytest

from catga_core import CatgaError, ErrorCode, LeaseLostError
from catga_core.interfaces import Checkpoint, CheckpointStore, Stores
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import PATIENCE
from catga_testing.contracts.stores.base import StoresContractBase, both
from catga_testing.contracts.stores.place import Place, StoreTime
from catga_testing.contracts.stores.records import ODD_NAMES


class CheckpointsContract(StoresContractBase):
    """A position is the one that was saved last, by whoever may."""

    @pytest.fixture
    def checkpoints(self, stores: Stores) -> CheckpointStore:
        """Return the checkpoint store."""
        return stores[CheckpointStore]

    async def test_a_consumer_that_never_saved_has_no_checkpoint(self, checkpoints: CheckpointStore) -> None:
        """And there is none to remove."""
        assert await checkpoints.load("totals") is None
        assert await checkpoints.list() == []
        assert await checkpoints.delete("totals") is False

    async def test_a_position_comes_back_with_its_time(
        self, pair: tuple[Stores, Stores], time: StoreTime
    ) -> None:
        """In microseconds, by the clock."""
        one, other = both(pair, CheckpointStore)
        await one.save("totals", 0)
        first = await other.load("totals")

        await time.passes(0.5)
        await one.save("totals", 2**53 - 1, fencing_token=7)

        found = await other.load("totals")
        assert first is not None
        assert found is not None
        assert found == Checkpoint("totals", 2**53 - 1, found.updated_at, 7)
        assert first == Checkpoint("totals", 0, first.updated_at, 0)
        assert found.updated_at / 1e6 == pytest.approx(time.clock.time(), abs=time.about(0), rel=0)
        assert found.updated_at - first.updated_at >= 0.4 * time.lease * 1e6

    @pytest.mark.parametrize("event_id", ["0192f0c1a2b37c4d8e9f0a1b2c3d4e5f", "a:b", "1:2:3", "ü 'x'\n"])
    async def test_event_of_a_position_comes_back(self, pair: tuple[Stores, Stores], event_id: str) -> None:
        """Until the next save, in units of work and outside of them; its id is any text."""
        one, other = both(pair, CheckpointStore)
        await one.save("totals", 4, fencing_token=1, event_id=event_id)
        found = await other.load("totals")
        assert found is not None
        assert (found.position, found.fencing_token, found.event_id) == (4, 1, event_id)
        assert await other.list() == [found]

        async with pair[0].storage.unit_of_work():
            await one.save("totals", 5, fencing_token=1, expected_position=4, event_id="next")
        found = await other.load("totals")
        assert found is not None
        assert (found.position, found.event_id) == (5, "next")

        await one.save("totals", 6, fencing_token=1, expected_position=5)
        found = await other.load("totals")
        assert found is not None
        assert (found.position, found.event_id) == (6, None)

    async def test_a_lower_position_is_kept_as_well(self, checkpoints: CheckpointStore) -> None:
        """A rebuild begins anew."""
        await checkpoints.save("totals", 100)

        await checkpoints.save("totals", 3)

        found = await checkpoints.load("totals")
        assert found is not None
        assert found.position == 3

    async def test_a_former_consumer_is_refused(self, pair: tuple[Stores, Stores]) -> None:
        """Whoever has the higher number follows now; the same number may go on."""
        one, other = both(pair, CheckpointStore)
        await one.save("totals", 5, fencing_token=1)
        await other.save("totals", 8, fencing_token=2)

        with pytest.raises(LeaseLostError, match="totals"):
            await one.save("totals", 6, fencing_token=1)

        found = await one.load("totals")
        assert found is not None
        assert (found.position, found.fencing_token) == (8, 2)
        await other.save("totals", 9, fencing_token=2)
        await one.save("others", 1, fencing_token=1)

    async def test_of_many_who_save_at_once_the_highest_number_stays(
        self, pair: tuple[Stores, Stores]
    ) -> None:
        """Whatever their order."""
        two = both(pair, CheckpointStore)
        tokens = [1 + number * 5 % 12 for number in range(12)]

        outcomes = await asyncio.gather(
            *(two[token % 2].save("totals", token * 10, fencing_token=token) for token in tokens),
            return_exceptions=True,
        )

        assert {type(each) for each in outcomes} <= {type(None), LeaseLostError}, outcomes
        found = await two[0].load("totals")
        assert found is not None
        assert (found.position, found.fencing_token) == (120, 12)

    @pytest.mark.parametrize(("there", "expected"), [(None, 1), (5, 0), (5, 4), (5, 6)])
    async def test_another_position_than_expected_is_a_conflict(
        self, checkpoints: CheckpointStore, there: int | None, expected: int
    ) -> None:
        """Nothing is written, whatever the number."""
        if there is not None:
            await checkpoints.save("totals", there, fencing_token=1)
        before = await checkpoints.load("totals")

        with pytest.raises(CatgaError, match="totals") as raised:
            await checkpoints.save("totals", 9, fencing_token=2, expected_position=expected)

        assert raised.value.code == ErrorCode.CONFLICT
        assert await checkpoints.load("totals") == before

    async def test_an_expected_position_is_gone_on_from(self, checkpoints: CheckpointStore) -> None:
        """0 where there is none, and where it is 0."""
        for expected, position in ((0, 0), (0, 5), (5, 3), (3, 7)):
            await checkpoints.save("totals", position, expected_position=expected)

        found = await checkpoints.load("totals")
        assert found is not None
        assert found.position == 7

    async def test_of_many_who_began_at_one_position_one_saves(self, pair: tuple[Stores, Stores]) -> None:
        """In units of work and outside of them."""
        two = both(pair, CheckpointStore)
        await two[0].save("totals", 5)

        async def follow(number: int) -> None:
            if number % 3:
                await two[number % 2].save("totals", 10 + number, expected_position=5)
                return
            async with pair[number % 2].storage.unit_of_work():
                await two[number % 2].save("totals", 10 + number, expected_position=5)

        async with asyncio.timeout(PATIENCE):
            outcomes = await asyncio.gather(*(follow(number) for number in range(12)), return_exceptions=True)

        [won] = [number for number, each in enumerate(outcomes) if each is None]
        lost = [each.code for each in outcomes if isinstance(each, CatgaError)]
        assert lost == [str(ErrorCode.CONFLICT)] * 11, outcomes
        found = await two[1].load("totals")
        assert found is not None
        assert found.position == 10 + won

    async def test_all_are_listed_by_name(self, checkpoints: CheckpointStore) -> None:
        """In its order."""
        for position, name in enumerate(("mail", "totals", "audit", "Zone")):
            await checkpoints.save(name, position, fencing_token=position)

        listed = await checkpoints.list()

        assert [each.name for each in listed] == ["Zone", "audit", "mail", "totals"]
        assert listed == [await checkpoints.load(each.name) for each in listed]

    async def test_a_removed_checkpoint_is_gone(self, checkpoints: CheckpointStore) -> None:
        """The others stay."""
        await checkpoints.save("totals", 1)
        await checkpoints.save("mail", 2)

        assert await checkpoints.delete("totals") is True

        assert await checkpoints.load("totals") is None
        assert [each.name for each in await checkpoints.list()] == ["mail"]

    async def test_consumers_with_similar_names_are_kept_apart(self, checkpoints: CheckpointStore) -> None:
        """Separators, patterns, escapes, capitals, long ones."""
        for position, name in enumerate(ODD_NAMES):
            await checkpoints.save(name, position)

        for position, name in enumerate(ODD_NAMES):
            found = await checkpoints.load(name)
            assert found is not None
            assert (found.name, found.position) == (name, position)
        assert {each.name for each in await checkpoints.list()} == set(ODD_NAMES)

    @needs(durable=True)
    async def test_checkpoints_are_there_after_a_restart(self, place: Place, stores: Stores) -> None:
        """With their numbers."""
        checkpoints = stores[CheckpointStore]
        await checkpoints.save("totals", 12, fencing_token=3)
        before = await checkpoints.list()

        checkpoints = (await place.reopen(stores))[CheckpointStore]

        assert await checkpoints.list() == before
        with pytest.raises(LeaseLostError):
            await checkpoints.save("totals", 1, fencing_token=2)
