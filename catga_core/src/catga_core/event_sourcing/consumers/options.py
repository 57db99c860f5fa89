"""How a projection or subscription goes through the log, and what it does with an event that fails."""

from __future__ import annotations

import math
from collections.abc import Collection
from enum import StrEnum
from typing import TypedDict

import msgspec


class OnFailure(StrEnum):
    """What becomes of an event that has failed so often as it was tried."""

    STOP = "stop"
    """Nothing more is handled until somebody resumes it; nothing is lost and nothing is out of order."""
    PARK = "park"
    """It goes to the dead letters, from where it can be replayed; what comes after it is handled before it."""
    SKIP = "skip"
    """It is left out; a log line and a counter tell."""


class FollowOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How events are followed.

    Parameters:
        batch_size: how many events are handled in one unit of work at most; where one of them fails, the same events are
            handled one by one, so that the culprit is found. `None` is 100 where a unit of work sees what was written in
            it, else 1: an event's handler must find what the one before has written. Without a unit of work, it is how
            many events are handled before the checkpoint is saved, and `None` is 1: a crash repeats no more than one.
        on_failure: what becomes of an event that has failed `attempts` times.
        attempts: how often an event is tried before that. An error that is not retryable is not tried again.
        retry_delay_seconds: the first pause between two tries, doubled with each; also between two tries of a storage
            that is away.
        max_retry_delay_seconds: the longest pause.
        poll_seconds: after how long, in real time, it looks again where nobody tells that there is a new event.
        lease_seconds: after how long without a sign of life another process takes over.
        ignore_unknown: Events of unknown names to pass over as foreign: a collection of wire names, or `True` for all. Any
            other event of an unknown name is passed over with a log line, and degrades health until its class is imported.
    """

    batch_size: int | None = None
    on_failure: OnFailure = OnFailure.STOP
    attempts: int = 3
    retry_delay_seconds: float = 0.2
    max_retry_delay_seconds: float = 30.0
    poll_seconds: float = 1.0
    lease_seconds: float = 30.0
    ignore_unknown: bool | Collection[str] = False


class FollowChoices(TypedDict, total=False):
    """What `add_projection` and `add_subscription` take of `FollowOptions`, by name."""

    batch_size: int | None
    on_failure: OnFailure
    attempts: int
    retry_delay_seconds: float
    max_retry_delay_seconds: float
    poll_seconds: float
    lease_seconds: float
    ignore_unknown: bool | Collection[str]


def check_follow_options(options: FollowOptions, named: str, stream: object) -> list[str]:
    """Return what cannot work.

    Parameters:
        options: the options.
        named: whose they are, for the text.
        stream: the glob on the streams' names.
    """
    problems: list[str] = []
    if not isinstance(stream, str):
        problems.append(
            f"{named} has stream={stream!r}: give a glob on the streams' names, such as 'order-*'"
        )
    elif not stream:
        problems.append(f"{named} has stream='', and no stream is called so: leave it out for all streams")
    for name in ("batch_size", "attempts"):
        number: object = getattr(options, name)
        if name == "batch_size" and number is None:
            continue
        if type(number) is not int or number < 1:
            problems.append(f"{named} has {name}={number!r}: give a whole number, 1 or more")
    for name in ("retry_delay_seconds", "max_retry_delay_seconds", "poll_seconds", "lease_seconds"):
        seconds: object = getattr(options, name)
        if not (isinstance(seconds, int | float) and seconds > 0 and math.isfinite(seconds)):
            problems.append(f"{named} has {name}={seconds!r}: give seconds above 0")
    ignored: object = options.ignore_unknown
    if not isinstance(ignored, bool) and (isinstance(ignored, str) or not isinstance(ignored, Collection)):
        problems.append(
            f"{named} has ignore_unknown={ignored!r}; expected a bool or a collection of wire names. Pass a list of names."
        )
    try:
        OnFailure(options.on_failure)
    except ValueError:
        known = ", ".join(f"OnFailure.{each.name}" for each in OnFailure)
        problems.append(f"{named} has on_failure={options.on_failure!r}: there are {known}")
    return problems
