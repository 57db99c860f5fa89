"""`LogReader`: one reader of the log for all consumers of a process."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from catga_core import CatgaError, ErrorCode
from catga_core.interfaces import AppendResult, EventRecord, RecordedEvent, StreamAppend
from catga_core.runtime import LogReader
from catga_core.runtime.log_reader import PAGE, LogEndLost, _Window  # pyright: ignore[reportPrivateUsage]
from catga_core.runtime.waiter import Waiter
from catga_testing.waiting import eventually


class Log:
    """A log in memory whose positions may have gaps; it counts its calls."""

    def __init__(self) -> None:
        self.events: list[RecordedEvent] = []
        self.calls: list[str] = []
        self.error: Exception | None = None
        self.tells = True
        self.held: asyncio.Event | None = None
        self.appended = Waiter()

    def add(self, count: int = 1, *, gap: int = 1, size: int = 1, ids: str = "m") -> None:
        for _ in range(count):
            position = (self.events[-1].position if self.events else 0) + gap
            record = EventRecord(f"{ids}-{position}", "Happened", 1, "json", b"x" * size, 0)
            self.events.append(RecordedEvent("stream", len(self.events) + 1, position, record))
        if self.tells:
            self.appended.wake()

    async def read_all(self, *, after: int, limit: int) -> list[RecordedEvent]:
        self.calls.append(f"read after {after}")
        if self.held is not None:
            await self.held.wait()
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return [each for each in self.events if each.position > after][:limit]

    async def head(self) -> int:
        self.calls.append("head")
        return self.events[-1].position if self.events else 0

    async def wait(self, *, after: int, timeout: float) -> None:
        self.calls.append(f"wait after {after}")
        await asyncio.sleep(0)
        if not self.events or self.events[-1].position <= after or not self.tells:
            await self.appended.wait(timeout=timeout)

    # Not used by a reader.
    async def append(self, appends: Sequence[StreamAppend], /) -> list[AppendResult]:
        raise NotImplementedError

    async def read_stream(
        self, stream_id: str, /, *, from_version: int, to_version: int | None, limit: int, backward: bool
    ) -> list[RecordedEvent]:
        raise NotImplementedError

    async def version(self, stream_id: str, /) -> int:
        raise NotImplementedError

    def reads(self) -> int:
        return sum(each.startswith("read") for each in self.calls)


@pytest.fixture
def source() -> Log:
    return Log()


@pytest.fixture
def reader(source: Log) -> LogReader:
    return LogReader(source)


async def positions(reader: LogReader, after: int = 0) -> list[int]:
    """Read up to the head."""
    found: list[int] = []
    while True:
        page = await reader.read(found[-1] if found else after)
        found += [each.position for each in page.events]
        if page.at_head:
            return found


async def test_pages_follow_one_another_without_a_gap(source: Log, reader: LogReader) -> None:
    source.add(2 * PAGE + 7, gap=3)
    assert await positions(reader) == [each.position for each in source.events]
    first = await reader.read(0)
    assert (len(first.events), first.at_head, first.head) == (PAGE, False, source.events[-1].position)


async def test_empty_log_is_read_as_its_head(reader: LogReader) -> None:
    page = await reader.read(0)
    assert (list(page.events), page.head, page.at_head) == ([], 0, True)


async def test_consumers_that_catch_up_together_read_once(source: Log, reader: LogReader) -> None:
    source.add(3 * PAGE)
    found = await asyncio.gather(*(positions(reader) for _ in range(16)))
    assert all(each == [event.position for event in source.events] for each in found)
    # One for each page, one that finds the end.
    assert source.reads() == 4


async def test_consumer_in_the_middle_of_a_window_is_served_from_it(source: Log, reader: LogReader) -> None:
    source.add(PAGE - 1)
    await reader.read(0)
    page = await reader.read(100)
    assert [each.position for each in page.events] == list(range(101, PAGE))
    assert page.at_head
    assert source.reads() == 1


async def test_consumers_at_different_places_do_not_move_one_another(source: Log, reader: LogReader) -> None:
    source.add(4 * PAGE)
    live = await reader.read(4 * PAGE - 1)
    assert [each.position for each in live.events] == [4 * PAGE]
    assert await positions(reader) == list(range(1, 4 * PAGE + 1))
    source.add()
    assert [each.position for each in (await reader.read(4 * PAGE)).events] == [4 * PAGE + 1]


async def test_slow_consumer_reads_its_own_pages_after_the_window_moved_on(
    source: Log, reader: LogReader
) -> None:
    source.add(20 * PAGE)
    slow = [each.position for each in (await reader.read(0)).events]
    assert len(await positions(reader)) == 20 * PAGE
    slow += await positions(reader, slow[-1])
    assert slow == list(range(1, 20 * PAGE + 1))


async def test_consumer_that_waits_for_a_read_misses_no_event_when_others_read_on(
    source: Log, reader: LogReader
) -> None:
    source.add(30 * PAGE)
    fast = [positions(reader, after) for after in (0, 0, PAGE, 17)]
    found = await asyncio.gather(*fast)
    assert [each[0] for each in found] == [1, 1, PAGE + 1, 18]
    assert all(each == list(range(each[0], 30 * PAGE + 1)) for each in found)


@pytest.mark.parametrize("seed", range(20))
async def test_every_consumer_sees_every_event_in_order(source: Log, reader: LogReader, seed: int) -> None:
    chance = random.Random(seed)
    source.tells = bool(seed % 2)
    total = 3_000
    done = asyncio.Event()

    async def append() -> None:
        while len(source.events) < total:
            source.add(min(chance.randint(1, 400), total - len(source.events)), gap=chance.randint(1, 3))
            await asyncio.sleep(0)
        done.set()

    async def consume(pause: float) -> list[int]:
        found: list[int] = []
        while len(found) < total:
            page = await reader.read(found[-1] if found else 0)
            found += [each.position for each in page.events]
            while chance.random() < pause:
                await asyncio.sleep(0)
            if page.at_head and len(found) < total:
                await reader.wait(found[-1] if found else 0, poll_seconds=0.001)
        return found

    async with asyncio.timeout(30):
        _, *found = await asyncio.gather(append(), *(consume(chance.random() * 0.95) for _ in range(8)))
    assert all(each == [event.position for event in source.events] for each in found)


@pytest.mark.parametrize(
    ("size", "kept"), [(1, 4 * PAGE), (10_000, 8 * 2**20 // 10_000), (20_000, PAGE)], ids=str
)
def test_window_is_bounded_in_events_and_bytes(source: Log, size: int, kept: int) -> None:
    window = _Window(0)
    for _ in range(8):
        source.add(PAGE, size=size)
        window.add(source.events[-PAGE:])
        assert [each.position for each in window.after(window.start)] == list(
            range(window.start + 1, window.start + PAGE + 1)
        )
    assert (window.start, window.end) == (8 * PAGE - kept, 8 * PAGE)


async def test_cancelled_reader_leaves_the_read_to_the_others(source: Log, reader: LogReader) -> None:
    source.add(3)
    source.held = asyncio.Event()
    first = asyncio.create_task(reader.read(0))
    second = asyncio.create_task(reader.read(0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    source.held.set()
    assert len((await second).events) == 3
    assert first.cancelled() or first.cancelling()
    assert source.reads() == 1


async def test_failed_read_is_raised_to_every_caller_and_tried_again(source: Log, reader: LogReader) -> None:
    source.error = CatgaError("the disk is gone", code=ErrorCode.PERSISTENCE_FAILED)
    outcomes = await asyncio.gather(reader.read(0), reader.read(0), return_exceptions=True)
    assert [str(each) for each in outcomes] == ["PERSISTENCE_FAILED: the disk is gone"] * 2
    source.error = None
    source.add(1)
    assert len((await reader.read(0)).events) == 1


async def test_idle_consumers_share_one_wait_and_one_read(source: Log, reader: LogReader) -> None:
    source.add(1)
    await reader.read(0)
    source.calls.clear()
    waiting = [asyncio.create_task(reader.wait(1, poll_seconds=60)) for _ in range(10)]
    await eventually(lambda: source.appended.waiting == 1)
    assert source.calls == ["wait after 1"]
    source.add(1)
    await asyncio.gather(*waiting)
    for _ in waiting:
        page = await reader.read(1)
        assert ([each.position for each in page.events], page.at_head) == ([2], True)
    # With the last event that was read before.
    assert source.calls == ["wait after 1", "read after 0"]


async def test_wait_returns_at_once_for_an_event_that_was_read(source: Log, reader: LogReader) -> None:
    source.add(2)
    await reader.read(0)
    source.calls.clear()
    await reader.wait(1, poll_seconds=60)
    assert source.calls == []


async def test_shortest_poll_of_all_consumers_counts(source: Log, reader: LogReader) -> None:
    source.tells = False
    patient = asyncio.create_task(reader.wait(0, poll_seconds=60))
    await eventually(lambda: source.appended.waiting == 1)
    hasty = asyncio.create_task(reader.wait(0, poll_seconds=0.001))
    await eventually(lambda: source.reads() > 1)
    source.add(1)
    async with asyncio.timeout(5):
        await asyncio.gather(patient, hasty)


async def test_consumer_that_starts_beyond_the_head_does_not_disturb_those_at_the_head(
    source: Log, reader: LogReader
) -> None:
    source.add(5)
    assert (await reader.read(100)).at_head
    ahead = asyncio.create_task(reader.wait(100, poll_seconds=60))
    await eventually(lambda: source.appended.waiting == 1)
    await reader.read(0)
    source.calls.clear()
    behind = asyncio.create_task(reader.wait(5, poll_seconds=60))
    await eventually(lambda: "wait after 5" in source.calls)
    assert source.reads() == 0
    source.add(1)
    await behind
    assert not ahead.done()
    source.add(100)
    await ahead
    assert [each.position for each in (await reader.read(100)).events] == [101, 102, 103, 104, 105, 106]


async def test_last_consumer_that_leaves_ends_the_wait(source: Log, reader: LogReader) -> None:
    waiting = [asyncio.create_task(reader.wait(0, poll_seconds=60)) for _ in range(2)]
    await eventually(lambda: source.appended.waiting == 1)
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    assert source.appended.waiting == 1
    waiting[1].cancel()
    await asyncio.wait(waiting)
    assert source.appended.waiting == 0


async def test_failed_wait_is_raised_to_every_waiter(source: Log, reader: LogReader) -> None:
    source.error = CatgaError("the disk is gone", code=ErrorCode.PERSISTENCE_FAILED)
    outcomes = await asyncio.gather(
        *(reader.wait(0, poll_seconds=0.001) for _ in range(3)), return_exceptions=True
    )
    assert [str(each) for each in outcomes] == ["PERSISTENCE_FAILED: the disk is gone"] * 3


async def test_head_is_asked_for_when_it_is_older_than_allowed(source: Log, reader: LogReader) -> None:
    source.add(3)
    assert await reader.head(max_age=60) == 3
    source.add(1)
    assert await reader.head(max_age=60) == 3
    assert await reader.head(max_age=0) == 4
    # What a consumer reads tells the head as well.
    source.add(1)
    await reader.read(0)
    assert await reader.head(max_age=60) == 5
    assert source.calls.count("head") == 2


async def test_events_that_the_log_has_lost_are_not_served_again(source: Log, reader: LogReader) -> None:
    source.add(10)
    assert await positions(reader) == list(range(1, 11))
    del source.events[4:]
    assert (await reader.read(10)).at_head
    source.add(1, gap=2)
    assert await positions(reader) == [1, 2, 3, 4, 6]


async def test_position_whose_event_was_replaced_is_reported(source: Log, reader: LogReader) -> None:
    source.add(10)
    assert (await reader.read(10, "m-10")).event_id == "m-10"
    del source.events[4:]
    source.add(10, ids="n")
    with pytest.raises(LogEndLost) as raised:
        await reader.read(10, "m-10")
    assert (raised.value.position, raised.value.head) == (10, 14)
    page = await reader.read(4, "m-4")
    assert [each.record.message_id for each in page.events] == [f"n-{number}" for number in range(5, 15)]


async def test_position_after_the_end_of_the_log_is_reported(source: Log, reader: LogReader) -> None:
    source.add(10)
    await reader.read(0)
    del source.events[4:]
    with pytest.raises(LogEndLost) as raised:
        await reader.read(10, "m-10")
    assert (raised.value.position, raised.value.head) == (10, 4)
    # Without a known event, the reader shows that there is none.
    page = await reader.read(10)
    assert (list(page.events), page.head, page.event_id) == ([], 4, None)


async def test_reader_that_starts_at_a_replaced_event_reports_it(source: Log, reader: LogReader) -> None:
    source.add(5, ids="n")
    with pytest.raises(LogEndLost):
        await reader.read(3, "m-3")


async def test_every_consumer_at_the_lost_end_is_told(source: Log, reader: LogReader) -> None:
    source.add(10)
    await reader.read(0)
    waiting = [asyncio.create_task(reader.wait(10, poll_seconds=0.01)) for _ in range(3)]
    await eventually(lambda: source.appended.waiting == 1)
    del source.events[4:]
    source.add(3, ids="n")
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)
    for _ in waiting:
        with pytest.raises(LogEndLost):
            await reader.read(10, "m-10")


async def test_wait_returns_when_only_the_head_shows_that_the_end_is_lost(
    source: Log, reader: LogReader
) -> None:
    source.add(10)
    source.tells = False
    await reader.head(max_age=60)
    waiting = asyncio.create_task(reader.wait(10, poll_seconds=60))
    await eventually(lambda: source.appended.waiting == 1)
    del source.events[4:]
    await reader.head(max_age=0)
    source.appended.wake()
    async with asyncio.timeout(5):
        await waiting


@pytest.mark.parametrize(("kept", "last"), [(0, 0), (4, 4), (10, 10)])
async def test_last_event_that_the_log_still_has_is_found(
    source: Log, reader: LogReader, kept: int, last: int
) -> None:
    source.add(11)
    await reader.read(0)
    assert await reader.last_known(11) is None, "nothing is lost yet"
    del source.events[kept:]
    source.add(20, ids="n")
    with pytest.raises(LogEndLost):
        await reader.read(11, "m-11")
    assert await reader.last_known(11) == last
    assert await reader.last_known(12) is None


async def test_last_known_event_before_the_window_is_not_known(source: Log, reader: LogReader) -> None:
    source.add(11)
    await reader.read(9)
    del source.events[5:]
    source.add(20, ids="n")
    with pytest.raises(LogEndLost):
        await reader.read(11, "m-11")
    assert await reader.last_known(11) is None


async def test_log_contains_the_event_of_a_position(source: Log, reader: LogReader) -> None:
    assert await reader.contains(0, None)
    source.add(3, gap=2)
    found = [
        await reader.contains(*each) for each in [(4, "m-4"), (4, None), (4, "n-4"), (3, None), (7, None)]
    ]
    assert found == [True, True, False, True, False]


async def test_window_keeps_the_event_at_its_start(source: Log, reader: LogReader) -> None:
    source.add(12 * PAGE)
    await positions(reader)
    start = reader._windows[0].start
    assert start > 0
    assert (await reader.read(start, f"m-{start}")).event_id == f"m-{start}"
    with pytest.raises(LogEndLost):
        await reader.read(start, "other")
