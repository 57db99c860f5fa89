"""How far a follower is and how it fares: for waiting, for health, for the log."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from catga_core.interfaces.health import Health, HealthStatus


class FollowerState(StrEnum):
    """What a follower does at the moment."""

    STARTING = "starting"
    STANDBY = "standby"
    """Another process does the work."""
    CATCHING_UP = "catching up"
    RUNNING = "running"
    """It is at the head of the log, or handles what has just come."""
    RETRYING = "retrying"
    """An event failed or the storage is away; it tries again."""
    STOPPED = "stopped"
    """An event failed for good; somebody has to resume it."""
    SUPERSEDED = "superseded"
    """A newer version has taken over."""
    ENDED = "ended"


_WELL = frozenset({FollowerState.STANDBY, FollowerState.RUNNING, FollowerState.CATCHING_UP})


class Progress:
    """What one follower tells of itself; it is written by the follower and read by everybody.

    Parameters:
        name: the follower's own name.
    """

    def __init__(self, name: str) -> None:
        self.name: str = name
        self.state: FollowerState = FollowerState.STARTING
        self.reason: str = ""
        self.position: int = 0
        self.head: int = 0
        self.next_recorded_at: int | None = None
        self.handled: int = 0
        self.skipped: int = 0
        self.parked: int = 0
        self._watchers: set[asyncio.Future[None]] = set()

    @property
    def lag(self) -> int:
        """How many positions it is behind the head of the log, as last seen."""
        return max(0, self.head - self.position)

    @property
    def at_work(self) -> bool:
        """Whether this process does the work, so that `position` is the truth."""
        return self.state in {FollowerState.RUNNING, FollowerState.CATCHING_UP}

    def seconds_behind(self, now: float) -> float:
        """Return how long ago the first event was recorded that is not done, 0 where there is none.

        Parameters:
            now: seconds since the epoch.
        """
        if self.next_recorded_at is None:
            return 0.0
        return max(0.0, now - self.next_recorded_at / 1_000_000)

    def change(self, state: FollowerState, reason: str = "") -> None:
        """Note what it does now; who waits is told."""
        self.state = state
        self.reason = reason
        self._tell()

    def reached(self, position: int) -> None:
        """Note that it is done up to a position; who waits is told."""
        self.position = position
        self.head = max(self.head, position)
        self._tell()

    def saw_head(self, head: int) -> None:
        """Note the last position of the log; at the head there is nothing that waits."""
        self.head = max(head, self.position)
        if self.lag == 0:
            self.next_recorded_at = None

    async def changed(self, timeout: float) -> None:
        """Return when something changes, at the latest after so many seconds of real time."""
        watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers.add(watcher)
        try:
            await asyncio.wait([watcher], timeout=timeout)
        finally:
            self._watchers.discard(watcher)

    def _tell(self) -> None:
        for watcher in self._watchers:
            if not watcher.done():
                watcher.set_result(None)


def follower_health(
    parts: Sequence[Progress], delivery: str, now: float, unknown: Mapping[str, int]
) -> Health:
    """Return the health of what one or several followers do together.

    Parameters:
        parts: what each of them tells, one or more.
        delivery: how often an event takes effect, in words.
        now: seconds since the epoch.
        unknown: how many events of unknown names were passed over, by `name v1`.
    """
    stopped = [each for each in parts if each.state is FollowerState.STOPPED]
    unwell = [each for each in parts if each.state not in _WELL]
    worst = (stopped or unwell or sorted(parts, key=lambda each: -each.lag))[0]
    parked = max(each.parked for each in parts)
    if stopped:
        status = HealthStatus.UNHEALTHY
    elif unwell or parked or unknown:
        status = HealthStatus.DEGRADED
    else:
        status = HealthStatus.HEALTHY
    description = f"{worst.state}: {worst.reason}" if worst.reason else str(worst.state)
    if not stopped and parked:
        description += f"; {parked} parked events wait in the dead letters"
    if unknown:
        names = ", ".join(unknown)
        description += (
            f"; events of unknown names were passed over: {names}. Import the modules that define them, or declare them with "
            "ignore_unknown"
        )
    details: dict[str, Any] = {
        "state": str(worst.state),
        "position": min(each.position for each in parts),
        "head": max(each.head for each in parts),
        "lag": max(each.lag for each in parts),
        "seconds_behind": round(max(each.seconds_behind(now) for each in parts), 3),
        "handled": sum(each.handled for each in parts),
        "parked": parked,
        "skipped": sum(each.skipped for each in parts),
        "delivery": delivery,
    }
    if unknown:
        details["unknown"] = dict(unknown)
    if len(parts) > 1:
        details["parts"] = {each.name: str(each.state) for each in parts}
    return Health(status, description, details)
