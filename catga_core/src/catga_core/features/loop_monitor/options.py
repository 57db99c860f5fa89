"""The options of the loop monitor."""

from __future__ import annotations

from catga_core.feature_options import FeatureOptions


class LoopMonitorOptions(FeatureOptions, frozen=True, kw_only=True):
    """When a handler that blocks the event loop is logged.

    Args:
        warning_seconds: Seconds that a handler may block the loop before a warning is due; `None` for no monitor.
        repeat_seconds: Seconds between two warnings for one handler.
    """

    warning_seconds: float | None = 0.2
    repeat_seconds: float = 10.0
