"""When a snapshot is due: after so many events, after so long, or by any rule of an application's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from catga_core.option_checks import check_count, check_seconds


class SinceSnapshot(msgspec.Struct, frozen=True):
    """What has come since the newest snapshot of a stream, or since its beginning where there is none.

    Args:
        events: How many events.
        seconds: How long ago that was.
    """

    events: int
    seconds: float


SnapshotPolicy: TypeAlias = Callable[[SinceSnapshot], bool]
"""Asked after each save whether a snapshot is due."""


def every(events: int) -> SnapshotPolicy:
    """Return the policy that a snapshot is due after so many events.

    Args:
        events: 1 or more.

    Raises:
        ValueError: For less than 1.
    """
    check_count("events", events)
    return lambda since: since.events >= events


def after(seconds: float) -> SnapshotPolicy:
    """Return the policy that a snapshot is due with the first save after so long.

    Args:
        seconds: By the container's clock, more than 0.

    Raises:
        ValueError: For 0 or less.
    """
    check_seconds("seconds", seconds)
    return lambda since: since.seconds >= seconds


def either(*policies: SnapshotPolicy) -> SnapshotPolicy:
    """Return the policy that a snapshot is due when one of several says so.

    Args:
        policies: One or more.

    Raises:
        ValueError: For none.
    """
    if not policies:
        msg = "either() of nothing would never take a snapshot: give one policy or more"
        raise ValueError(msg)
    return lambda since: any(policy(since) for policy in policies)
