"""Finding letters by what is known of them, a page at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from catga_core import MessageContext
from catga_core.interfaces import ALL_LETTERS, DeadLetter, DeadLetterFilter, DeadLetterSource, DeadLetterStore
from catga_testing.contracts.limits import PATIENCE
from catga_testing.contracts.stores.dead_letters.keeping import DeadLetterContractBase
from catga_testing.contracts.stores.records import NOW, letter

FILTERS: list[tuple[DeadLetterFilter, str]] = [
    (ALL_LETTERS, "abcde"),
    (DeadLetterFilter(source=DeadLetterSource.OUTBOX), "c"),
    (DeadLetterFilter(source=DeadLetterSource.PROJECTION), ""),
    (DeadLetterFilter(handler="SendEmail"), "ab"),
    (DeadLetterFilter(handler=""), "c"),
    (DeadLetterFilter(name="kit.Paid"), "bd"),
    (DeadLetterFilter(code="TIMEOUT"), "ae"),
    (DeadLetterFilter(code="timeout"), ""),
    (DeadLetterFilter(failed_after=NOW + 20), "cde"),
    (DeadLetterFilter(failed_before=NOW + 20), "a"),
    (DeadLetterFilter(failed_after=NOW + 10, failed_before=NOW + 50), "bcd"),
    (DeadLetterFilter(source=DeadLetterSource.QUEUE), "d"),
    (DeadLetterFilter(queue="mails"), "bd"),
    (DeadLetterFilter(queue=""), "ac"),
    (DeadLetterFilter(queue="Mails"), "e"),
    (DeadLetterFilter(key="k: é"), "be"),
    (DeadLetterFilter(key=""), "d"),
    (DeadLetterFilter(key="none"), ""),
    (DeadLetterFilter(queue="mails", key="k: é"), "b"),
    (DeadLetterFilter(message_id="m: é"), "ce"),
    (DeadLetterFilter(message_id="M: é"), ""),
    (DeadLetterFilter(message_id="m: é", code="TIMEOUT"), "e"),
    (DeadLetterFilter(handler="SendEmail", code="TIMEOUT"), "a"),
    (DeadLetterFilter(handler="SendEmail", code="TIMEOUT", name="kit.Paid"), ""),
]
"""Filters, and which of the letters of `several` they mean."""


async def several(letters: DeadLetterStore) -> dict[str, DeadLetter]:
    """Keep five letters that differ, in the order of their ids, each having failed ten seconds after the one before."""
    # One message that two have failed for.
    context = MessageContext("m: é", "m: é")
    given = {
        "a": letter("a", handler="SendEmail", name="kit.Placed", code="TIMEOUT"),
        "b": letter(
            "b", handler="SendEmail", name="kit.Paid", code="HANDLER_FAILED", queue="mails", key="k: é"
        ),
        "c": letter(
            "c", handler="", source=DeadLetterSource.OUTBOX, code="TRANSPORT_FAILED", context=context
        ),
        "d": letter(
            "d",
            handler="SendEmail*",
            name="kit.Paid",
            code="HANDLER_FAILED",
            source=DeadLetterSource.QUEUE,
            queue="mails",
            key="",
        ),
        "e": letter(
            "e",
            handler="sendemail",
            name="kit.Placed",
            code="TIMEOUT",
            queue="Mails",
            key="k: é",
            context=context,
        ),
    }
    for number, (name, each) in enumerate(given.items(), 1):
        given[name] = msgspec.structs.replace(each, last_failed_at=NOW + 10 * number)
        await letters.add(given[name])
    return given


async def pages(
    letters: DeadLetterStore,
    wanted: DeadLetterFilter = ALL_LETTERS,
    *,
    limit: int,
    between: Callable[[int], list[str]] | None = None,
) -> list[str]:
    """Return the ids of all pages.

    Args:
        letters: Where.
        wanted: Which ones.
        limit: How many on a page.
        between: Tells which letters to remove after a page, given its number; one new letter is added besides.
    """
    found: list[str] = []
    after: str | None = None
    async with asyncio.timeout(PATIENCE):
        for number in range(100):
            page = await letters.find(wanted, after=after, limit=limit)
            assert len(page.letters) <= limit
            found += [each.id for each in page.letters]
            after = page.next
            if after is None:
                return found
            if between is not None:
                for gone in between(number):
                    await letters.remove(gone)
                if number < 5:
                    await letters.add(letter(f"new-{number}"))
    msg = "a hundred pages, and no last one"
    raise AssertionError(msg)


class FindingContract(DeadLetterContractBase):
    """In the order in which they first came, each once, whatever happens meanwhile."""

    @pytest.mark.parametrize(("wanted", "ids"), FILTERS, ids=[str(number) for number in range(len(FILTERS))])
    async def test_a_filter_means_the_letters_that_are_all_it_says(
        self, letters: DeadLetterStore, wanted: DeadLetterFilter, ids: str
    ) -> None:
        """Found, counted, and in pages."""
        given = await several(letters)

        page = await letters.find(wanted)

        assert (list(page.letters), page.next) == ([given[each] for each in ids], None)
        assert await letters.count(wanted) == len(ids)
        assert await pages(letters, wanted, limit=1) == list(ids)
        assert await pages(letters, wanted, limit=2) == list(ids)

    @pytest.mark.parametrize(("wanted", "ids"), FILTERS, ids=[str(number) for number in range(len(FILTERS))])
    async def test_what_a_filter_means_is_purged(
        self, letters: DeadLetterStore, wanted: DeadLetterFilter, ids: str
    ) -> None:
        """And nothing else."""
        await several(letters)

        assert await letters.purge(wanted) == len(ids)

        assert await pages(letters, limit=10) == [each for each in "abcde" if each not in ids]
        assert await letters.count(wanted) == 0

    async def test_letters_come_in_the_order_in_which_they_first_came(self, letters: DeadLetterStore) -> None:
        """One that comes again keeps its place."""
        names = ["z", "m", "a", "q", "c"]
        for name in names:
            await letters.add(letter(name))
        await letters.add(letter("z", last_failed_at=NOW + 100))
        await letters.replaying("m")

        assert await pages(letters, limit=2) == names

    @pytest.mark.parametrize("limit", [1, 2, 3, 4, 6, 11, 12, 13, 100])
    async def test_pages_give_every_letter_once(self, letters: DeadLetterStore, limit: int) -> None:
        """However many are on a page."""
        names = [f"l-{number * 5 % 12}" for number in range(12)]
        for name in names:
            await letters.add(letter(name))

        assert await pages(letters, limit=limit) == names

    async def test_pages_hold_still_while_letters_come_and_go(self, letters: DeadLetterStore) -> None:
        """Who was there all the time is given once; removed ones behind, at and before the mark do no harm."""
        names = [f"l-{number}" for number in range(20)]
        for name in names:
            await letters.add(letter(name))
        # After a page of three: what was given, the last one given, and what is still to come.
        gone = {0: ["l-0", "l-2"], 1: ["l-5"], 2: ["l-9", "l-12"]}

        found = await pages(letters, limit=3, between=lambda number: gone.get(number, []))

        old = [each for each in found if not each.startswith("new-")]
        assert old == [each for each in names if each not in {"l-9", "l-12"}]
        assert found == old + [f"new-{number}" for number in range(5)]
