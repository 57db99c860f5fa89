"""The waits of a saga: for a time, and for events."""

from __future__ import annotations

from datetime import datetime, timedelta

from catga_core.option_checks import check_seconds
from catga_core.sagas.entries import Received, Sleep, Time, Wait
from catga_core.sagas.execution import Execution


def time_of(execution: Execution) -> float:
    """Return the time, or the recorded one."""
    branch = execution.here()
    found = execution.recorded(branch, Time, "")
    if found is not None:
        at: float = found[1].at
        return at
    execution.check(branch)
    at = execution.clock.time()
    # Written with the next entry: nothing that depends on it is written before.
    execution.journal.record(Time(branch.path, "", at))
    return at


async def slept(execution: Execution, seconds: float | timedelta | None, until: datetime | None) -> None:
    """Return at the end of a pause."""
    branch = execution.here()
    branch.begin("sleep")
    try:
        found = execution.recorded(branch, Sleep, "")
        if found is None:
            await execution.go_on(branch)
            ends_at = _end_of(seconds, until, execution.clock.time())
            execution.journal.record(Sleep(branch.path, "", ends_at))
        else:
            ends_at = found[1].until
            # What was recorded after it shows that it ended, whatever the clock says now.
            below = f"{branch.path}{branch.gathers}."
            if not branch.is_live or (execution.replaying and execution.history.has_branches(below)):
                return
        while execution.clock.time() < ends_at:
            await execution.wait(branch, ends_at, None)
    finally:
        branch.busy = None


async def received(execution: Execution, topic: str, timeout: float | timedelta | None) -> bytes | None:
    """Return the bytes of the next signal of a topic, `None` where none came in time."""
    branch = execution.here()
    branch.begin("wait_for")
    try:
        found = execution.recorded(branch, Wait, topic)
        if found is None:
            await execution.go_on(branch)
            until = None if timeout is None else execution.clock.time() + _seconds(timeout)
            execution.journal.record(Wait(branch.path, topic, topic, until))
        else:
            until = found[1].until
        ended = execution.recorded(branch, Received, topic)
        if ended is not None:
            entry: Received = ended[1]
            return entry.data if entry.position is not None else None
        await execution.go_on(branch)
        while True:
            entry_ = await execution.surely(branch, lambda: _next_of(execution, branch.path, topic, until))
            if entry_ is not None:
                execution.journal.record(entry_)
                return entry_.data if entry_.position is not None else None
            await execution.wait(branch, until, topic)
    finally:
        branch.busy = None


async def _next_of(execution: Execution, path: str, topic: str, until: float | None) -> Received | None:
    """Return the end of a wait, `None` where it has not come."""
    positions = execution.history.positions
    while signals := await execution.store.signals(topic, after=positions.get(topic, 0)):
        signal = signals[0]
        # Otherwise another branch took it meanwhile.
        if signal.position > positions.get(topic, 0):
            positions[topic] = signal.position
            return Received(path, topic, topic, signal.position, signal.data)
    if until is not None and execution.clock.time() >= until:
        return Received(path, topic, topic, None, b"")
    return None


def _seconds(given: float | timedelta) -> float:
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    check_seconds("seconds", seconds, least=0)
    return seconds


def _end_of(seconds: float | timedelta | None, until: datetime | None, now: float) -> float:
    if seconds is not None and until is None:
        return now + _seconds(seconds)
    if until is None or seconds is not None:
        msg = "sleep() takes seconds or until=, one of the two. Pass sleep(60), or sleep(until=tomorrow)."
        raise ValueError(msg)
    if until.tzinfo is None:
        msg = f"until must be timezone-aware; got {until!r}. Pass datetime(..., tzinfo=UTC)."
        raise ValueError(msg)
    return until.timestamp()
