"""Named values: numbers that processes agree on, changed by compare-and-set in units of work."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from catga_core import ErrorCode
from catga_core.interfaces import NamedValueConflictError, NamedValueStore, Stores
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import PATIENCE
from catga_testing.contracts.stores.base import StoresContractBase, both
from catga_testing.contracts.stores.place import Place
from catga_testing.contracts.stores.records import ODD_NAMES
from catga_testing.contracts.stores.unit_of_work.writes import Prepare, Write


async def _set(stores: Stores) -> Write:
    async def there(seen: Stores) -> bool:
        return await seen[NamedValueStore].get("kit:set") == 7

    return Write(lambda: stores[NamedValueStore].set("kit:set", 7), there)


async def _compare_and_set(stores: Stores) -> Write:
    values = stores[NamedValueStore]
    await values.set("kit:swapped", 3)

    async def there(seen: Stores) -> bool:
        return await seen[NamedValueStore].get("kit:swapped") == 4

    return Write(lambda: values.compare_and_set("kit:swapped", 4, expected=3), there)


async def _delete(stores: Stores) -> Write:
    await stores[NamedValueStore].set("kit:gone", 3)

    async def there(seen: Stores) -> bool:
        return await seen[NamedValueStore].get("kit:gone") is None

    return Write(lambda: stores[NamedValueStore].delete("kit:gone"), there)


class NamedValueContract(StoresContractBase):
    """The tests a `NamedValueStore` has to pass."""

    ports: ClassVar[tuple[Any, ...]] = (NamedValueStore,)
    writes: ClassVar[Mapping[str, Prepare]] = {
        "named_values.set": _set,
        "named_values.compare_and_set": _compare_and_set,
        "named_values.delete": _delete,
    }

    @pytest.fixture
    def values(self, stores: Stores) -> NamedValueStore:
        """Return the store of named values."""
        return stores[NamedValueStore]

    async def test_unknown_name_has_no_value(self, values: NamedValueStore) -> None:
        """And there is none to remove."""
        assert await values.get("active") is None
        assert await values.list() == {}
        assert await values.delete("active") is False

    async def test_value_is_the_one_set_last(self, pair: tuple[Stores, Stores]) -> None:
        """From 0 to 2**53 - 1."""
        one, other = both(pair, NamedValueStore)
        for value in (2**53 - 1, 0, 7):
            await one.set("active", value)
            assert await other.get("active") == value

    @pytest.mark.parametrize("value", [-1, 2**53])
    async def test_value_out_of_range_is_refused(self, values: NamedValueStore, value: int) -> None:
        """Other storages could not keep it exactly."""
        with pytest.raises(ValueError, match=r"2\*\*53"):
            await values.set("active", value)
        with pytest.raises(ValueError, match=r"2\*\*53"):
            await values.compare_and_set("active", value, expected=None)
        assert await values.get("active") is None

    async def test_expected_value_is_replaced(self, values: NamedValueStore) -> None:
        """No value, another one, the same one."""
        for expected, value in ((None, 0), (0, 5), (5, 5), (5, 3)):
            await values.compare_and_set("active", value, expected=expected)

        assert await values.get("active") == 3

    @pytest.mark.parametrize(("stored", "expected"), [(None, 0), (0, None), (5, 4), (5, None)])
    async def test_value_other_than_expected_is_a_conflict(
        self, values: NamedValueStore, stored: int | None, expected: int | None
    ) -> None:
        """Nothing is written, and the error has both values."""
        if stored is not None:
            await values.set("active", stored)

        with pytest.raises(NamedValueConflictError, match="active") as raised:
            await values.compare_and_set("active", 9, expected=expected)

        assert raised.value.code == ErrorCode.CONFLICT
        assert (raised.value.name, raised.value.expected, raised.value.actual) == ("active", expected, stored)
        assert await values.get("active") == stored

    async def test_of_many_with_one_expectation_one_succeeds(self, pair: tuple[Stores, Stores]) -> None:
        """In units of work and outside of them."""
        two = both(pair, NamedValueStore)
        await two[0].set("active", 5)

        async def change(number: int) -> None:
            if number % 3:
                await two[number % 2].compare_and_set("active", 10 + number, expected=5)
                return
            async with pair[number % 2].storage.unit_of_work():
                await two[number % 2].compare_and_set("active", 10 + number, expected=5)

        async with asyncio.timeout(PATIENCE):
            outcomes = await asyncio.gather(*(change(number) for number in range(12)), return_exceptions=True)

        [won] = [number for number, each in enumerate(outcomes) if each is None]
        assert sum(isinstance(each, NamedValueConflictError) for each in outcomes) == 11, outcomes
        assert await two[1].get("active") == 10 + won

    async def test_changes_in_one_unit_of_work_follow_each_other(
        self, stores: Stores, values: NamedValueStore
    ) -> None:
        """Each expectation is compared with what the one before has made."""
        await values.set("active", 1)

        async with stores.storage.unit_of_work():
            await values.compare_and_set("active", 2, expected=1)
            await values.set("active", 3)
            await values.compare_and_set("active", 4, expected=3)
            await values.delete("active")
            await values.compare_and_set("active", 5, expected=None)

        assert await values.get("active") == 5

    async def test_conflict_rolls_the_unit_of_work_back(
        self, stores: Stores, values: NamedValueStore
    ) -> None:
        """Raised in the block or by the commit."""
        await values.set("active", 1)

        with pytest.raises(NamedValueConflictError):
            async with stores.storage.unit_of_work():
                await values.set("others", 1)
                await values.compare_and_set("active", 3, expected=2)

        assert await values.list() == {"active": 1}

    async def test_values_are_listed_by_prefix(self, values: NamedValueStore) -> None:
        """In the order of their names; a prefix is no pattern."""
        for value, name in enumerate(("b:2", "a:1", "b*", "B", "b")):
            await values.set(name, value)

        assert list((await values.list()).items()) == [("B", 3), ("a:1", 1), ("b", 4), ("b*", 2), ("b:2", 0)]
        assert await values.list("b:") == {"b:2": 0}
        assert await values.list("b*") == {"b*": 2}

    async def test_deleted_value_is_gone(self, values: NamedValueStore) -> None:
        """The others stay."""
        await values.set("active", 0)
        await values.set("others", 1)

        assert await values.delete("active") is True

        assert await values.list() == {"others": 1}

    async def test_similar_names_are_kept_apart(self, values: NamedValueStore) -> None:
        """Separators, patterns, escapes, capitals, long ones."""
        for value, name in enumerate(ODD_NAMES):
            await values.set(name, value)

        assert await values.list() == {name: value for value, name in enumerate(ODD_NAMES)}

    @needs(durable=True)
    async def test_values_are_there_after_a_restart(self, place: Place, stores: Stores) -> None:
        """All of them."""
        await stores[NamedValueStore].set("active", 12)

        again = await place.reopen(stores)

        assert await again[NamedValueStore].list() == {"active": 12}
