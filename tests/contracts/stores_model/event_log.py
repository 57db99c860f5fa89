"""The model of an event log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec.structs import replace

from catga_core.interfaces import ANY, NO_STREAM, AppendResult, EventLog, RecordedEvent, StreamAppend
from catga_testing.contracts.stores.records import records
from tests.contracts.stores_model.calls import Answer, BaseModel, Call, Kept

STREAMS = ["orders-1", "orders-2", "stock"]


class New(msgspec.Struct, frozen=True):
    """An append of events that nobody has appended before.

    Parameters:
        to: stream, expected version and how many events, of each stream; none for a guard.
    """

    to: list[tuple[str, int, int]]


class LogModel(BaseModel):
    """A list of events in their order."""

    port = EventLog

    def __init__(self) -> None:
        # Stream, version, message id and bytes of each.
        self.events: list[tuple[str, int, str, bytes]] = []
        self.positions: dict[int, int] = {}

    def copy(self) -> LogModel:
        other = LogModel()
        other.events, other.positions, other.now = [*self.events], {**self.positions}, self.now
        return other

    @staticmethod
    def calls() -> st.SearchStrategy[Call]:
        stream, limit = st.sampled_from(STREAMS), st.sampled_from([1, 4, 10_000, 10_000])
        read = st.fixed_dictionaries(
            {
                "from_version": st.integers(1, 6),
                "to_version": st.none() | st.integers(1, 8),
                "limit": limit,
                "backward": st.booleans(),
            }
        )
        joining = LogModel.joining()
        return st.one_of(
            joining,
            joining,
            st.builds(lambda to, options: Call("read_stream", (to,), options), stream, read),
            st.builds(lambda count: Call("read_all", (), {"after": 0, "limit": count}), limit),
            st.builds(lambda to: Call("version", (to,)), stream),
            st.just(Call("head")),
        )

    @staticmethod
    def joining() -> st.SearchStrategy[Call]:
        expected = st.sampled_from([ANY, ANY, NO_STREAM, 1, 2, 3, 4])
        to = st.lists(
            st.tuples(st.sampled_from(STREAMS), expected, st.sampled_from([1, 2, 3, 0])),
            min_size=1,
            max_size=2,
            unique_by=lambda each: each[0],
        )
        new = st.builds(lambda each: Call("append", (New(each),)), to)
        again = st.builds(lambda number: Call("append", (Kept(number),)), st.integers(0, 9))
        reused = st.builds(lambda number: Call("append", (Kept(number, changed=True),)), st.integers(0, 9))
        return st.one_of(new, new, again, reused)

    @staticmethod
    def looks() -> list[Call]:
        return [Call("read_all", (), {"after": 0, "limit": 10_000}), Call("head")]

    @staticmethod
    def kept(call: Call, answer: Answer) -> list[Any]:
        return [call.arguments[0]] if call.method == "append" and answer.code is None else []

    @staticmethod
    def prepared(argument: Any) -> Any:
        if not isinstance(argument, New):
            return argument
        return [StreamAppend(stream, expected, records(count)) for stream, expected, count in argument.to]

    @staticmethod
    def changed(appends: Sequence[StreamAppend]) -> list[StreamAppend]:
        """Return appends of the same ids, whose last events are others."""
        return [
            replace(
                each,
                records=[*each.records[:-1], replace(each.records[-1], data=each.records[-1].data + b"!")],
            )
            if each.records
            else each
            for each in appends
        ]

    def append(self, answer: Answer, appends: Sequence[StreamAppend]) -> bool:
        done = [self._place(each) if each.records else None for each in appends]
        if any(place is not None and not self._same(each) for each, place in zip(appends, done, strict=True)):
            return answer.fails("CONFLICT")
        again = [place is not None for each, place in zip(appends, done, strict=True) if each.records]
        held = bool(again) and all(again)
        refused = [
            each
            for each, place in zip(appends, done, strict=True)
            if place is None
            and not (held and not each.records)
            and each.expected_version not in {ANY, self._version(each.stream_id)}
        ]
        if refused:
            return answer.fails("CONFLICT")
        late = [
            each
            for each, place in zip(appends, done, strict=True)
            if place is not None
            and each.expected_version != ANY
            and place[1] != self._version(each.stream_id)
        ]
        if late and (not answer.known or answer.code == "CONFLICT"):
            # A repetition with an expected version that others have appended after: recognised, or refused.
            return True
        ends: list[tuple[int, int]] = []
        for each, place in zip(appends, done, strict=True):
            if place is not None:
                ends.append(place)
                continue
            if not each.records:
                expected = each.expected_version
                ends.append((0, self._version(each.stream_id) if expected == ANY else expected))
                continue
            for record in each.records:
                version = self._version(each.stream_id) + 1
                self.events.append((each.stream_id, version, record.message_id, record.data))
            ends.append((len(self.events), self._version(each.stream_id)))
        return not answer.known or (answer.code is None and self._told(answer.value, ends))

    def read_stream(
        self,
        answer: Answer,
        stream: str,
        *,
        from_version: int,
        to_version: int | None,
        limit: int,
        backward: bool,
    ) -> bool:
        found = [
            each
            for each in self.events
            if each[0] == stream and from_version <= each[1] <= (to_version or len(self.events))
        ]
        return self._are(answer, (found[::-1] if backward else found)[:limit])

    def read_all(self, answer: Answer, *, after: int, limit: int) -> bool:
        assert after == 0
        if not self._are(answer, self.events[:limit]):
            return False
        positions = [each.position for each in answer.value]
        return positions == sorted(set(positions)) and all(
            self._stands(number, position) for number, position in enumerate(positions, 1)
        )

    def version(self, answer: Answer, stream: str) -> bool:
        return answer.gives(self._version(stream))

    def head(self, answer: Answer) -> bool:
        if not self.events:
            return answer.gives(0)
        return answer.code is None and self._stands(len(self.events), answer.value)

    def _version(self, stream: str) -> int:
        return sum(each[0] == stream for each in self.events)

    def _same(self, append: StreamAppend) -> bool:
        stored = {each[2]: each[3] for each in self.events if each[0] == append.stream_id}
        return all(stored[record.message_id] == record.data for record in append.records)

    def _place(self, append: StreamAppend) -> tuple[int, int] | None:
        """Return the number of the last event in the log and in its stream, where all were appended before."""
        ids = [each.message_id for each in append.records]
        for number, (stream, version, message_id, _) in enumerate(self.events, 1):
            if stream == append.stream_id and message_id == ids[-1]:
                return number, version
        return None

    def _told(self, results: list[AppendResult], ends: list[tuple[int, int]]) -> bool:
        if [each.version for each in results] != [version for _, version in ends]:
            return False
        return all(
            self._stands(number, result.position) if number else result.position == 0
            for result, (number, _) in zip(results, ends, strict=True)
        )

    def _are(self, answer: Answer, wanted: list[tuple[str, int, str, bytes]]) -> bool:
        if answer.code is not None:
            return False
        events: list[RecordedEvent] = answer.value
        found = [(each.stream_id, each.version, each.record.message_id, each.record.data) for each in events]
        return found == wanted

    def _stands(self, number: int, position: int) -> bool:
        """Tell whether the event of this number may have this position: it has it for ever, and they rise."""
        if self.positions.setdefault(number, position) != position:
            return False
        order = sorted(self.positions.items())
        return [each[1] for each in order] == sorted({each[1] for each in order})
