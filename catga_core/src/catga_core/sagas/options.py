"""The options of sagas."""

from __future__ import annotations

from catga_core.feature_options import FeatureOptions
from catga_core.option_checks import MOST_COUNT


class SagaOptions(FeatureOptions, frozen=True, kw_only=True):
    """How sagas are run, retried and kept.

    Args:
        concurrency: How many sagas a process runs at the same time; one that waits for a time or an event does not count.
        lease_seconds: Seconds after which another process takes over the sagas of one that died; renewed meanwhile.
        poll_seconds: Seconds between two queries where no wake-up reports sagas that are due.
        linger_seconds: Seconds for which a saga that waits stays in memory instead of being read again.
        max_attempts: Attempts of a step.
        retry_delay_seconds: Seconds until a step's second attempt, doubled with each further one.
        retry_max_delay_seconds: The most seconds between two attempts of a step.
        compensation_max_attempts: Attempts of a compensation.
        retention_seconds: Seconds for which ended sagas and received events are kept: a repeated transaction id is known so long.
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
        """Return what is wrong with the options."""
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
