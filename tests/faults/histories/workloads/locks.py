"""One lock, held by one process at a time, and what is written under it by rising fencing tokens."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence

from catga_core import CatgaApp, CatgaError, CatgaOptions, LeaseLostError, add_catga
from catga_core.interfaces import CheckpointStore
from catga_core.reliability import Locks
from tests.faults.histories.history import Entry
from tests.faults.histories.workload import Found, Task, Workload

_LEASE = 0.4
_LONGEST = 0.8
_PAUSE = 0.005
_REGISTER = "guarded"


async def work(task: Task) -> None:
    """Hold the lock again and again, and write under it."""
    chance, record = task.chance, task.record
    async with add_catga(CatgaOptions(store=task.url)).running() as app:
        while not task.stop.is_set():
            try:
                async with app.get(Locks).hold("stock", lease=_LEASE, timeout=1) as lock:
                    until = time.monotonic() + chance.random() * _LONGEST
                    while time.monotonic() < until:
                        # From before the check: a process that stands still after it proves nothing for later.
                        at = time.monotonic()
                        lock.check()
                        record("held", at=at, token=lock.fencing_token)
                        await _write(app, task, lock.fencing_token)
                        await asyncio.sleep(_PAUSE)
            except CatgaError as error:
                record("lost", code=error.code)
            await asyncio.sleep(chance.random() * _PAUSE)


async def _write(app: CatgaApp, task: Task, token: int) -> None:
    began = time.monotonic()
    try:
        await app.get(CheckpointStore).save(_REGISTER, token, fencing_token=token)
    except LeaseLostError:
        task.record("refused", token=token)
    else:
        task.record("wrote", token=token, began=began)


async def check(url: str, history: Sequence[Entry]) -> Found:
    """Compare what the holders have seen with a lock that one holds at a time."""
    async with add_catga(CatgaOptions(store=url)).running() as app:
        stored = await app.get(CheckpointStore).load(_REGISTER)
    return compare(0 if stored is None else stored.position, history)


def compare(stored: int, history: Sequence[Entry]) -> Found:
    """Compare a register with a history.

    Args:
        stored: The token that was written last.
        history: What the processes have done and seen.
    """
    found = Found()
    spans: dict[int, tuple[str, float, float]] = {}
    highest = 0
    for entry in history:
        if entry.kind == "held":
            token = entry["token"]
            holder, began, _ = spans.get(token, (entry.worker, entry.at, entry.at))
            if holder != entry.worker:
                found.problems.append(f"token {token} was given to {holder} and {entry.worker}")
            spans[token] = (holder, began, entry.at)
        elif entry.kind == "wrote":
            found.counts["guarded writes"] += 1
            highest = max(highest, entry["token"])
        elif entry.kind in {"lost", "refused"}:
            found.counts[f"{entry.kind}"] += 1
    if stored < highest:
        found.problems.append(f"token {highest} was written, and {stored} is stored")
    found.problems += _refuted(history)
    in_order = sorted(spans.items(), key=lambda each: each[1][1])
    for (token, (holder, _, last)), (later, (other, began, _)) in itertools.pairwise(in_order):
        if later < token:
            found.problems.append(f"{other} was given token {later} after {holder} had {token}")
        if began < last:
            found.problems.append(
                f"{holder} and {other} both held the lock for {last - began:.3f} s (tokens {token} and {later})"
            )
    found.counts["times held"] = len(spans)
    return found


def _refuted(history: Sequence[Entry]) -> list[str]:
    """Find a write that began after one with a higher token was acknowledged, and was not refused."""
    found: list[str] = []
    done = sorted((entry.at, entry["token"]) for entry in history if entry.kind == "wrote")
    starts = sorted((entry["began"], entry["token"]) for entry in history if entry.kind == "wrote")
    highest, place = 0, 0
    for began, token in starts:
        while place < len(done) and done[place][0] < began:
            highest = max(highest, done[place][1])
            place += 1
        if token < highest:
            found.append(f"a write with token {token} was taken after one with {highest}")
    return found


LOCKS = Workload(
    name="locks",
    places=("sqlite", "redis"),
    roles=("hold-1", "hold-2", "hold-3"),
    work=work,
    check=check,
)
