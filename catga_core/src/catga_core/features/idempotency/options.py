"""The options of idempotency."""

from __future__ import annotations

from catga_core.feature_options import FeatureOptions
from catga_core.option_checks import MOST_SECONDS, is_number


class IdempotencyOptions(FeatureOptions, frozen=True, kw_only=True):
    """How commands are deduplicated.

    Args:
        all_commands: Whether every command is deduplicated by its message id, and not only those with `@idempotent`.
        ttl_seconds: Seconds for which a result is remembered.
        lease_seconds: Seconds for which the claim of a process that died keeps others from handling the command; it is
            renewed while the handler runs.
        wait_for_result: Seconds for which a duplicate waits for the first one's result before it fails with
            `DUPLICATE_IN_PROGRESS`; 0 for not at all.
    """

    all_commands: bool = True
    ttl_seconds: float = 86_400.0
    lease_seconds: float = 30.0
    wait_for_result: float = 30.0

    def check(self) -> list[str]:
        """Return what is wrong with the options."""
        if is_number(self.wait_for_result) and 0 <= self.wait_for_result <= MOST_SECONDS:
            return []
        return [
            f"IdempotencyOptions(wait_for_result={self.wait_for_result!r}) must be a finite number of seconds >= 0."
        ]
