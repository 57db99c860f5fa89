"""The options of queues."""

from __future__ import annotations

from enum import StrEnum

from catga_core.feature_options import FeatureOptions
from catga_core.messages.delivery import Delivery
from catga_core.option_checks import MOST_COUNT


class OnKeyFailure(StrEnum):
    """What happens to the later messages of a key, when a message of it goes to the dead letters."""

    SKIP = "skip"
    """They are handled."""
    PARK_KEY = "park_key"
    """They wait until the dead letter is replayed or purged, and are then handled in their order."""


class QueueOptions(FeatureOptions, frozen=True, kw_only=True):
    """How messages are kept, delivered and retried.

    Args:
        delivery: How often an event takes effect whose class does not declare it with `@message(delivery=...)`. `None` is
            `AT_LEAST_ONCE` over a durable transport that reaches other services, else `AT_MOST_ONCE`.
        concurrency: How many messages of one queue a process handles at the same time.
        lease_seconds: Seconds after which another process takes over the messages of one that died; renewed meanwhile.
        poll_seconds: Seconds between two queries where no wake-up reports new messages.
        max_attempts: Attempts after which a message goes to the dead letters, those included that ended with their process.
        retry_delay_seconds: Seconds until the second attempt, doubled with each further one.
        retry_max_delay_seconds: The most seconds between two attempts.
        on_failure: What happens to the later messages of a key when one of it goes to the dead letters.
        keep_results: Whether results of enqueued commands are kept for `mediator.enqueued`, for `retention_seconds`.
        retention_seconds: Seconds for which handled messages are known: a repetition of their id is not added again.
        alarm_seconds: Seconds after which a due message that waits degrades health and logs an error.
    """

    delivery: Delivery | None = None
    concurrency: int = 16
    lease_seconds: float = 30.0
    poll_seconds: float = 1.0
    max_attempts: int = 10
    retry_delay_seconds: float = 1.0
    retry_max_delay_seconds: float = 300.0
    on_failure: OnKeyFailure = OnKeyFailure.SKIP
    keep_results: bool = False
    retention_seconds: float = 86_400.0
    alarm_seconds: float = 60.0

    def check(self) -> list[str]:
        """Return what is wrong with the options."""
        problems = [
            f"QueueOptions({name}={getattr(self, name)!r}) must be a whole number >= 1."
            for name in ("concurrency", "max_attempts")
            if not 1 <= getattr(self, name) <= MOST_COUNT
        ]
        if self.retry_delay_seconds > self.retry_max_delay_seconds:
            problems.append(
                f"QueueOptions(retry_delay_seconds={self.retry_delay_seconds:g}) must not be above "
                f"retry_max_delay_seconds={self.retry_max_delay_seconds:g}. Raise the second, or lower the first."
            )
        return problems
