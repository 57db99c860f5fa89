"""Reading one stream, all streams, and waiting for more."""

from __future__ import annotations

import asyncio
import time as real
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec
import pytest

from catga_core.clock import SystemClock
from catga_core.event_sourcing import EventTypes, LogEventStore
from catga_core.interfaces import EventLog, PayloadLog
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import PATIENCE, SOON
from catga_testing.contracts.stores.event_log.base import EventLogContractBase, everything, stream
from catga_testing.contracts.stores.place import turns
from catga_testing.contracts.stores.records import NOW, appends, record, records

_PARTS: tuple[dict[str, Any], ...] = (
    {},
    {"from_version": 3},
    {"to_version": 2},
    {"from_version": 2, "to_version": 4},
    {"from_version": 7},
    {"limit": 2},
    {"from_version": 5, "limit": 9},
)


class ReadingContract(EventLogContractBase):
    """By version within a stream, by position across all."""

    @pytest.mark.parametrize(
        ("seconds", "wanted"), [(-1, 0), (0, 1), (5, 1), (10, 2), (11, 2), (19, 2), (20, 5), (99, 5)]
    )
    async def test_a_stream_is_read_to_a_time_as_it_was_then_also_where_the_clock_stepped_back(
        self, log: EventLog, seconds: int, wanted: int
    ) -> None:
        """A prefix: never an event without those before it, in both directions."""
        times = [0, 10, 20, 5, 1]
        events = [record(recorded_at=int((NOW + time) * 1e6)) for time in times]
        await log.append([appends("orders-1", *events)])
        store = LogEventStore(log, EventTypes(), SystemClock())
        until = datetime.fromtimestamp(NOW + seconds, UTC)

        async def versions(**options: Any) -> list[int]:
            return [each.version async for each in store.read("orders-1", to_time=until, **options)]

        forward = list(range(1, wanted + 1))
        assert await versions() == forward
        assert await versions(backward=True) == forward[::-1]
        assert await versions(from_version=2, limit=2) == forward[1:3]
        assert await versions(to_version=3) == forward[:3]

    @pytest.mark.parametrize(
        ("asked", "wanted"),
        [
            ({}, [1, 2, 3, 4, 5]),
            ({"from_version": 3}, [3, 4, 5]),
            ({"to_version": 2}, [1, 2]),
            ({"from_version": 2, "to_version": 4}, [2, 3, 4]),
            ({"from_version": 2, "to_version": 99}, [2, 3, 4, 5]),
            ({"from_version": 6}, []),
            ({"from_version": 4, "to_version": 3}, []),
            ({"limit": 2}, [1, 2]),
            ({"from_version": 2, "limit": 3}, [2, 3, 4]),
            ({"backward": True}, [5, 4, 3, 2, 1]),
            ({"backward": True, "limit": 2}, [5, 4]),
            ({"backward": True, "to_version": 3}, [3, 2, 1]),
            ({"backward": True, "from_version": 2, "to_version": 4}, [4, 3, 2]),
            ({"backward": True, "from_version": 4, "limit": 9}, [5, 4]),
        ],
        ids=str,
    )
    async def test_a_stream_is_read_from_and_to_a_version_in_both_directions(
        self, log: EventLog, asked: dict[str, Any], wanted: list[int]
    ) -> None:
        """At most as many as asked for."""
        await log.append([appends("orders-1", *records(5)), appends("orders-2", *records(7))])

        found = await stream(log, "orders-1", **asked)

        assert [each.version for each in found] == wanted
        assert {each.stream_id for each in found} <= {"orders-1"}

    async def test_all_streams_are_read_in_the_order_of_their_positions(self, log: EventLog) -> None:
        """From after a position, a page at a time, and fewer than asked for means no more."""
        for number in range(20):
            await log.append([appends(f"orders-{number % 3}", *records(1 + number % 2))])

        found = await log.read_all(after=0, limit=1000)

        positions = [each.position for each in found]
        assert len(found) == 30
        assert positions == sorted(set(positions))
        assert positions[0] >= 1
        assert positions[-1] == await log.head()
        for page in (1, 7, 10, 30, 31):
            assert await everything(log, page=page) == found
        for number, position in enumerate(positions):
            assert await log.read_all(after=position, limit=2) == found[number + 1 : number + 3]
        assert await log.read_all(after=positions[-1] + 1000, limit=5) == []

    async def test_event_is_found_again_by_its_position(self, log: EventLog) -> None:
        """A consumer checks in this way that the log still has the event that it read there."""
        for number in range(5):
            await log.append([appends(f"orders-{number % 2}", *records(2))])

        found = await log.read_all(after=0, limit=1000)

        assert len(found) == 10
        for each in found:
            assert await log.read_all(after=each.position - 1, limit=1) == [each]

    async def test_both_ways_of_reading_give_the_same_events(self, log: EventLog) -> None:
        """The same records at the same versions and positions."""
        await log.append([appends("orders-1", *records(3)), appends("orders-2", *records(2))])

        by_position = await everything(log)

        by_stream = await stream(log, "orders-1") + await stream(log, "orders-2")
        assert sorted(by_stream, key=lambda each: each.position) == by_position

    payloads: ClassVar[bool] = False
    """Whether the class claims a `PayloadLog`: an event log with `read_payloads`."""

    async def test_payload_log_is_claimed(self, log: EventLog) -> None:
        """As it is."""
        actual = isinstance(log, PayloadLog)

        assert self.payloads is actual, (
            f"{type(self).__name__} claims payloads={self.payloads}. Write: payloads = {actual}"
        )

    @needs(payloads=True)
    async def test_payloads_are_the_kinds_and_bytes_of_the_same_events(self, log: EventLog) -> None:
        """As `read_stream` would read them, whatever kinds a stream has."""
        assert isinstance(log, PayloadLog)
        kinds = [("shop.paid", 1, "msgpack"), ("shop.paid", 2, "msgpack"), ("shop.sent", 1, "json")]
        stored = [
            msgspec.structs.replace(each, name=name, schema_version=version, format=format)
            for each, (name, version, format) in zip(records(6), kinds * 2, strict=True)
        ]
        await log.append([appends("orders-1", *stored), appends("orders-2", *records(3))])

        for asked in _PARTS:
            whole = [each.record for each in await stream(log, "orders-1", **asked)]
            all_of_it: dict[str, Any] = {"from_version": 1, "to_version": None, "limit": 100}
            found = await log.read_payloads("orders-1", **{**all_of_it, **asked})
            assert found == [((each.name, each.schema_version, each.format), each.data) for each in whole]
        assert await log.read_payloads("orders-3", from_version=1, to_version=None, limit=5) == []

    async def test_waiting_for_events_ends_at_once_where_there_is_an_event(self, log: EventLog) -> None:
        """It is there already."""
        await log.append([appends("orders-1")])

        async with asyncio.timeout(SOON):
            await log.wait(after=0, timeout=PATIENCE)

    async def test_an_append_of_this_process_wakes_who_waits(self, log: EventLog) -> None:
        """All of them, and at once."""
        await log.append([appends("orders-1")])
        head = await log.head()
        waiting = [asyncio.create_task(log.wait(after=head, timeout=PATIENCE)) for _ in range(3)]
        await turns(5)

        await log.append([appends("orders-1")])

        async with asyncio.timeout(SOON):
            await asyncio.gather(*waiting)

    async def test_waiting_for_events_ends_when_its_time_is_over(
        self, logs: tuple[EventLog, EventLog]
    ) -> None:
        """Real time, whatever the clock says."""
        one, other = logs
        await one.append([appends("orders-1")])
        begun = real.monotonic()

        await other.wait(after=await other.head(), timeout=0.05)

        assert real.monotonic() - begun < SOON

    async def test_who_waits_for_another_process_sees_its_event_afterwards(
        self, logs: tuple[EventLog, EventLog]
    ) -> None:
        """Told of it or not, at the latest when its time is over."""
        one, other = logs
        waiting = asyncio.create_task(other.wait(after=0, timeout=0.2))
        await turns(5)

        [result] = await one.append([appends("orders-1")])
        async with asyncio.timeout(SOON):
            await waiting

        assert [each.position for each in await everything(other)] == [result.position]

    async def test_a_cancelled_wait_for_events_harms_nobody(self, log: EventLog) -> None:
        """The others are woken as before."""
        waiting = [asyncio.create_task(log.wait(after=0, timeout=PATIENCE)) for _ in range(3)]
        await turns(5)

        waiting[1].cancel()
        await turns(2)
        await log.append([appends("orders-1")])

        async with asyncio.timeout(SOON):
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in outcomes] == [type(None), asyncio.CancelledError, type(None)]
