"""Units of work over two streams: money is moved between accounts, whole or not at all, and never more than there is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from catga_core import CatgaApp, CatgaError, CatgaOptions, ErrorCode, Event, add_catga, message
from catga_core.errors import Outcome
from catga_core.interfaces import EventData, NamedValueStore, StoredEvent
from tests.faults.histories.history import Entry
from tests.faults.histories.workload import Found, Task, Workload

ACCOUNTS = 4
_OPENED_WITH = 20
_PAUSE = 0.01


@message(name="histories.moved")
class Moved(Event):
    """Money came to an account, or left it."""

    amount: int


async def work(task: Task) -> None:
    """Move money until stopped."""
    chance, record, number = task.chance, task.record, 0
    async with add_catga(CatgaOptions(store=task.url)).running() as app:
        app.event_store.register(Moved)
        while not task.stop.is_set():
            number += 1
            source, target = chance.sample(range(ACCOUNTS), 2)
            id, amount = f"{record.worker}-{number}", chance.randint(1, 2 * _OPENED_WITH)
            record("move", id=id)
            try:
                moved = await _move(app, id, f"a{source}", f"a{target}", amount)
            except CatgaError as error:
                record("failed", id=id, code=error.code, outcome=error.outcome)
            else:
                record("moved" if moved else "declined", id=id)
            await asyncio.sleep(chance.random() * _PAUSE)


async def _move(app: CatgaApp, id: str, source: str, target: str, amount: int) -> bool:
    store = app.event_store
    async with app.unit_of_work():
        balance, version = _OPENED_WITH, 0
        async for each in store.read(source):
            balance, version = balance + each.event.amount, each.version
        if balance < amount:
            return False
        await store.append(source, EventData(Moved(-amount), f"{id}-out"), expected_version=version)
        await store.append(target, EventData(Moved(amount), f"{id}-in"))
        await app.get(NamedValueStore).set(f"moved:{id}", amount)
    return True


async def check(url: str, history: Sequence[Entry]) -> Found:
    """Compare the accounts with what was acknowledged."""
    async with add_catga(CatgaOptions(store=url)).running() as app:
        app.event_store.register(Moved)
        stored = [each async for each in app.event_store.read_all()]
        values = await app.get(NamedValueStore).list("moved:")
    return compare(stored, values, history)


def compare(stored: Sequence[StoredEvent], values: dict[str, int], history: Sequence[Entry]) -> Found:
    """Compare accounts with a history.

    Args:
        stored: The events of the log.
        values: The amount of each transfer, by its id.
        history: What the processes have done and seen.
    """
    found = Found()
    balances = Counter({f"a{number}": _OPENED_WITH for number in range(ACCOUNTS)})
    parts: Counter[str] = Counter()
    for each in stored:
        balances[each.stream_id] += each.event.amount
        parts[each.message_id.rpartition("-")[0]] += 1
        if balances[each.stream_id] < 0:
            found.problems.append(f"{each.stream_id} is overdrawn at position {each.position}")
    if sum(balances.values()) != ACCOUNTS * _OPENED_WITH:
        found.problems.append("money was made or lost")
    whole = {id for id, count in parts.items() if count == 2 and f"moved:{id}" in values}
    found.problems += [f"{id} is there in part" for id in parts if id not in whole]
    found.problems += [f"{name} is there without its events" for name in values if name[6:] not in whole]
    for entry in history:
        if entry.kind == "moved":
            found.counts["transfers acknowledged"] += 1
            if entry["id"] not in whole:
                found.problems.append(f"{entry['id']} was acknowledged and is lost")
        elif entry.kind == "failed":
            unknown = entry["outcome"] == Outcome.UNKNOWN
            found.counts["outcomes unknown"] += unknown
            found.counts["conflicts"] += entry["code"] == ErrorCode.CONFLICT
            if entry["id"] in whole and not unknown:
                found.problems.append(f"{entry['id']} was refused ({entry['code']}) and is there")
        elif entry.kind == "declined" and entry["id"] in whole:
            found.problems.append(f"{entry['id']} was declined and is there")
    found.counts["events"] = len(stored)
    return found


UNITS = Workload(
    name="units of work",
    places=("sqlite", "redis"),
    roles=("move-1", "move-2", "move-3"),
    work=work,
    check=check,
)
