"""What must hold of a run once everything that was published is settled."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence

import msgspec

from catga_core import CatgaApp
from catga_core.interfaces import ALL_LETTERS, QueueState
from tests.faults.histories.history import Entry
from tests.faults.messaging.application import LEASE, compose, queues_of, services_of
from tests.faults.messaging.plan import BOOKED, Planned
from tests.faults.messaging.processes import Pause
from tests.faults.messaging.ways import Way


class Found(msgspec.Struct):
    """What a look has found."""

    counts: Counter[str] = msgspec.field(default_factory=Counter[str])
    problems: list[str] = []


class Effect(msgspec.Struct, frozen=True):
    """A message was handled.

    Args:
        queue: Its queue.
        id: The message.
        key: Its key, empty for none.
        number: Its number within the key.
        began: When the handler began.
        ended: When it ended.
        stale: Whether its process stood still meanwhile, so that it may have lost the message.
    """

    queue: str
    id: str
    key: str
    number: int
    began: float
    ended: float
    stale: bool


async def look(
    way: Way,
    plan: dict[str, Planned],
    published: Sequence[Entry],
    effects: Sequence[Effect],
    booked: Sequence[Effect],
    *,
    purged: Collection[tuple[str, str]] = (),
) -> Found:
    """Compare what is stored, and what handlers have left, with what was published.

    Args:
        way: Reaches the storages and the servers.
        plan: What was to be published.
        published: What publishers have said.
        effects: What handlers have done, in its order.
        booked: What handlers have written in their units of work, in its order.
        purged: The dead letters that were purged meanwhile, by queue and message.
    """
    found = Found()
    tried = {each["id"] for each in published if each.kind == "try"}
    acknowledged = {each["id"] for each in published if each.kind == "acknowledged"}
    found.counts["published"] = len(acknowledged)
    found.counts["not acknowledged"] = len(tried - acknowledged)
    copies = {(queue, id) for id in tried for queue in queues_of(way, plan[id].kind)}
    wanted = {(queue, id) for queue, id in copies if id in acknowledged}
    if way.servers:
        letters = {*purged}
        found.counts["dead letters that were purged to release their keys"] = len(purged)
        for made in services_of(way):
            async with made().running(roles={"admin"}) as app:
                letters |= await _letters(app)
        # The server keeps no message that is done; there is no other trace of those.
        done = {(each.queue, each.id) for each in (*effects, *booked)}
        found.counts["handled"] = len(done)
        found.counts["dead letters of what took effect before"] = len(letters & done)
    else:
        async with compose(way).running(roles={"admin"}) as app:
            letters = await _letters(app)
            done = await _done(app, copies, found)
            for queue, stats in (await app.message_queues.stats()).items():
                found.problems.append(f"{queue} is not empty: {stats}")
        found.problems += [
            f"{id} in {queue} is done, and a dead letter" for queue, id in sorted(done & letters)
        ]
    found.problems += [
        f"{id} in {queue} was acknowledged and is lost" for queue, id in sorted(wanted - done - letters)
    ]
    found.problems += [
        f"{id} in {queue} is a dead letter, and was never published" for queue, id in letters - copies
    ]
    # Handled and dead letters are together as many as these two, or something is lost.
    found.counts["published, for each queue"] = len(wanted)
    found.counts["not acknowledged, and in a queue all the same"] = len((done | letters) - wanted)
    found.counts["dead letters"] = len(letters - done)
    found.counts["dead letters after attempts that were cut off"] = sum(
        not plan[id].may_die for _, id in letters - done
    )
    _check_effects([*effects, *booked], plan, tried, done, letters, found)
    check_order(effects, acknowledged, found)
    check_order(booked, acknowledged, found)
    _check_delays(published, effects, plan, found)
    return found


def effects_of(history: Iterable[Entry], pauses: Sequence[Pause]) -> list[Effect]:
    """Return what handlers have done, in its order."""
    of: defaultdict[str, list[Pause]] = defaultdict(list)
    for pause in pauses:
        # A shorter one loses no lease, which is renewed after a third.
        if pause.ended - pause.began > LEASE / 2:
            of[pause.pid].append(pause)
    return [
        Effect(
            each["queue"],
            each["id"],
            each["key"],
            each["number"],
            each["began"],
            each.at,
            any(each["began"] <= one.ended and each.at >= one.began for one in of[each.worker]),
        )
        for each in history
        if each.kind == "handled"
    ]


def check_order(effects: Sequence[Effect], acknowledged: set[str], found: Found) -> None:
    """Check that of a key no message was handled before an earlier one was, nor again after a later one.

    A handler whose process stood still may have lost its message and act on the outside all the same: what it did is counted
    and left out, except in the storage, which refuses it. So are messages whose publisher did not wait until they were kept.
    """
    of_key: defaultdict[tuple[str, str], list[Effect]] = defaultdict(list)
    for each in effects:
        if not each.key or each.id not in acknowledged:
            continue
        if each.stale:
            found.counts["handled by a process that stood still"] += 1
            continue
        of_key[each.queue, each.key].append(each)
    for (queue, key), several in of_key.items():
        latest = several[0]
        for each in several[1:]:
            if each.number < latest.number or (each.number > latest.number and each.began < latest.ended):
                found.problems.append(
                    f"order of key {key} in {queue}: {each.number} ({each.began:.3f} to {each.ended:.3f}) after "
                    f"{latest.number} (ended {latest.ended:.3f})"
                )
            if each.number > latest.number:
                # Only its first end counts: it is repeated until it is known to be done.
                latest = each
        found.counts["keys in order"] += 1


async def _letters(app: CatgaApp) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    after: str | None = None
    while True:
        page = await app.dead_letter_queue.find(ALL_LETTERS, after=after, limit=500)
        found |= {(each.queue, each.context.message_id) for each in page.letters}
        after = page.next
        if after is None:
            return found


async def _done(app: CatgaApp, copies: Iterable[tuple[str, str]], found: Found) -> set[tuple[str, str]]:
    """Return what is done, by queue and message."""
    done: set[tuple[str, str]] = set()
    for queue, id in sorted(copies):
        entry = await app.message_queues.get(queue, id)
        if entry is not None and entry.state is not QueueState.DONE:
            found.problems.append(f"{id} in {queue} is {entry.state}")
        elif entry is not None:
            done.add((queue, id))
    found.counts["handled"] = len(done)
    return done


def _check_effects(
    effects: Sequence[Effect],
    plan: dict[str, Planned],
    tried: set[str],
    done: set[tuple[str, str]],
    letters: set[tuple[str, str]],
    found: Found,
) -> None:
    times = Counter((each.queue, each.id) for each in effects)
    for queue, id in sorted(done - set(times)):
        found.problems.append(f"{id} in {queue} is done, and was never handled")
    for (queue, id), count in sorted(times.items()):
        once = plan[id].kind == BOOKED
        found.counts["effects exactly once" if once else "effects at least once"] += count
        if id not in tried:
            found.problems.append(f"{id} in {queue} was handled, and never published")
        if count > 1:
            found.counts["duplicates at least once"] += 0 if once else count - 1
            if once:
                found.problems.append(f"{id} in {queue} took effect {count} times")
        if once and (queue, id) in letters:
            found.problems.append(f"{id} in {queue} took effect, and is a dead letter")


def _check_delays(
    published: Sequence[Entry], effects: Sequence[Effect], plan: dict[str, Planned], found: Found
) -> None:
    tried: dict[str, float] = {}
    for each in published:
        if each.kind == "try":
            tried.setdefault(each["id"], each.at)
    for effect in effects:
        delay = plan[effect.id].delay
        if delay:
            found.counts["delayed"] += 1
            if effect.began < tried[effect.id] + delay - 0.01:
                found.problems.append(f"{effect.id} was handled before it was due")
