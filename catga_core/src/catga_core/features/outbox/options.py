"""The options of the outbox."""

from __future__ import annotations

from catga_core.feature_options import FeatureOptions
from catga_core.option_checks import MOST_COUNT


class OutboxOptions(FeatureOptions, frozen=True, kw_only=True):
    """How the outbox is filled and relayed.

    Args:
        relay: Whether this process sends the outbox's messages; otherwise another process has to.
        batch_size: How many messages the relay sends at the same time. It has leased twice as many at most: the others are being
            recorded as sent, or are the next ones, where sending is quick.
        lease_seconds: Seconds after which another relay takes over the messages of one that died; renewed meanwhile.
        poll_seconds: Seconds between two looks at the outbox where no notification announces new messages.
        max_attempts: Attempts after which a message goes to the dead letters.
        retry_delay_seconds: Seconds until the second attempt, doubled with each further one.
        retry_max_delay_seconds: The most seconds between two attempts.
        retention_seconds: Seconds for which sent messages are kept.
        alarm_seconds: Seconds after which an unsent message degrades health and logs an error.
    """

    relay: bool = True
    batch_size: int = 64
    lease_seconds: float = 30.0
    poll_seconds: float = 1.0
    max_attempts: int = 20
    retry_delay_seconds: float = 1.0
    retry_max_delay_seconds: float = 300.0
    retention_seconds: float = 3_600.0
    alarm_seconds: float = 60.0

    def check(self) -> list[str]:
        """Return what is wrong with the options."""
        problems = [
            f"OutboxOptions({name}={getattr(self, name)!r}) must be a whole number >= 1."
            for name in ("batch_size", "max_attempts")
            if not 1 <= getattr(self, name) <= MOST_COUNT
        ]
        if self.retry_delay_seconds > self.retry_max_delay_seconds:
            problems.append(
                f"OutboxOptions(retry_delay_seconds={self.retry_delay_seconds:g}) must not be above "
                f"retry_max_delay_seconds={self.retry_max_delay_seconds:g}. Raise the second, or lower the first."
            )
        return problems
