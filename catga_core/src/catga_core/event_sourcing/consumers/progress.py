"""How far a consumer is and how it fares: for waiting, health and the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar

from catga_core.event_sourcing.consumers.log_loss import LogLosses
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.runtime.waiter import Waiter


class ConsumerState(StrEnum):
    """What a consumer is doing."""

    IDLE = "not run here"
    """This process has not started it: it has no role `work`, or its container is not running."""
    STARTING = "starting"
    STANDBY = "standby"
    """Another process has the lease."""
    CATCHING_UP = "catching up"
    RUNNING = "running"
    """It is at the head of the log, or handles an event that was just appended."""
    RETRYING = "retrying"
    """An event failed or the storage is away; it tries again."""
    STOPPED = "stopped"
    """An event failed for good; an operator has to resume it."""
    SUPERSEDED = "superseded"
    """A newer version has taken over."""
    ENDED = "ended"


_WELL = frozenset({ConsumerState.STANDBY, ConsumerState.RUNNING, ConsumerState.CATCHING_UP})


class Progress:
    """What one consumer reports about itself.

    Args:
        name: The name of the consumer's checkpoint.
        kept: Whether there is such a checkpoint.
    """

    follows_head: ClassVar[bool] = False
    """Whether appends keep it at the head of the log."""

    def __init__(self, name: str, *, kept: bool = True) -> None:
        self.name: str = name
        self.kept: bool = kept
        self.state: ConsumerState = ConsumerState.IDLE
        self.reason: str = ""
        self.last_failure: str = ""
        """Why the last attempt to move on failed, until it has moved on."""
        self.position: int = 0
        self.event_id: str | None = None
        self.read_at: float = 0.0
        self.off_log: bool = False
        self.head: int = 0
        self.next_recorded_at: int | None = None
        self.handled: int = 0
        self.skipped: int = 0
        self.parked: int = 0
        self._waiter = Waiter()

    @property
    def lag(self) -> int:
        """Positions between the consumer and the head of the log, as last seen."""
        return max(0, self.head - self.position)

    @property
    def at_work(self) -> bool:
        """Whether this process has the lease, so that `position` is up to date."""
        return self.state in {ConsumerState.RUNNING, ConsumerState.CATCHING_UP}

    def seconds_behind(self, now: float) -> float:
        """Return how long ago the first event was recorded that is not done, 0 where there is none.

        Args:
            now: Seconds since the Unix epoch.
        """
        if self.next_recorded_at is None:
            return 0.0
        return max(0.0, now - self.next_recorded_at / 1_000_000)

    def change(self, state: ConsumerState, reason: str = "") -> None:
        """Set the state, and wake the tasks that wait for a change."""
        self.state = state
        self.reason = reason
        if state is ConsumerState.RETRYING:
            self.last_failure = reason
        self._waiter.wake()

    def reached(self, position: int, event_id: str | None = None) -> None:
        """Set the position that is done, and wake the tasks that wait for a change.

        Args:
            position: The position.
            event_id: The message id of the event there, `None` where it is not known.
        """
        if position > self.position:
            self.last_failure = ""
        self.position = position
        self.event_id = event_id
        self.off_log = False
        self.head = max(self.head, position)
        self._waiter.wake()

    def saw_head(self, head: int) -> None:
        """Set the last position of the log; at the head, no event waits."""
        self.head = head
        if self.lag == 0:
            self.next_recorded_at = None

    async def changed(self, timeout: float) -> None:
        """Return at the next change, at the latest after so many seconds of real time."""
        await self._waiter.wait(timeout=timeout)


def not_run_here(parts: Sequence[Progress]) -> bool:
    """Return whether this process has started none of a consumer's parts.

    Args:
        parts: The progress of each part.
    """
    return all(each.state is ConsumerState.IDLE for each in parts)


def consumer_health(
    parts: Sequence[Progress], delivery: str, now: float, unknown: Mapping[str, int], losses: LogLosses
) -> Health:
    """Return the health of a projection or subscription.

    Args:
        parts: The progress of its consumers, one or more.
        delivery: How often an event takes effect, in words.
        now: Seconds since the Unix epoch.
        unknown: How many events of unknown names were passed over, by `name v1`.
        losses: What was noticed of a log that lost its end.
    """
    if not_run_here(parts):
        # Positions and counts are not known here.
        reason = f"{ConsumerState.IDLE}: a process with the role 'work' runs it"
        return Health(HealthStatus.HEALTHY, reason, {"state": str(ConsumerState.IDLE), "delivery": delivery})
    stopped = [each for each in parts if each.state is ConsumerState.STOPPED]
    unwell = [each for each in parts if each.state not in _WELL]
    worst = (stopped or unwell or sorted(parts, key=lambda each: -each.lag))[0]
    parked = max(each.parked for each in parts)
    if stopped:
        status = HealthStatus.UNHEALTHY
    elif unwell or parked or unknown or losses.note or any(each.off_log for each in parts):
        status = HealthStatus.DEGRADED
    else:
        status = HealthStatus.HEALTHY
    description = f"{worst.state}: {worst.reason}" if worst.reason else str(worst.state)
    if not stopped:
        description += _remarks(parts, parked, losses)
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
    if losses.count:
        details["log_losses"] = losses.count
    if len(parts) > 1:
        details["parts"] = {each.name: str(each.state) for each in parts}
    return Health(status, description, details)


def _remarks(parts: Sequence[Progress], parked: int, losses: LogLosses) -> str:
    text = f"; {parked} parked events wait in the dead letters" if parked else ""
    off_log = next((each for each in parts if each.off_log), None)
    if off_log is not None:
        text += f"; the log has lost the event at its position {off_log.position}"
    if losses.note:
        text += f"; {losses.note}. Call resume to acknowledge it"
    return text
