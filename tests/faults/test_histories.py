"""Short histories in each run of the tests; `nox -s faults` makes longer ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from catga_core.interfaces import ANY, EventRecord, RecordedEvent, StoredEvent
from catga_core.interfaces.event_log import EventKind
from tests.faults.histories.campaign import run
from tests.faults.histories.history import Entry
from tests.faults.histories.workloads import WORKLOADS, events, locks, projections, units
from tests.faults.histories.workloads.projections import Tally
from tests.faults.histories.workloads.units import Moved

_RUNS = [(name, place) for name, workload in WORKLOADS.items() for place in workload.places]


@pytest.mark.slow
@pytest.mark.redis
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "place"), _RUNS)
async def test_model_explains_what_processes_have_seen(name: str, place: str) -> None:
    count = await run(WORKLOADS[name], place, seed=20261130, rounds=1, seconds=1.5)
    assert count.problems == []
    assert count.entries > 0
    assert count.faults.total() > 0


def entry(kind: str, at: float = 0.0, worker: str = "one", **data: Any) -> Entry:
    return Entry(at, worker, kind, data)


class _Decoder:
    """Gives the event that a record was made of."""

    def __init__(self, event: Any) -> None:
        self._event = event

    def decode(self, record: EventRecord, /) -> Any:
        del record
        return self._event

    def decoder_for(self, kind: EventKind, /) -> Callable[[bytes], Any]:
        del kind
        return lambda _data: self._event


def stored(position: int, id: str, stream: str = "s", version: int = 0, event: Any = None) -> StoredEvent:
    record = EventRecord(id, "event", 1, "json", b"", 0)
    return StoredEvent(RecordedEvent(stream, version or position, position, record), _Decoder(event))


def append(*ids: str, at: float = 0.0, expected: int = ANY) -> Entry:
    return entry("append", at, ids=list(ids), stream="s", expected=expected)


def appended(*ids: str, at: float = 0.0, version: int, position: int) -> Entry:
    return entry("appended", at, ids=list(ids), version=version, position=position)


def failed(*ids: str, code: str = "CONFLICT", outcome: str | None = None) -> Entry:
    return entry("failed", ids=list(ids), code=code, outcome=outcome)


@pytest.mark.parametrize(
    ("log", "history", "problem"),
    [
        ([], [append("a"), appended("a", at=1, version=1, position=1)], "a was acknowledged and is lost"),
        ([stored(1, "a")], [append("a", "b")], "a is stored in part: 1 of 2"),
        ([stored(1, "a")], [append("a"), failed("a")], "a was refused and is stored"),
        ([stored(1, "a")], [append("a", expected=3)], "a expected version 3 and begins at 1"),
        ([stored(1, "a", "t")], [append("a")], "a is not together in s"),
        (
            [stored(1, "a")],
            [append("a"), appended("a", at=1, version=2, position=1)],
            "a was acknowledged at another place than where it is",
        ),
        (
            [stored(1, "b"), stored(2, "a")],
            [append("a"), appended("a", at=1, version=2, position=2), append("b", at=2)],
            "b began after position 2 was acknowledged, and stands before it",
        ),
        (
            [stored(1, "a"), stored(2, "b")],
            [entry("read", after=0, events=[(2, "b")])],
            "one has read another log than there is",
        ),
        ([stored(2, "a"), stored(1, "b")], [], "positions do not rise"),
        ([stored(1, "a"), stored(2, "a")], [], "an event is stored twice"),
    ],
)
def test_model_of_events_finds_what_is_broken(
    log: list[StoredEvent], history: list[Entry], problem: str
) -> None:
    assert events.compare(log, history).problems == [problem]


def test_model_of_events_explains_what_is_right() -> None:
    log = [stored(1, "a"), stored(2, "b"), stored(3, "c")]
    history = [
        append("a", "b", expected=0),
        failed("a", "b", code="PERSISTENCE_FAILED", outcome="unknown"),
        append("a", "b", at=1, expected=0),
        appended("a", "b", at=2, version=2, position=2),
        append("c", at=3),
        append("d", at=3),
        failed("d"),
        entry("read", 4, after=0, events=[(1, "a"), (2, "b")]),
        entry("read", 5, after=2, events=[(3, "c")]),
    ]
    assert events.compare(log, history).problems == []


def moved(position: int, id: str, account: str, amount: int) -> StoredEvent:
    return stored(position, id, account, event=Moved(amount))


WHOLE = [moved(1, "x-out", "a0", -5), moved(2, "x-in", "a1", 5)]


@pytest.mark.parametrize(
    ("log", "values", "history", "problem"),
    [
        ([], {}, [entry("moved", id="x")], "x was acknowledged and is lost"),
        (WHOLE, {}, [], "x is there in part"),
        ([], {"moved:x": 5}, [], "moved:x is there without its events"),
        (
            WHOLE,
            {"moved:x": 5},
            [entry("failed", id="x", code="CONFLICT", outcome=None)],
            "x was refused (CONFLICT) and is there",
        ),
        (WHOLE, {"moved:x": 5}, [entry("declined", id="x")], "x was declined and is there"),
        (
            [moved(1, "x-out", "a0", -25), moved(2, "x-in", "a1", 25)],
            {"moved:x": 25},
            [],
            "a0 is overdrawn at position 1",
        ),
        (
            [moved(1, "x-out", "a0", -5), moved(2, "x-in", "a1", 6)],
            {"moved:x": 5},
            [],
            "money was made or lost",
        ),
    ],
)
def test_model_of_transfers_finds_what_is_broken(
    log: list[StoredEvent], values: dict[str, int], history: list[Entry], problem: str
) -> None:
    assert units.compare(log, values, history).problems == [problem]


def held(at: float, worker: str, token: int) -> Entry:
    return entry("held", at, worker, token=token)


def wrote(began: float, at: float, token: int) -> Entry:
    return entry("wrote", at, token=token, began=began)


@pytest.mark.parametrize(
    ("history", "problem"),
    [
        (
            [held(1, "one", 1), held(2, "two", 2), held(3, "one", 1), held(4, "two", 2)],
            "one and two both held the lock for 1.000 s (tokens 1 and 2)",
        ),
        ([held(1, "one", 2), held(2, "two", 1)], "two was given token 1 after one had 2"),
        ([held(1, "one", 1), held(2, "two", 1)], "token 1 was given to one and two"),
        ([wrote(1, 2, 2), wrote(3, 4, 1)], "a write with token 1 was taken after one with 2"),
        ([wrote(1, 2, 9)], "token 9 was written, and 3 is stored"),
    ],
)
def test_model_of_locks_finds_what_is_broken(history: list[Entry], problem: str) -> None:
    assert locks.compare(3, history).problems == [problem]


@pytest.mark.parametrize(
    ("tally", "history", "problem"),
    [
        (Tally(9, 5), [], "tally_2 is Tally(events=9, last=5, misplaced=0), and the log has 5 events"),
        (Tally(10, 5, 1), [], "tally_2 is Tally(events=10, last=5, misplaced=1), and the log has 5 events"),
        (None, [], "tally_2 is None, and the log has 5 events"),
        (
            Tally(10, 5),
            [entry("caught up", head=4, target="tally_1", tally={"last": 3})],
            "one was caught up at 4, and tally_1 ends at 3",
        ),
    ],
)
def test_model_of_projections_finds_what_is_broken(
    tally: Tally | None, history: list[Entry], problem: str
) -> None:
    assert projections.compare(5, "tally_2", tally, history).problems == [problem]
