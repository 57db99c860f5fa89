"""The options of retention."""

from __future__ import annotations

from catga_core.feature_options import FeatureOptions


class RetentionOptions(FeatureOptions, frozen=True, kw_only=True):
    """How records whose retention has passed are removed.

    Args:
        interval_seconds: Seconds between two rounds.
    """

    interval_seconds: float = 60.0
