"""The options of dead letters."""

from __future__ import annotations

from catga_core.feature_options import FeatureOptions
from catga_core.option_checks import MOST_COUNT


class DeadLetterOptions(FeatureOptions, frozen=True, kw_only=True):
    """What is kept as a dead letter, how dead letters are replayed, and when their number raises an alarm.

    Args:
        keep_failed_events: Whether each event that a handler failed for is kept. Without it only dead letters of other features
            are there, such as those of the outbox and of queues.
        replay_lease_seconds: Seconds after which a dead letter whose replaying process died can be replayed by another one;
            renewed meanwhile. A handler in a unit of work of SQLite has to end within it.
        alarm_count: The number of dead letters from which on health is degraded and an error is logged; `None` for no limit.
        alarm_growth: So many more dead letters within `alarm_window_seconds` do the same; `None` for no limit.
        alarm_window_seconds: The time in which growth is measured.
    """

    keep_failed_events: bool = True
    replay_lease_seconds: float = 60.0
    alarm_count: int | None = 1_000
    alarm_growth: int | None = 100
    alarm_window_seconds: float = 300.0

    def check(self) -> list[str]:
        """Return what is wrong with the options."""
        return [
            f"DeadLetterOptions({name}={value!r}) must be a whole number >= 1, or None."
            for name in ("alarm_count", "alarm_growth")
            if (value := getattr(self, name)) is not None and not 1 <= value <= MOST_COUNT
        ]
