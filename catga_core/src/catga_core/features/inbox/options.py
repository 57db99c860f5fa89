"""The options of the inbox."""

from __future__ import annotations

from catga_core.feature_options import FeatureOptions


class InboxOptions(FeatureOptions, frozen=True, kw_only=True):
    """How received events are deduplicated.

    Args:
        retention_seconds: Seconds for which it is remembered which handler has had which event.
    """

    retention_seconds: float = 604_800.0
