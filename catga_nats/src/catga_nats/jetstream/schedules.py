"""Commands for a later time wait in the stream itself: the server publishes them when their time has come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def schedule_headers(target: bytes, due_at: float) -> dict[str, str]:
    """Return the headers that have the server publish a message later.

    Args:
        target: The subject to publish it to.
        due_at: When, seconds since the Unix epoch.
    """
    # Rounded up: it must not come before its time.
    at = _EPOCH + timedelta(microseconds=ceil(Fraction(due_at) * 1_000_000))
    text = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {"Nats-Schedule": f"@at {text}", "Nats-Schedule-Target": target.decode()}
