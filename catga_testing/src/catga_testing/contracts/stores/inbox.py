"""The inbox: which handler has had which message."""

from __future__ import annotations

import asyncio

import pytest

from catga_core import CatgaError, ErrorCode
from catga_core.errors import MessageIdConflictError
from catga_core.interfaces import InboxStore, Stores
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import PATIENCE
from catga_testing.contracts.stores.base import StoresContractBase, both
from catga_testing.contracts.stores.place import Place, StoreTime, turns
from catga_testing.contracts.stores.records import ODD_NAMES, ODD_PAIRS


class NotesContract(StoresContractBase):
    """A note is made once, and stays until it is taken back or old."""

    @pytest.fixture
    def inbox(self, stores: Stores) -> InboxStore:
        """Return the inbox."""
        return stores[InboxStore]

    async def test_only_the_first_time_is_the_first(self, pair: tuple[Stores, Stores]) -> None:
        """For each message and each handler."""
        one, other = both(pair, InboxStore)

        assert await one.record("m-1", "SendEmail") is True
        assert await one.record("m-1", "SendEmail") is False
        assert await other.record("m-1", "SendEmail") is False
        assert await other.record("m-1", "CountOrders") is True
        assert await one.record("m-2", "SendEmail") is True

    async def test_another_message_under_a_known_id_is_refused(self, pair: tuple[Stores, Stores]) -> None:
        """Of two versions only the names are compared, and unknown content counts as the same."""
        one, other = both(pair, InboxStore)
        assert await one.record("m-1", "SendEmail", fingerprint="kit.Placed@1#aa") is True

        for repeated in ("kit.Placed@1#aa", "kit.Placed@2#bb", "kit.Placed@1#", ""):
            assert await other.record("m-1", "SendEmail", fingerprint=repeated) is False
        for reused in ("kit.Placed@1#bb", "kit.Other@1#aa", "kit.Other@2#aa"):
            with pytest.raises(MessageIdConflictError) as refused:
                await other.record("m-1", "SendEmail", fingerprint=reused)
            assert refused.value.message_id == "m-1"
            assert not refused.value.retryable
        assert await other.record("m-1", "CountOrders", fingerprint="kit.Placed@1#bb") is True

    @needs(InboxStore)
    async def test_another_message_under_a_known_id_is_refused_in_a_unit_of_work(
        self, stores: Stores
    ) -> None:
        """One that was noted before the block, and one that the block has noted."""
        inbox = stores[InboxStore]
        await inbox.record("m-1", "SendEmail", fingerprint="kit.Placed@1#aa")

        async with stores.storage.unit_of_work():
            await inbox.record("m-2", "SendEmail", fingerprint="kit.Placed@1#aa")
            for known in ("m-1", "m-2"):
                with pytest.raises(MessageIdConflictError):
                    await inbox.record(known, "SendEmail", fingerprint="kit.Placed@1#bb")
                assert await inbox.record(known, "SendEmail", fingerprint="kit.Placed@1#aa") is False

    async def test_it_tells_who_has_had_what(self, pair: tuple[Stores, Stores]) -> None:
        """And asking leaves no note."""
        one, other = both(pair, InboxStore)
        assert await other.seen("m-1", "SendEmail") is False

        await one.record("m-1", "SendEmail")

        assert await other.seen("m-1", "SendEmail") is True
        assert await other.seen("m-1", "CountOrders") is False
        assert await other.seen("m-2", "SendEmail") is False

    async def test_a_note_that_is_taken_back_was_never_made(self, pair: tuple[Stores, Stores]) -> None:
        """The next time is the first again; the others stay."""
        one, other = both(pair, InboxStore)
        for handler in ("SendEmail", "CountOrders"):
            await one.record("m-1", handler)

        await other.forget("m-1", "SendEmail")
        await other.forget("m-2", "SendEmail")

        assert await one.seen("m-1", "SendEmail") is False
        assert await one.seen("m-1", "CountOrders") is True
        assert await one.record("m-1", "SendEmail") is True

    async def test_of_many_at_once_one_is_the_first(self, pair: tuple[Stores, Stores]) -> None:
        """Outside of units of work."""
        two = both(pair, InboxStore)

        first = await asyncio.gather(*(two[number % 2].record("m-1", "SendEmail") for number in range(20)))

        assert sorted(first) == [False] * 19 + [True]

    async def test_of_many_units_of_work_one_is_the_first_and_commits(
        self, pair: tuple[Stores, Stores]
    ) -> None:
        """The others are told that they are not, or that they cannot commit."""
        two = both(pair, InboxStore)

        async def handle(number: int) -> bool:
            async with pair[number % 2].storage.unit_of_work():
                first: bool = await two[number % 2].record("m-1", "SendEmail")
                await turns(number % 4)
            return first

        async with asyncio.timeout(PATIENCE):
            outcomes = await asyncio.gather(*(handle(number) for number in range(10)), return_exceptions=True)

        assert sum(each is True for each in outcomes) == 1, outcomes
        for each in outcomes:
            assert each in {True, False} or (isinstance(each, CatgaError) and each.code == ErrorCode.CONFLICT)

    async def test_after_a_rollback_the_next_is_the_first(self, pair: tuple[Stores, Stores]) -> None:
        """Also when it has waited for the other meanwhile."""
        one, other = both(pair, InboxStore)
        recorded = asyncio.Event()

        async def fail() -> None:
            async with pair[0].storage.unit_of_work():
                assert await one.record("m-1", "SendEmail") is True
                recorded.set()
                await turns(10)
                raise ZeroDivisionError

        async def follow() -> bool:
            await recorded.wait()
            async with pair[1].storage.unit_of_work():
                first: bool = await other.record("m-1", "SendEmail")
            return first

        async with asyncio.timeout(PATIENCE):
            failed, first = await asyncio.gather(fail(), follow(), return_exceptions=True)

        assert isinstance(failed, ZeroDivisionError)
        assert first is True
        assert await one.seen("m-1", "SendEmail") is True

    async def test_pruning_removes_old_notes_and_no_others(self, inbox: InboxStore, time: StoreTime) -> None:
        """At most as many as asked for."""
        for number in range(5):
            await inbox.record(f"old-{number}", "SendEmail")
        await time.passes(1.0)
        await inbox.record("new", "SendEmail")

        assert await inbox.prune(older_than=2 * time.lease) == 0
        removed = [await inbox.prune(older_than=0.5 * time.lease, limit=2) for _ in range(4)]

        assert removed == [2, 2, 1, 0]
        assert await inbox.seen("new", "SendEmail") is True
        assert [await inbox.seen(f"old-{number}", "SendEmail") for number in range(5)] == [False] * 5

    async def test_messages_and_handlers_with_similar_names_are_kept_apart(self, inbox: InboxStore) -> None:
        """However they are joined."""
        names = [*ODD_PAIRS, *((name, "SendEmail") for name in ODD_NAMES)]

        assert [await inbox.record(*each) for each in names] == [True] * len(names)
        assert [await inbox.record(*each) for each in names] == [False] * len(names)

    @needs(durable=True)
    async def test_notes_are_there_after_a_restart(self, place: Place, stores: Stores) -> None:
        """A message that comes again is known."""
        await stores[InboxStore].record("m-1", "SendEmail")

        inbox = (await place.reopen(stores))[InboxStore]

        assert await inbox.record("m-1", "SendEmail") is False
