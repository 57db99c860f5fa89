"""An append that is tried again after an unknown outcome."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from catga_core import CatgaError, ConcurrencyError
from catga_core.errors import EventIdConflictError
from catga_core.interfaces import ANY, NO_STREAM, EventLog
from catga_testing.contracts.stores.event_log.base import EventLogContractBase, everything, ids
from catga_testing.contracts.stores.records import appends, guards, record, records


class RepeatingContract(EventLogContractBase):
    """Message ids that a stream already has are recognised, and never stored twice."""

    @pytest.mark.parametrize("expected", [ANY, NO_STREAM])
    async def test_an_append_that_is_repeated_answers_as_the_first_time(
        self, log: EventLog, expected: int
    ) -> None:
        """And writes nothing."""
        given = appends("orders-1", *records(3), expected=expected)

        first = await log.append([given])
        again = await log.append([given])

        assert again == first
        assert await ids(log, "orders-1") == [each.message_id for each in given.records]
        assert len(await everything(log)) == 3

    async def test_a_repeated_append_with_an_expected_version_is_recognised_at_the_streams_end(
        self, log: EventLog
    ) -> None:
        """After the version it expected."""
        await log.append([appends("orders-1", *records(2))])
        given = appends("orders-1", *records(2), expected=2)

        first = await log.append([given])

        assert await log.append([given]) == first
        assert await log.version("orders-1") == 4

    async def test_with_any_it_is_recognised_in_the_streams_past(self, log: EventLog) -> None:
        """However much was appended since."""
        given = appends("orders-1", *records(2))
        first = await log.append([given])
        await log.append([appends("orders-1", *records(3))])
        await log.append([appends("orders-2")])

        assert await log.append([given]) == first
        assert await log.version("orders-1") == 5

    async def test_with_an_expected_version_a_repetition_after_others_writes_nothing(
        self, log: EventLog
    ) -> None:
        """It is recognised, or refused; the caller who reads finds it there."""
        given = appends("orders-1", *records(2), expected=NO_STREAM)
        first = await log.append([given])
        await log.append([appends("orders-1", *records(3))])
        before = await everything(log)

        try:
            assert await log.append([given]) == first
        except ConcurrencyError as error:
            assert (error.expected, error.actual) == (NO_STREAM, 5)

        assert await everything(log) == before

    async def test_known_ids_after_another_version_than_expected_are_no_repetition(
        self, log: EventLog
    ) -> None:
        """The expectation tells which append is meant."""
        known = record()
        await log.append([appends("orders-1", record(), known)])

        with pytest.raises(ConcurrencyError):
            await log.append([appends("orders-1", known, expected=NO_STREAM)])

        assert await log.version("orders-1") == 2

    @pytest.mark.parametrize("expected", [ANY, 2])
    async def test_an_id_among_new_ones_is_not_stored_twice(self, log: EventLog, expected: int) -> None:
        """The new ones are stored, or the whole is refused."""
        known, new = record(), record()
        await log.append([appends("orders-1", record(), known)])

        for given in ([known, new], [new, known]):
            before = await ids(log, "orders-1")
            try:
                await log.append([appends("orders-1", *given, expected=expected)])
            except CatgaError:
                assert await ids(log, "orders-1") == before

        found = await ids(log, "orders-1")
        assert len(found) == len(set(found))

    async def test_the_same_id_in_another_stream_is_another_event(self, log: EventLog) -> None:
        """An event's identity is its stream's."""
        shared = record()

        await log.append([appends("orders-1", shared)])
        await log.append([appends("orders-2", shared, expected=NO_STREAM)])

        assert len(await everything(log)) == 2

    async def test_several_streams_are_repeated_as_one(self, log: EventLog) -> None:
        """Each answers as the first time did."""
        several = [appends("orders-1", *records(2), expected=NO_STREAM), appends("stock-1", *records(3))]

        first = await log.append(several)
        again = await log.append(several)

        assert again == first
        assert len(await everything(log)) == 5

    async def test_another_event_where_a_repetition_is_expected_is_refused(self, log: EventLog) -> None:
        """The ids decide, not the content."""
        first = record()
        await log.append([appends("orders-1", first, expected=NO_STREAM)])

        with pytest.raises(ConcurrencyError):
            await log.append([appends("orders-1", record(data=first.data), expected=NO_STREAM)])

    @pytest.mark.parametrize("expected", [ANY, NO_STREAM])
    @pytest.mark.parametrize(
        "other", [{"name": "another-event"}, {"data": b"other content"}, {"schema_version": 200}]
    )
    async def test_another_event_under_a_known_id_is_refused(
        self, log: EventLog, expected: int, other: dict[str, Any]
    ) -> None:
        """Naming the id and the stored event's version; nothing is written, to other streams neither."""
        first, second, third = records(3)
        await log.append([appends("orders-1", first, second, third)])
        before = await everything(log)
        reused = appends("orders-1", first, replace(second, **other), third, expected=expected)

        with pytest.raises(EventIdConflictError) as refused:
            await log.append([reused, appends("stock-1")])

        assert (refused.value.stream_id, refused.value.version) == ("orders-1", 2)
        assert refused.value.message_id == second.message_id
        assert not refused.value.retryable
        assert await everything(log) == before

    async def test_a_known_id_with_other_bytes_is_refused_whatever_their_size(self, log: EventLog) -> None:
        """Also where bytes, names and versions are long."""
        for number, size in enumerate((0, 200, 300, 70_000)):
            stored = record(data=b"x" * size, message_id="m" * (size % 1000 + 1), name="n" * (size % 999 + 1))
            stored = replace(stored, schema_version=size * 100_000 + 1)
            stream = f"orders-{number}"
            first = await log.append([appends(stream, stored)])

            later = replace(stored, recorded_at=stored.recorded_at + 1, correlation_id="another")
            assert await log.append([appends(stream, later)]) == first
            with pytest.raises(EventIdConflictError):
                await log.append([appends(stream, replace(stored, data=stored.data + b"y"))])
            with pytest.raises(EventIdConflictError):
                await log.append([appends(stream, replace(stored, schema_version=size + 77))])

    @pytest.mark.parametrize("expected", [ANY, NO_STREAM])
    async def test_a_guard_has_done_its_work_where_all_else_is_a_repetition(
        self, log: EventLog, expected: int
    ) -> None:
        """It is answered as the first time, though its stream has gone on; something new beside it is refused."""
        await log.append([appends("rules", *records(2))])
        given = [guards("rules", 2), appends("orders-1", expected=expected), appends("mail")]
        first = await log.append(given)
        await log.append([appends("rules")])

        assert await log.append(given) == first
        for more in ([*given, appends("stock-1")], given[:1]):
            with pytest.raises(ConcurrencyError, match="rules"):
                await log.append(more)

        assert len(await everything(log)) == 5
