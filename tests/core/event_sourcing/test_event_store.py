"""The event store, as an application sees it; what a log promises is in the contract kit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from catga_core import CatgaError, ConfigurationError, ErrorCode, Event, MessageContext, message
from catga_core.errors import ConcurrencyError, EventTooLargeError, Outcome
from catga_core.event_sourcing import EventTypes, LogEventStore
from catga_core.interfaces import (
    ANY,
    NO_STREAM,
    AppendResult,
    EventData,
    EventLog,
    EventRecord,
    EventStore,
    StoredEvent,
    StreamAppend,
    StreamEvents,
)
from catga_core.messages.context import active_context
from catga_testing import ManualClock
from tests.core.event_sourcing.memory import Log


class Counted(Event):
    number: int


START = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def event_log() -> Log:
    return Log()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def store(event_log: Log, clock: ManualClock) -> LogEventStore:
    return LogEventStore(event_log, EventTypes(), clock)


async def numbers(events: AsyncGenerator[StoredEvent]) -> list[int]:
    return [each.event.number async for each in events]


async def versions(events: AsyncGenerator[StoredEvent]) -> list[int]:
    return [each.version async for each in events]


def counted(count: int) -> list[Counted]:
    return [Counted(number) for number in range(1, count + 1)]


def test_it_is_an_event_store_over_an_event_log(store: LogEventStore, event_log: Log) -> None:
    assert isinstance(store, EventStore)
    assert isinstance(event_log, EventLog)
    assert store.log is event_log


# --- appending ---


async def test_one_event_or_several_are_appended_and_read_again(store: LogEventStore) -> None:
    assert await store.append("a", Counted(1)) == AppendResult(1, 1)
    assert await store.append("a", [Counted(2), Counted(3)]) == AppendResult(3, 3)
    assert await numbers(store.read("a")) == [1, 2, 3]
    assert await store.version("a") == 3


async def test_what_is_stored_tells_when_in_which_stream_and_where(
    store: LogEventStore, clock: ManualClock
) -> None:
    await store.append("other", Counted(0))
    clock.advance(1.5)
    await store.append("a", EventData(Counted(1), "e-1", {"tenant": "t"}))
    [stored] = [each async for each in store.read("a")]
    assert (stored.stream_id, stored.version, stored.position) == ("a", 1, 2)
    assert (stored.message_id, stored.headers) == ("e-1", {"tenant": "t"})
    assert stored.recorded_at == START + timedelta(seconds=1.5)
    assert (stored.name, stored.schema_version) == ("Counted", 1)


async def test_every_event_has_an_id_of_its_own(store: LogEventStore) -> None:
    await store.append("a", [*counted(3), EventData(Counted(4))])
    assert len({each.message_id async for each in store.read("a")}) == 4


async def test_outside_of_a_message_there_is_no_correlation(store: LogEventStore) -> None:
    await store.append("a", Counted(1))
    [stored] = [each async for each in store.read("a")]
    assert (stored.correlation_id, stored.causation_id) == (None, None)


async def test_what_a_handler_appends_belongs_to_its_message(store: LogEventStore) -> None:
    active_context.set(MessageContext("m-2", "m-1", "m-1"))
    await store.append("a", Counted(1))
    [stored] = [each async for each in store.read("a")]
    assert (stored.correlation_id, stored.causation_id) == ("m-1", "m-2")


async def test_the_same_ids_again_answer_as_the_first_time(store: LogEventStore) -> None:
    events = [EventData(Counted(1), "e-1"), EventData(Counted(2), "e-2")]
    first = await store.append("a", events, expected_version=NO_STREAM)
    assert await store.append("a", events, expected_version=NO_STREAM) == first
    assert await store.version("a") == 2


async def test_another_version_than_expected_is_a_conflict(store: LogEventStore) -> None:
    await store.append("a", Counted(1))
    with pytest.raises(ConcurrencyError) as caught:
        await store.append("a", Counted(2), expected_version=NO_STREAM)
    assert (caught.value.stream_id, caught.value.expected, caught.value.actual) == ("a", 0, 1)
    assert await store.version("a") == 1


async def test_nothing_at_all_appends_nothing(store: LogEventStore) -> None:
    await store.append("a", Counted(1))
    assert await store.append("a", []) == AppendResult(1, 0)
    assert await store.append("a", [], expected_version=1) == AppendResult(1, 0)
    assert len([each async for each in store.read_all()]) == 1


async def test_nothing_at_all_is_still_held_against_the_expected_version(store: LogEventStore) -> None:
    with pytest.raises(ConcurrencyError):
        await store.append("a", [], expected_version=1)


async def test_several_streams_are_appended_at_once(store: LogEventStore, event_log: Log) -> None:
    await store.append("b", Counted(0))
    done = await store.append_many(
        [
            StreamEvents("a", [Counted(1), Counted(2)], NO_STREAM),
            StreamEvents("c", []),
            StreamEvents("b", Counted(3), 1),
        ]
    )
    assert done == [AppendResult(2, 3), AppendResult(0, 0), AppendResult(2, 4)]
    assert event_log.calls == ["append", "append"]


async def test_one_stream_in_conflict_keeps_the_others_from_being_written(store: LogEventStore) -> None:
    with pytest.raises(ConcurrencyError):
        await store.append_many([StreamEvents("a", Counted(1)), StreamEvents("b", Counted(2), 7)])
    with pytest.raises(ConcurrencyError):
        await store.append_many([StreamEvents("a", Counted(1)), StreamEvents("b", [], 7)])
    assert await store.version("a") == 0


async def test_no_streams_at_all_append_nothing(store: LogEventStore, event_log: Log) -> None:
    assert await store.append_many([]) == []
    assert event_log.calls == []


async def test_a_stream_that_is_named_twice_is_refused(store: LogEventStore) -> None:
    with pytest.raises(ValueError, match="the stream 'a' twice"):
        await store.append_many([StreamEvents("a", Counted(1)), StreamEvents("a", Counted(2))])


async def test_an_event_over_the_limit_is_refused_and_nothing_is_written(
    event_log: Log, clock: ManualClock
) -> None:
    class Large(Event):
        text: str

    store = LogEventStore(event_log, EventTypes(), clock, max_event_bytes=100)
    with pytest.raises(EventTooLargeError) as caught:
        await store.append("a", [Counted(1), Large("x" * 100)])
    assert caught.value.code == ErrorCode.SERIALIZATION_FAILED
    assert caught.value.outcome is Outcome.NOT_WRITTEN
    assert (caught.value.stream_id, caught.value.limit) == ("a", 100)
    assert caught.value.size > 100
    assert await store.version("a") == 0
    await store.append("a", Large("x" * 80))


def test_a_limit_that_lets_nothing_through_is_refused(event_log: Log, clock: ManualClock) -> None:
    with pytest.raises(ConfigurationError, match="max_event_bytes=0"):
        LogEventStore(event_log, EventTypes(), clock, max_event_bytes=0)


@pytest.mark.parametrize("stream_id", ["", None, 7, "order-\ud800"])
async def test_what_is_no_name_of_a_stream_is_refused_everywhere(
    store: LogEventStore, stream_id: Any
) -> None:
    refused = pytest.raises(ValueError, match="stream_id must be")
    with refused:
        await store.append(stream_id, Counted(1))
    with refused:
        await store.append_many([StreamEvents(stream_id, Counted(1))])
    with refused:
        store.read(stream_id)
    with refused:
        await store.version(stream_id)


@pytest.mark.parametrize("expected", [-2, 1.0, None, True])
async def test_what_is_no_version_is_refused(store: LogEventStore, expected: Any) -> None:
    with pytest.raises(ValueError, match="expected_version must be"):
        await store.append("a", Counted(1), expected_version=expected)


@pytest.mark.parametrize(
    "data",
    [
        EventData(Counted(1), ""),
        EventData(Counted(1), "e-\ud800"),
        EventData(Counted(1), headers={"tenant": 7}),  # type: ignore[dict-item]  # without a type checker it comes to this
        EventData(Counted(1), headers={"tenant": "\ud800"}),
    ],
)
async def test_an_identity_and_headers_are_texts(store: LogEventStore, data: EventData) -> None:
    with pytest.raises(ValueError, match="must be a"):
        await store.append("a", data)


async def test_two_events_of_one_id_are_refused(store: LogEventStore) -> None:
    with pytest.raises(ValueError, match="have the same message_id"):
        await store.append("a", [EventData(Counted(1), "e-1"), EventData(Counted(2), "e-1")])


@pytest.mark.parametrize("thing", ["text", 7, ["text"], [EventData("text")]])  # type: ignore[arg-type]  # the mistake
async def test_what_is_no_event_is_refused(store: LogEventStore, thing: Any) -> None:
    with pytest.raises(TypeError):
        await store.append("a", thing)


# --- reading ---


async def test_a_stream_that_does_not_exist_has_no_events(store: LogEventStore) -> None:
    assert await numbers(store.read("a")) == []
    assert await store.version("a") == 0


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"from_version": 3}, [3, 4, 5]),
        ({"to_version": 2}, [1, 2]),
        ({"from_version": 2, "to_version": 4}, [2, 3, 4]),
        ({"from_version": 4, "to_version": 2}, []),
        ({"from_version": 9}, []),
        ({"limit": 2}, [1, 2]),
        ({"limit": 0}, []),
        ({"backward": True}, [5, 4, 3, 2, 1]),
        ({"backward": True, "limit": 2}, [5, 4]),
        ({"backward": True, "from_version": 2, "to_version": 4}, [4, 3, 2]),
        ({"backward": True, "from_version": 2, "to_version": 4, "limit": 1}, [4]),
    ],
)
async def test_a_part_of_a_stream_is_read(
    store: LogEventStore, options: dict[str, Any], wanted: list[int]
) -> None:
    await store.append("a", counted(5))
    assert await versions(store.read("a", **options)) == wanted


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("count", [511, 512, 513, 1024, 1300])
async def test_a_long_stream_is_read_in_pages_and_whole(
    store: LogEventStore, event_log: Log, count: int, backward: bool
) -> None:
    await store.append("a", counted(count))
    event_log.calls.clear()
    read = await versions(store.read("a", backward=backward))
    assert sorted(read) == list(range(1, count + 1))
    assert read == sorted(read, reverse=backward)
    assert len(event_log.calls) <= count // 512 + 1


async def test_a_limit_asks_for_no_more_than_it_gives(store: LogEventStore, event_log: Log) -> None:
    await store.append("a", counted(600))
    event_log.calls.clear()
    assert len(await versions(store.read("a", limit=520))) == 520
    assert event_log.calls == ["read_stream 1-None limit 512", "read_stream 513-None limit 8"]


async def test_a_stream_is_read_up_to_a_time(store: LogEventStore, clock: ManualClock) -> None:
    for number in range(1, 6):
        await store.append("a", Counted(number))
        clock.advance(10)
    assert await numbers(store.read("a", to_time=START + timedelta(seconds=25))) == [1, 2, 3]
    assert await numbers(store.read("a", to_time=START + timedelta(seconds=20))) == [1, 2, 3]
    assert await numbers(store.read("a", to_time=START + timedelta(seconds=25), limit=2)) == [1, 2]
    assert await numbers(store.read("a", to_time=START + timedelta(seconds=25), backward=True, limit=2)) == [
        3,
        2,
    ]
    assert await numbers(store.read("a", to_time=START - timedelta(seconds=1))) == []


@pytest.mark.parametrize(
    "options",
    [
        {"from_version": 0},
        {"to_version": 0},
        {"limit": -1},
        {"limit": 1.5},
        {"from_version": None},
        {"to_time": datetime(2030, 1, 1)},  # noqa: DTZ001 - the mistake
    ],
)
def test_arguments_that_mean_nothing_are_refused_before_anything_is_read(
    store: LogEventStore, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        store.read("a", **options)


async def test_all_streams_are_read_by_position(store: LogEventStore) -> None:
    for number in range(1, 7):
        await store.append(f"s-{number % 3}", Counted(number))
    assert await numbers(store.read_all()) == [1, 2, 3, 4, 5, 6]
    assert await numbers(store.read_all(after=4)) == [5, 6]
    assert await numbers(store.read_all(after=1, limit=2)) == [2, 3]
    assert await numbers(store.read_all(limit=0)) == []


@pytest.mark.parametrize("count", [511, 512, 513, 1300])
async def test_many_events_of_all_streams_are_read_in_pages(
    store: LogEventStore, event_log: Log, count: int
) -> None:
    await store.append("a", counted(count))
    event_log.calls.clear()
    assert await numbers(store.read_all()) == list(range(1, count + 1))
    assert len(event_log.calls) == count // 512 + 1


async def test_what_is_appended_while_all_is_read_is_read_too(store: LogEventStore) -> None:
    await store.append("a", counted(512))
    seen = 0
    async for _ in store.read_all():
        seen += 1
        if seen == 512:
            await store.append("b", Counted(1))
    assert seen == 513


@pytest.mark.parametrize("options", [{"after": -1}, {"limit": -1}])
def test_positions_and_limits_below_zero_are_refused(store: LogEventStore, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        store.read_all(**options)


async def test_unknown_event_is_read_as_bytes_and_fails_when_decoded(
    store: LogEventStore, event_log: Log
) -> None:
    await store.append("a", Counted(1))
    await event_log.append(
        [StreamAppend("a", ANY, [EventRecord("e-2", "Vanished", 1, "msgpack", b"\x81", 0)])]
    )
    await store.append("a", Counted(3))
    first, second, third = [each async for each in store.read("a")]
    assert (first.event, third.event) == (Counted(1), Counted(3))
    assert (second.name, second.data) == ("Vanished", b"\x81")
    with pytest.raises(CatgaError, match="no class named Vanished v1 is known"):
        _ = second.event


async def test_a_reader_leaves_no_context_behind_and_sees_its_caller_s(store: LogEventStore) -> None:
    await store.append("a", counted(3))
    before = dict(copy_context())
    async for _ in store.read("a"):
        break
    assert dict(copy_context()) == before


async def test_a_reader_that_is_left_early_holds_nothing_open(store: LogEventStore, event_log: Log) -> None:
    await store.append("a", counted(600))
    events = store.read("a")
    assert (await anext(events)).version == 1
    await events.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_many_callers_append_at_once_and_lose_nothing(store: LogEventStore) -> None:
    await asyncio.gather(*(store.append("a", Counted(number)) for number in range(64)))
    assert sorted(await numbers(store.read("a"))) == list(range(64))


async def test_stream_of_another_process_is_read_without_registration(
    event_log: Log, clock: ManualClock
) -> None:
    # A name of its own: another test module may have been imported that has a `Counted` as well.
    @message(name="event-store.of-another-process")
    class Elsewhere(Event):
        number: int

    await LogEventStore(event_log, EventTypes(), clock).append("a", Elsewhere(1))
    reader = LogEventStore(event_log, EventTypes(), clock)
    assert await numbers(reader.read("a")) == [1]
