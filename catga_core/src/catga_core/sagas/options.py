"""The options of sagas."""

from __future__ import annotations

from catga_core.feature_options import FeatureOptions
from catga_core.option_checks import MOST_COUNT


class SagaOptions(FeatureOptions, frozen=True, kw_only=True):
    """Options for running, retrying and retaining sagas.

    Args:
        concurrency: The most sagas that a process runs concurrently; sagas that wait for a time or an event do not count.
        lease_seconds: Seconds after which another process takes over the sagas of a dead process; a live process renews its leases.
        poll_seconds: Seconds between two queries for due sagas when no wake-up arrives.
        linger_seconds: Seconds that a waiting saga stays in memory before it is suspended.
        max_attempts: Attempts of a step.
        retry_delay_seconds: Seconds before a step's second attempt; doubled for each further attempt.
        retry_max_delay_seconds: The longest delay between two attempts of a step, in seconds.
        compensation_max_attempts: Attempts of a compensation.
        retention_seconds: Seconds that ended sagas and received events are kept. A repeated transaction id is recognized for this time.
    """

    concurrency: int = 1000
    lease_seconds: float = 30.0
    poll_seconds: float = 1.0
    linger_seconds: float = 1.0
    max_attempts: int = 3
    retry_delay_seconds: float = 0.2
    retry_max_delay_seconds: float = 30.0
    compensation_max_attempts: int = 10
    retention_seconds: float = 604_800.0

    def check(self) -> list[str]:
        """Return the problems of the options."""
        problems = [
            f"SagaOptions({name}={getattr(self, name)!r}) must be a whole number >= 1."
            for name in ("concurrency", "max_attempts", "compensation_max_attempts")
            if not 1 <= getattr(self, name) <= MOST_COUNT
        ]
        if self.retry_delay_seconds > self.retry_max_delay_seconds:
            problems.append(
                f"SagaOptions(retry_delay_seconds={self.retry_delay_seconds:g}) must not be above "
                f"retry_max_delay_seconds={self.retry_max_delay_seconds:g}. Raise the second, or lower the first."
            )
        return problems
