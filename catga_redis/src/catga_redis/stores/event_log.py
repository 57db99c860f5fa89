"""Event streams in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from catga_core.errors import ConcurrencyError, EventIdConflictError
from catga_core.interfaces.event_log import ANY, AppendResult, RecordedEvent, StreamAppend
from catga_core.storage_support.append_checks import check_appends, guard_result, same_record
from catga_core.storage_support.records import decode_event, encode_event
from catga_redis.engine.news import look_again_within
from catga_redis.engine.refusals import is_refusal, refusal
from catga_redis.storage import RedisStorage
from catga_redis.unit_of_work import RedisUnitOfWork, StagedStream

_PAGE = 500  # events one script reads: it keeps everybody else waiting meanwhile
# Of an append of one event: how many streams, its name, the expected version, how many events, id and bytes.
_ARGUMENTS_OF_ONE = 6


class RedisEventLog:
    """Streams of events as bytes: a list for each, and one Redis stream over all.

    Args:
        storage: Where.
    """

    def __init__(self, storage: RedisStorage) -> None:
        self._storage = storage
        self._commands = storage.commands
        self._root = storage.root

    async def append(self, appends: Sequence[StreamAppend], /) -> list[AppendResult]:
        """Append to one or several streams, all or nothing."""
        check_appends(appends)
        unit = self._storage.joined()
        if unit is not None:
            return await self._stage(unit, appends)
        arguments = _arguments(appends)
        answer: Any = None
        if len(arguments) == _ARGUMENTS_OF_ONE and arguments[0] == 1:
            _, stream_id, expected, _, message_id, data = arguments
            answer = await self._commands.run("append_one", stream_id, expected, message_id, data)
        if answer is None:
            answer = await self._commands.run("append_all", *arguments)
        if is_refusal(answer):
            raise refusal(answer)
        self._storage.news.wake("e")
        return [AppendResult(*map(int, place.split(b":"))) for place in answer.split(b" ")]

    async def read_stream(
        self, stream_id: str, /, *, from_version: int, to_version: int | None, limit: int, backward: bool
    ) -> list[RecordedEvent]:
        """Return events of one stream; inside a unit of work, those that it is about to append too."""
        found = await self._commands.run(
            "read_stream", stream_id, from_version, to_version or 0, limit, int(backward)
        )
        events = [_recorded(stream_id, stored) for stored in found]
        unit = self._storage.joined()
        staged = None if unit is None else unit.streams.get(stream_id)
        if staged is not None:
            first = staged.version + 1
            fresh = [
                RecordedEvent(stream_id, version, 0, record)
                for version, record in enumerate(staged.records, first)
                if version >= from_version and (to_version is None or version <= to_version)
            ]
            # What another has appended since is what the commit will refuse.
            events = sorted(
                [*(each for each in events if each.version < first), *fresh], key=lambda each: each.version
            )
            return events[: -limit - 1 : -1] if backward else events[:limit]
        return events[::-1] if backward else events

    async def read_all(self, *, after: int, limit: int) -> list[RecordedEvent]:
        """Return events of all streams in the order of their positions."""
        events: list[RecordedEvent] = []
        while len(events) < limit:
            wanted = min(_PAGE, limit - len(events))
            found = await self._commands.run("read_all", after, wanted)
            for stream, stored in zip(found[::2], found[1::2], strict=True):
                events.append(_recorded(stream.decode(), stored))
            if len(found) < 2 * wanted:
                break
            after = events[-1].position
        return events

    async def version(self, stream_id: str, /) -> int:
        """Return a stream's version; inside a unit of work, that after what it is about to append."""
        unit = self._storage.joined()
        staged = None if unit is None else unit.streams.get(stream_id)
        if staged is not None:
            return staged.version + len(staged.records)
        found: int = await self._commands.read("LLEN", f"{self._root}s:{stream_id}")
        return found

    async def head(self) -> int:
        """Return the position of the last event, 0 for none."""
        return int(await self._commands.read("GET", f"{self._root}pos") or 0)

    async def wait(self, *, after: int, timeout: float) -> None:
        """Return when there may be an event after a position, at the latest after so many seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while (left := until - loop.time()) > 0:
            with self._storage.news.expect("e") as news:
                if await self.head() > after:
                    return
                await news.wait(timeout=look_again_within(left))

    async def _stage(self, unit: RedisUnitOfWork, appends: Sequence[StreamAppend]) -> list[AppendResult]:
        fresh = [each for each in appends if not unit.has_records(each.stream_id)]
        seen: dict[str, tuple[int, int, int]] = {}
        if fresh:
            # Guards are held against their version below, where it is known whether all else is a repetition.
            looks = [each if each.records else replace(each, expected_version=ANY) for each in fresh]
            answer = await self._commands.run("look_append", *_arguments(looks))
            if answer[0] != b"ok":
                raise refusal(answer)
            seen = {each.stream_id: tuple(facts) for each, facts in zip(fresh, answer[1], strict=True)}
            if any(repeated for _, repeated, _ in seen.values()):
                # The commit will not write it, and so not confirm it.
                await self._commands.confirm()
            unit.require_open()
        # Everything is looked at before anything is staged: all or nothing.
        known = {
            each.stream_id: _in_block(unit.streams[each.stream_id], each)
            for each in appends
            if each.records and unit.has_records(each.stream_id)
        }
        done = [
            known[each.stream_id] if each.stream_id in known else seen[each.stream_id][1]
            for each in appends
            if each.records
        ]
        again = bool(done) and all(done)
        versions = {each.stream_id: _version_in(unit, each.stream_id, seen) for each in appends}
        for each in appends:
            expected, actual = each.expected_version, versions[each.stream_id]
            if not (each.records or again or expected in {ANY, actual}):
                raise ConcurrencyError(each.stream_id, expected, actual)
        results: list[AppendResult] = []
        for each in appends:
            expected = each.expected_version
            if not each.records:
                if expected != ANY and not again:
                    unit.streams.setdefault(each.stream_id, StagedStream(expected)).exact = True
                    unit.stage_later(_all_appends(unit), key="appends")
                results.append(guard_result(each, versions[each.stream_id]))
                continue
            actual, repeated, position = seen.get(each.stream_id, (0, 0, 0))
            version = repeated or known.get(each.stream_id)
            if version is None:
                staged = unit.streams.setdefault(each.stream_id, StagedStream(actual))
                unit.stage_later(_all_appends(unit), key="appends")
                staged.exact = staged.exact or expected != ANY
                staged.records.extend(each.records)
                unit.appended.append((each.stream_id, len(each.records)))
                version = staged.version + len(staged.records)
            results.append(AppendResult(version, position))
        return results


def _arguments(appends: Sequence[StreamAppend]) -> list[Any]:
    arguments: list[Any] = [len(appends)]
    for each in appends:
        arguments += [each.stream_id, each.expected_version, len(each.records)]
        for record in each.records:
            arguments += [record.message_id, encode_event(record)]
    return arguments


def _recorded(stream_id: str, stored: bytes) -> RecordedEvent:
    """Return an event as its stream's list has it: `<version>:<position>:<record>`."""
    version, position, record = stored.split(b":", 2)
    return RecordedEvent(stream_id, int(version), int(position), decode_event(record))


