"""What is kept of a letter, and of one that comes again."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from catga_core.interfaces import DeadLetterSource, DeadLetterStore, Stores
from catga_testing.contracts.kept import needs
from catga_testing.contracts.stores.base import StoresContractBase, both
from catga_testing.contracts.stores.place import Place
from catga_testing.contracts.stores.records import FULL_CONTEXT, NOW, ODD_DATA, ODD_NAMES, letter


class DeadLetterContractBase(StoresContractBase):
    """The dead letters of one test."""

    @pytest.fixture
    def letters(self, stores: Stores) -> DeadLetterStore:
        """Return the dead letters."""
        return stores[DeadLetterStore]


class KeepingContract(DeadLetterContractBase):
    """All that is known of a message and why it failed, once for each identity."""

    async def test_there_is_nothing_at_first(self, letters: DeadLetterStore) -> None:
        """To get, to replay, to remove."""
        assert await letters.get("l-1") is None
        assert await letters.replaying("l-1") is None
        assert await letters.remove("l-1") is False
        assert await letters.count() == 0
        page = await letters.find()
        assert (list(page.letters), page.next) == ([], None)

    @pytest.mark.parametrize("data", ODD_DATA, ids=lambda data: f"{len(data)} bytes {data[:3].hex()}")
    async def test_a_letter_comes_back_as_it_was(self, letters: DeadLetterStore, data: bytes) -> None:
        """Every field and every byte."""
        full = letter(
            "l: {1}",
            source=DeadLetterSource.PROJECTION,
            handler="Größe*",
            name="kit.注文",
            schema_version=2**31 - 1,
            format="msgpack+ü",
            data=data,
            context=FULL_CONTEXT,
            code="OUR_OWN",
            message='no "address"\nat \N{SNOWMAN} all',
            traceback="Traceback:\n  File …\n" * 100,
            attempts=2**31 - 1,
            first_failed_at=NOW + 0.25,
            last_failed_at=NOW + 86_400.5,
            replays=3,
            queue="Größe: {1}",
            key="key: {é} *",
        )
        bare = letter(handler="", message="", traceback=None, data=data)

        await letters.add(full)
        await letters.add(bare)

        found = await letters.get("l: {1}")
        assert found is not None
        assert found == full
        assert dict(found.context.headers) == dict(FULL_CONTEXT.headers)
        assert await letters.get(bare.id) == bare
        assert list((await letters.find()).letters) == [full, bare]

    async def test_a_letter_that_comes_again_is_replaced(self, pair: tuple[Stores, Stores]) -> None:
        """Its attempts are added up, its first failure and its replays stay."""
        one, other = both(pair, DeadLetterStore)
        first = letter("l-1", attempts=3, code="TIMEOUT", traceback="there", queue="mails", key="a")
        await one.add(first)
        await other.replaying("l-1")
        again = letter(
            "l-1", attempts=2, code="HANDLER_FAILED", first_failed_at=NOW + 60, last_failed_at=NOW + 61
        )

        await other.add(again)

        assert await one.get("l-1") == msgspec.structs.replace(
            again, attempts=5, first_failed_at=first.first_failed_at, replays=1
        )
        assert await one.count() == 1

    async def test_attempts_of_many_who_add_it_at_once_are_all_counted(
        self, pair: tuple[Stores, Stores]
    ) -> None:
        """And there is one letter."""
        two = both(pair, DeadLetterStore)

        await asyncio.gather(*(two[number % 2].add(letter("l-1", attempts=2)) for number in range(12)))

        found = await two[0].get("l-1")
        assert found is not None
        assert found.attempts == 24
        assert await two[1].count() == 1

    async def test_replays_are_counted(self, pair: tuple[Stores, Stores]) -> None:
        """Before it is replayed, and given back with the letter; also by many at once."""
        two = both(pair, DeadLetterStore)
        given = letter("l-1")
        await two[0].add(given)

        first = await two[1].replaying("l-1")
        await asyncio.gather(*(two[number % 2].replaying("l-1") for number in range(6)))

        assert first == msgspec.structs.replace(given, replays=1)
        assert await two[0].get("l-1") == msgspec.structs.replace(given, replays=7)

    async def test_a_removed_letter_is_gone(self, pair: tuple[Stores, Stores]) -> None:
        """Once, and when it comes again it is a new one."""
        one, other = both(pair, DeadLetterStore)
        await one.add(letter("l-1", attempts=3))
        await one.add(letter("l-2"))

        assert await other.remove("l-1") is True
        assert await one.remove("l-1") is False

        assert await one.get("l-1") is None
        assert await one.count() == 1
        await one.add(letter("l-1", attempts=1))
        found = await one.get("l-1")
        assert found is not None
        assert found.attempts == 1

    async def test_letters_with_similar_ids_are_kept_apart(self, letters: DeadLetterStore) -> None:
        """Separators, patterns, escapes, capitals, long ones."""
        given = [letter(name) for name in ODD_NAMES]
        for each in given:
            await letters.add(each)

        assert [await letters.get(name) for name in ODD_NAMES] == given
        assert await letters.count() == len(given)

    @needs(durable=True)
    async def test_letters_are_there_after_a_restart(self, place: Place, stores: Stores) -> None:
        """In their order."""
        given = [letter(f"l-{number}") for number in (3, 1, 2)]
        letters = stores[DeadLetterStore]
        for each in given:
            await letters.add(each)

        letters = (await place.reopen(stores))[DeadLetterStore]
        await letters.add(letter("l-0"))

        assert [each.id for each in (await letters.find()).letters] == ["l-3", "l-1", "l-2", "l-0"]
        assert await letters.get("l-1") == given[1]
