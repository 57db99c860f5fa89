"""Appends with and without an expected version, and readers of the whole log."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from catga_core import CatgaApp, CatgaError, CatgaOptions, ErrorCode, Event, add_catga, message
from catga_core.errors import Outcome
from catga_core.interfaces import ANY, EventData, StoredEvent
from tests.faults.histories.history import Entry
from tests.faults.histories.workload import Found, Task, Workload

STREAMS = 4
_PAUSE = 0.01


@message(name="histories.happened")
class Happened(Event):
    """One event; its message id is all that matters."""


async def work(task: Task) -> None:
    """Append, or read the log again and again."""
    async with add_catga(CatgaOptions(store=task.url)).running() as app:
        app.event_store.register(Happened)
        await (_read if task.role.startswith("read") else _append)(app, task)


async def _append(app: CatgaApp, task: Task) -> None:
    chance, record, number = task.chance, task.record, 0
    versions: dict[str, int] = {}
    while not task.stop.is_set():
        number += 1
        stream = f"s{chance.randrange(STREAMS)}"
        ids = [f"{record.worker}-{number}-{index}" for index in range(chance.randint(1, 3))]
        expected = ANY if chance.random() < 0.3 else versions.get(stream, 0)
        # After an unknown outcome the same append once more: it is stored once.
        for _ in range(1 + (chance.random() < 0.5)):
            record("append", ids=ids, stream=stream, expected=expected)
            try:
                done = await app.event_store.append(
                    stream, [EventData(Happened(), id) for id in ids], expected_version=expected
                )
            except CatgaError as error:
                record("failed", ids=ids, code=error.code, outcome=error.outcome)
                await _look(app, stream, versions)
                if error.outcome is not Outcome.UNKNOWN:
                    break
            else:
                record("appended", ids=ids, version=done.version, position=done.position)
                versions[stream] = done.version
                break
        await asyncio.sleep(chance.random() * _PAUSE)


async def _look(app: CatgaApp, stream: str, versions: dict[str, int]) -> None:
    try:
        versions[stream] = await app.event_store.version(stream)
    except CatgaError:
        versions.pop(stream, None)


async def _read(app: CatgaApp, task: Task) -> None:
    after = 0
    while not task.stop.is_set():
        try:
            page = [(each.position, each.message_id) async for each in app.event_store.read_all(after=after)]
        except CatgaError:
            page = []
        if page:
            task.record("read", after=after, events=page)
            after = page[-1][0]
        await asyncio.sleep(_PAUSE)


async def check(url: str, history: Sequence[Entry]) -> Found:
    """Compare the log with what was acknowledged, refused and read."""
    async with add_catga(CatgaOptions(store=url)).running() as app:
        app.event_store.register(Happened)
        stored = [each async for each in app.event_store.read_all()]
    return compare(stored, history)


def compare(stored: Sequence[StoredEvent], history: Sequence[Entry]) -> Found:
    """Compare a log with a history.

    Args:
        stored: The events of the log.
        history: What the processes have done and seen.
    """
    found = Found()
    order = [(each.position, each.message_id) for each in stored]
    if [position for position, _ in order] != sorted({position for position, _ in order}):
        found.problems.append("positions do not rise")
    if len({id for _, id in order}) != len(order):
        found.problems.append("an event is stored twice")
    by_id = {each.message_id: each for each in stored}
    appends: dict[str, _Append] = {}
    for entry in history:
        if entry.kind in {"append", "appended", "failed"}:
            appends.setdefault(entry["ids"][0], _Append()).note(entry)
    for each in appends.values():
        found.problems += each.problems(by_id)
        found.counts["appends acknowledged"] += each.acknowledged is not None
        found.counts["appends refused"] += each.refused
        found.counts["outcomes unknown"] += each.unknown
    found.problems += _late(appends.values(), by_id)
    found.problems += _misread(history, order, found)
    found.counts["events"] = len(stored)
    return found


class _Append:
    """One append, tried once or twice."""

    def __init__(self) -> None:
        self.began = 0.0
        self.ids: list[str] = []
        self.stream = ""
        self.expected = ANY
        self.tries = 0
        self.acknowledged: Entry | None = None
        self.refused = False
        self.unknown = False

    def note(self, entry: Entry) -> None:
        if entry.kind == "append":
            self.tries += 1
            if self.tries == 1:
                self.began, self.ids, self.stream = entry.at, entry["ids"], entry["stream"]
                self.expected = entry["expected"]
        elif entry.kind == "appended":
            self.acknowledged = entry
        elif entry["outcome"] == Outcome.UNKNOWN:
            self.unknown = True
        elif entry["code"] == ErrorCode.CONFLICT or entry["outcome"] == Outcome.NOT_WRITTEN:
            self.refused = True

    def problems(self, by_id: dict[str, StoredEvent]) -> list[str]:
        there = [by_id[id] for id in self.ids if id in by_id]
        name = self.ids[0]
        if not there:
            return [f"{name} was acknowledged and is lost"] if self.acknowledged is not None else []
        if len(there) != len(self.ids):
            return [f"{name} is stored in part: {len(there)} of {len(self.ids)}"]
        if self.refused and not self.unknown and self.acknowledged is None:
            return [f"{name} was refused and is stored"]
        first = there[0].version
        found: list[str] = []
        if [(each.stream_id, each.version) for each in there] != [
            (self.stream, first + index) for index in range(len(there))
        ]:
            found.append(f"{name} is not together in {self.stream}")
        if self.expected != ANY and first != self.expected + 1:
            found.append(f"{name} expected version {self.expected} and begins at {first}")
        last = there[-1]
        if self.acknowledged is not None and (last.version, last.position) != (
            self.acknowledged["version"],
            self.acknowledged["position"],
        ):
            found.append(f"{name} was acknowledged at another place than where it is")
        return found


def _late(appends: Any, by_id: dict[str, StoredEvent]) -> list[str]:
    """Find an append that began after another one was acknowledged, and stands before it."""
    moments: list[tuple[float, int, _Append]] = []
    for each in appends:
        moments.append((each.began, 1, each))
        if each.acknowledged is not None:
            moments.append((each.acknowledged.at, 0, each))
    highest, floors, found = 0, dict[str, int](), list[str]()
    for _, begins, each in sorted(moments, key=lambda moment: moment[:2]):
        if begins:
            floors[each.ids[0]] = highest
        elif each.acknowledged is not None:
            highest = max(highest, each.acknowledged["position"])
    for name, floor in floors.items():
        if name in by_id and by_id[name].position <= floor:
            found.append(f"{name} began after position {floor} was acknowledged, and stands before it")
    return found


def _misread(history: Sequence[Entry], order: list[tuple[int, str]], found: Found) -> list[str]:
    """Find a reader that has seen another order, or has passed over an event."""
    seen: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for entry in history:
        if entry.kind == "read":
            seen[entry.worker] += [(position, id) for position, id in entry["events"]]
    found.counts["events read"] += sum(map(len, seen.values()))
    return [
        f"{worker} has read another log than there is"
        for worker, events in seen.items()
        if events != order[: len(events)]
    ]


EVENTS = Workload(
    name="events",
    places=("sqlite", "redis", "replicas"),
    roles=("append-1", "append-2", "append-3", "read"),
    work=work,
    check=check,
)