def _version_in(unit: RedisUnitOfWork, stream_id: str, seen: Mapping[str, tuple[int, int, int]]) -> int:
    """Return a stream's version after what a block is about to append to it."""
    staged = unit.streams.get(stream_id)
    return seen[stream_id][0] if staged is None else staged.version + len(staged.records)


def _in_block(staged: StagedStream, append: StreamAppend) -> int | None:
    """Return the version that an append has already in its own block, `None` when it is new.

    Raises:
        ConcurrencyError: When the stream is at another version by then.
        EventIdConflictError: When the ids are there, one of them with another event.
    """
    ids = [record.message_id for record in append.records]
    there = [record.message_id for record in staged.records]
    actual = staged.version + len(there)
    for start in range(len(there) - len(ids) + 1):
        if there[start : start + len(ids)] == ids and append.expected_version in {
            ANY,
            staged.version + start,
        }:
            for number, record in enumerate(append.records, start):
                if not same_record(staged.records[number], record):
                    raise EventIdConflictError(
                        append.stream_id, record.message_id, staged.version + number + 1
                    )
            return staged.version + start + len(ids)
    if append.expected_version not in {ANY, actual}:
        raise ConcurrencyError(append.stream_id, append.expected_version, actual)
    return None


def _all_appends(unit: RedisUnitOfWork) -> Callable[[], tuple[Any, ...]]:
    def operation() -> tuple[Any, ...]:
        parts: list[Any] = [len(unit.streams)]
        for stream_id, staged in unit.streams.items():
            expected = staged.version if staged.exact else ANY
            parts += [stream_id, expected, len(staged.records)]
            for record in staged.records:
                parts += [record.message_id, encode_event(record)]
        numbers = {stream_id: number for number, stream_id in enumerate(unit.streams, 1)}
        parts.append(len(unit.appended))
        for stream_id, count in unit.appended:
            parts += [numbers[stream_id], count]
        return ("append_in_turn", *parts)

    return operation
