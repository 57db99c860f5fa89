"""What must hold of what is left after a kill, and what more once all work that was left has been done."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import msgspec

from catga_core import CatgaApp
from catga_core.interfaces import StoredEvent
from catga_testing.waiting import NotInTimeError, eventually
from tests.faults.kills.application import compose, reader_for
from tests.faults.kills.domain import Added, Paid, Receipted
from tests.faults.kills.totals import totals_of

_SETTLED_WITHIN = 60.0


class Found(msgspec.Struct):
    """What one look has found."""

    problems: list[str] = []
    events_acknowledged: int = 0
    commands_acknowledged: int = 0
    commands_sent_again: int = 0
    events_relayed: int = 0
    events_projected: int = 0


async def look(url: str, said: Sequence[str], *, settle: bool) -> Found:
    """Compare what is stored with what was acknowledged.

    Parameters:
        url: the place.
        said: what the applications have said.
        settle: first let an application finish what the killed ones have left.
    """
    found = Found()
    found.problems += [line for line in said if line.startswith("broken")]
    async with _opened(url, working=settle) as app:
        if settle:
            await _settled(app, url, found)
        stored = [each async for each in app.event_store.read_all()]
        _check_positions(stored, found)
        _check_batches(stored, said, found)
        _check_payments(stored, said, found, settled=settle)
        await _check_totals(app, url, stored, found)
    return found


@asynccontextmanager
async def _opened(url: str, *, working: bool) -> AsyncGenerator[CatgaApp]:
    async with compose(url, working=working).running() as app:
        app.event_store.register(Added, Paid, Receipted)
        yield app


async def _settled(app: CatgaApp, url: str, found: Found) -> None:
    async def is_settled() -> bool:
        paid, receipted = await _numbers(app)
        totals = await totals_of(app, reader_for(url))
        stats = await app.outbox.stats()
        return stats.pending == 0 and set(receipted) == set(paid) and totals.count == len(paid)

    try:
        await eventually(is_settled, within=_SETTLED_WITHIN, every=0.05)
    except NotInTimeError as error:
        found.problems.append(f"what was left was not finished within {_SETTLED_WITHIN:g} s: {error}")


async def _numbers(app: CatgaApp) -> tuple[list[int], list[int]]:
    events = [each.event async for each in app.event_store.read_all()]
    paid = [event.number for event in events if isinstance(event, Paid)]
    return paid, [event.number for event in events if isinstance(event, Receipted)]


def _check_positions(stored: Sequence[StoredEvent], found: Found) -> None:
    positions = [each.position for each in stored]
    if positions != sorted(set(positions)):
        found.problems.append("positions do not rise")
    versions: defaultdict[str, list[int]] = defaultdict(list)
    for each in stored:
        versions[each.stream_id].append(each.version)
    for stream, numbers in versions.items():
        if numbers != list(range(1, len(numbers) + 1)):
            found.problems.append(f"the versions of {stream} are not 1 to {len(numbers)}: {numbers}")
    ids = Counter(each.message_id for each in stored)
    found.problems += [f"event {id} is there {count} times" for id, count in ids.items() if count > 1]


def _check_batches(stored: Sequence[StoredEvent], said: Sequence[str], found: Found) -> None:
    batches: defaultdict[str, list[StoredEvent]] = defaultdict(list)
    for each in stored:
        if isinstance(each.event, Added):
            batches[each.event.batch].append(each)
    for batch, events in batches.items():
        if len(events) != events[0].event.size:
            found.problems.append(
                f"of batch {batch} there are {len(events)} of {events[0].event.size} events"
            )
    for line in said:
        if line.startswith("added "):
            _, stream, version, batch, size = line.split()
            found.events_acknowledged += int(size)
            last = batches[batch][-1] if batches[batch] else None
            if last is None or (last.stream_id, last.version) != (stream, int(version)):
                found.problems.append(
                    f"batch {batch} was acknowledged at {stream} {version} and is not there"
                )


def _check_payments(
    stored: Sequence[StoredEvent], said: Sequence[str], found: Found, *, settled: bool
) -> None:
    paid = Counter(each.event.number for each in stored if isinstance(each.event, Paid))
    receipted = Counter(each.event.number for each in stored if isinstance(each.event, Receipted))
    found.problems += [
        f"payment {number} was made {count} times" for number, count in paid.items() if count > 1
    ]
    found.problems += [
        f"receipt {number} went out {count} times" for number, count in receipted.items() if count > 1
    ]
    found.problems += [
        f"receipt {number} went out without a payment" for number in receipted if number not in paid
    ]
    for line in said:
        if line.startswith("paid "):
            found.commands_acknowledged += 1
            number = int(line.split()[1])
            if number not in paid:
                found.problems.append(f"payment {number} was acknowledged and is not there")
        found.commands_sent_again += line == "again"
    found.events_relayed = receipted.total()
    if settled:
        lost = [number for number in paid if number not in receipted]
        found.problems += [f"payment {number} got no receipt" for number in lost]


async def _check_totals(app: CatgaApp, url: str, stored: Sequence[StoredEvent], found: Found) -> None:
    totals = await totals_of(app, reader_for(url))
    seen = [
        each.event for each in stored if isinstance(each.event, Paid) and each.position <= totals.checkpoint
    ]
    found.events_projected = totals.count
    if (totals.count, totals.amount) != (len(seen), sum(event.amount for event in seen)):
        found.problems.append(
            f"the projection counts {totals.count} payments of {totals.amount} in all at its checkpoint "
            f"{totals.checkpoint}, and there were {len(seen)} of {sum(event.amount for event in seen)}"
        )
