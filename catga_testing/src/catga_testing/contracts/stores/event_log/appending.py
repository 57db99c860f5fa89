"""What an append does, and when it is refused."""

from __future__ import annotations

import pytest

from catga_core import ConcurrencyError, ErrorCode
from catga_core.interfaces import ANY, NO_STREAM, AppendResult, EventLog, Stores
from catga_testing.contracts.stores.event_log.base import EventLogContractBase, everything, ids, stream
from catga_testing.contracts.stores.records import appends, guards, record, records


class AppendingContract(EventLogContractBase):
    """Versions count a stream's events; a stream at another version than expected is left as it is."""

    async def test_a_log_begins_empty(self, log: EventLog) -> None:
        """A stream nobody wrote has no events, and is at version 0."""
        assert await log.head() == 0
        assert await log.version("orders-1") == 0
        assert await stream(log, "orders-1") == []
        assert await log.read_all(after=0, limit=10) == []

    async def test_the_first_event_of_a_stream_is_version_1(self, log: EventLog) -> None:
        """And positions rise from 1."""
        first = record()

        [result] = await log.append([appends("orders-1", first, expected=NO_STREAM)])

        [stored] = await stream(log, "orders-1")
        assert (stored.stream_id, stored.version, stored.record) == ("orders-1", 1, first)
        assert stored.position >= 1
        assert (result.version, result.position) == (1, stored.position)

    async def test_a_result_tells_the_last_events_version_and_position(self, log: EventLog) -> None:
        """Of all that was appended to that stream."""
        given = records(3)
        [before] = await log.append([appends("orders-1", *records(2))])

        [result] = await log.append([appends("orders-1", *given, expected=2)])

        stored = await stream(log, "orders-1")
        assert [each.record for each in stored[2:]] == given
        assert [each.version for each in stored] == [1, 2, 3, 4, 5]
        assert result.version == await log.version("orders-1") == 5
        assert before.position < result.position == stored[-1].position == await log.head()

    async def test_streams_count_for_themselves(self, log: EventLog) -> None:
        """The version is the stream's, the position the log's."""
        for _ in range(3):
            await log.append([appends("orders-1")])
            await log.append([appends("orders-2")])

        one, two = await stream(log, "orders-1"), await stream(log, "orders-2")
        assert [each.version for each in one] == [each.version for each in two] == [1, 2, 3]
        order = [each.position for pair in zip(one, two, strict=True) for each in pair]
        assert order == sorted(set(order))

    @pytest.mark.parametrize(("there", "expected"), [(2, NO_STREAM), (2, 1), (2, 3), (0, 1), (0, 7)])
    async def test_another_version_than_expected_is_refused_naming_both(
        self, log: EventLog, there: int, expected: int
    ) -> None:
        """And nothing is written."""
        before = records(there)
        if before:
            await log.append([appends("orders-1", *before)])
        head = await log.head()

        with pytest.raises(ConcurrencyError, match="orders-1") as raised:
            await log.append([appends("orders-1", *records(2), expected=expected)])

        assert (raised.value.stream_id, raised.value.expected, raised.value.actual) == (
            "orders-1",
            expected,
            there,
        )
        assert raised.value.code == ErrorCode.CONFLICT
        assert await ids(log, "orders-1") == [each.message_id for each in before]
        assert await log.head() == head

    async def test_any_takes_whatever_version_there_is(self, log: EventLog) -> None:
        """None, and many."""
        [first] = await log.append([appends("orders-1", expected=ANY)])
        [second] = await log.append([appends("orders-1", *records(3), expected=ANY)])

        assert (first.version, second.version) == (1, 4)

    async def test_several_streams_are_appended_to_at_once(self, log: EventLog) -> None:
        """One result for each, in their order."""
        await log.append([appends("stock-1", *records(4))])

        results = await log.append(
            [
                appends("orders-1", *records(2), expected=NO_STREAM),
                appends("stock-1", expected=4),
                appends("mail", *records(3)),
            ]
        )

        assert [each.version for each in results] == [2, 5, 3]
        for stream_id, result in zip(("orders-1", "stock-1", "mail"), results, strict=True):
            assert (await stream(log, stream_id))[-1].position == result.position

    async def test_a_conflict_in_one_of_several_streams_leaves_all_as_they_were(self, log: EventLog) -> None:
        """All or nothing, whichever it is."""
        await log.append([appends("stock-1", *records(2))])
        before = await everything(log)

        for order in (1, -1):
            several = [
                appends("orders-1", *records(2), expected=NO_STREAM),
                appends("stock-1", expected=1),
                appends("mail"),
            ]
            with pytest.raises(ConcurrencyError) as raised:
                await log.append(several[::order])
            assert (raised.value.stream_id, raised.value.expected, raised.value.actual) == ("stock-1", 1, 2)

        assert await everything(log) == before
        assert await log.version("orders-1") == await log.version("mail") == 0

    async def test_a_stream_can_guard_what_is_appended_to_others(self, log: EventLog) -> None:
        """Without events of its own: at its version all is done, and it stays as it is."""
        await log.append([appends("rules", *records(2))])

        results = await log.append(
            [guards("rules", 2), appends("orders-1"), guards("nobody", NO_STREAM), guards("mail", ANY)]
        )

        assert [each.version for each in results] == [2, 1, 0, 0]
        assert results[1].position == await log.head()
        assert {each.position for each in (results[0], *results[2:])} == {0}
        assert [each.stream_id for each in await everything(log)] == ["rules", "rules", "orders-1"]
        assert await log.version("nobody") == await log.version("mail") == 0

    @pytest.mark.parametrize("expected", [NO_STREAM, 1, 3])
    async def test_a_guard_at_another_version_keeps_everything_from_being_written(
        self, log: EventLog, expected: int
    ) -> None:
        """It is named, as a stream that is appended to would be, wherever it stands."""
        await log.append([appends("rules", *records(2))])
        before = await everything(log)

        for order in (1, -1):
            with pytest.raises(ConcurrencyError) as raised:
                await log.append([guards("rules", expected), appends("orders-1"), appends("mail")][::order])
            assert (raised.value.stream_id, raised.value.expected, raised.value.actual) == (
                "rules",
                expected,
                2,
            )

        assert await everything(log) == before
        assert await log.version("orders-1") == await log.version("mail") == 0

    async def test_guards_alone_are_a_check(self, log: EventLog) -> None:
        """Answered with the versions, or refused; nothing is written, and a stream they name can still be begun."""
        await log.append([appends("rules", *records(2))])
        before = await everything(log)

        assert await log.append([guards("rules", ANY), guards("nobody", NO_STREAM)]) == [
            AppendResult(2, 0),
            AppendResult(0, 0),
        ]
        with pytest.raises(ConcurrencyError, match="nobody"):
            await log.append([guards("rules", 2), guards("nobody", 1)])

        assert await everything(log) == before
        [begun] = await log.append([appends("nobody", expected=NO_STREAM)])
        assert begun.version == 1

    async def test_a_guard_in_a_unit_of_work_counts_what_the_unit_has_appended(
        self, log: EventLog, stores: Stores
    ) -> None:
        """And leaves nothing behind when the unit is given up."""
        await log.append([appends("rules")])

        async with stores.storage.unit_of_work():
            await log.append([guards("rules", 1)])
            await log.append([appends("rules", expected=1)])
            await log.append([guards("rules", 2), guards("orders-1", NO_STREAM), appends("mail")])
            with pytest.raises(ConcurrencyError):
                await log.append([guards("rules", 1), appends("orders-1")])

        assert await log.version("rules") == 2
        assert await log.version("mail") == 1
        assert await log.version("orders-1") == 0
