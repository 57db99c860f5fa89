"""The options of projections and subscriptions: batches, failures, retries, leases."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import Any, TypedDict

import msgspec

from catga_core.option_checks import (
    MOST_COUNT,
    MOST_SECONDS,
    OptionsType,
    check_option_names,
    is_number,
    shown_number,
)
from catga_core.runtime.retry import RetryPolicy


class OnFailure(StrEnum):
    """What happens to an event that has failed in every attempt."""

    STOP = "stop"
    """The consumer stops until it is resumed; no event is lost or handled out of order."""
    PARK = "park"
    """The event goes to the dead letters and can be replayed; later events are handled before it."""
    SKIP = "skip"
    """The event is left out, with a log line and a counter."""


class OnLogLoss(StrEnum):
    """What a consumer does whose checkpoint is at an event that the log has lost.

    It applies where the checkpoint did not go back with the log. Where both are in one storage they go back together, and the
    consumer continues from its checkpoint.
    """

    STOP = "stop"
    """The consumer stops until it is resumed; then it continues as with `CONTINUE`."""
    CONTINUE = "continue"
    """It continues after the last event that it has read and the log still has; where that is not known, after the last
    event of the log."""
    REBUILD = "rebuild"
    """A projection is built again from the first event: one in memory at once, a catch-up projection beside the generation that
    is read, which stays as it is until then."""


class ConsumerOptions(msgspec.Struct, frozen=True, kw_only=True, metaclass=OptionsType):
    """The options of a projection or subscription.

    Args:
        batch_size: Events in one unit of work at most; where one of them fails, the same events are handled one by one to find
            it. `None` is 100 where a unit of work sees what was written in it, else 1: an event's handler must find what the
            one before has written. Without a unit of work, the events handled before the checkpoint is saved, and `None` is
            1: a crash repeats no more than one.
        on_failure: What happens to an event that has failed in every attempt.
        attempts: Attempts for each event, `None` for no limit. An error that is not retryable is not tried again.
        retry_delay_seconds: Delay after the first failed attempt, doubled after each further one; also between two attempts to
            reach a storage that is away.
        max_retry_delay_seconds: Upper limit of every delay.
        poll_seconds: Real seconds between two looks at the log where the storage does not notify of appends by other processes.
        lease_seconds: Seconds without a renewal after which another process takes over.
        ignore_unknown: Events of unknown names to pass over as foreign: a collection of wire names, or `True` for all. Any
            other event of an unknown name is passed over with a log line, and degrades health until its class is imported.
        on_log_loss: What happens where the log has lost the event at the checkpoint and the checkpoint did not go back with
            it. `None` is `REBUILD` for a projection in memory, `CONTINUE` for a live one, and else `STOP`.
    """

    batch_size: int | None = None
    on_failure: OnFailure = OnFailure.STOP
    attempts: int | None = 3
    retry_delay_seconds: float = 0.2
    max_retry_delay_seconds: float = 30.0
    poll_seconds: float = 1.0
    lease_seconds: float = 30.0
    ignore_unknown: bool | Collection[str] = False
    on_log_loss: OnLogLoss | None = None

    @property
    def retry(self) -> RetryPolicy:
        """The policy for failing events."""
        return RetryPolicy(
            max_attempts=self.attempts,
            delay_seconds=self.retry_delay_seconds,
            max_delay_seconds=self.max_retry_delay_seconds,
        )


class ConsumerChoices(TypedDict, total=False):
    """`ConsumerOptions` as keyword arguments of `add_projection` and `add_subscription`."""

    batch_size: int | None
    on_failure: OnFailure
    attempts: int | None
    retry_delay_seconds: float
    max_retry_delay_seconds: float
    poll_seconds: float
    lease_seconds: float
    ignore_unknown: bool | Collection[str]
    on_log_loss: OnLogLoss | None


def chosen_options(add: Callable[..., None], options: Mapping[str, Any]) -> ConsumerOptions:
    """Return the options that were given to a function that adds a consumer.

    Args:
        add: The function; its own options are proposed, too, for one that does not exist.
        options: As given.

    Raises:
        UnknownOptionError: An option does not exist.
    """
    parameters = inspect.signature(add).parameters.values()
    own = [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    check_option_names(f"{add.__name__}()", options, [*own, *ConsumerOptions.__struct_fields__])
    return ConsumerOptions(**options)


def check_consumer_options(options: ConsumerOptions, named: str, stream: object) -> list[str]:
    """Return a text for each option that is out of range.

    Args:
        options: The options.
        named: The consumer, for the texts.
        stream: The glob on the streams' names.
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
        if number is not None and (type(number) is not int or not 1 <= number <= MOST_COUNT):
            problems.append(f"{named} has {name}={shown_number(number)}: give a whole number, 1 or more")
    for name in ("retry_delay_seconds", "max_retry_delay_seconds", "poll_seconds", "lease_seconds"):
        seconds: object = getattr(options, name)
        if not (is_number(seconds) and isinstance(seconds, int | float) and 0 < seconds <= MOST_SECONDS):
            problems.append(f"{named} has {name}={shown_number(seconds)}: give seconds above 0")
    ignored: object = options.ignore_unknown
    if not isinstance(ignored, bool) and (isinstance(ignored, str) or not isinstance(ignored, Collection)):
        problems.append(
            f"{named} has ignore_unknown={ignored!r}; expected a bool or a collection of wire names. Pass a list of names."
        )
    return problems + _problems_of_policies(options, named)


def _problems_of_policies(options: ConsumerOptions, named: str) -> list[str]:
    problems: list[str] = []
    on_loss: object = options.on_log_loss
    if on_loss is not None and not isinstance(on_loss, OnLogLoss):
        known = ", ".join(f"OnLogLoss.{each.name}" for each in OnLogLoss)
        problems.append(
            f"{named} has on_log_loss={on_loss!r}; expected one of {known}, or None. Pass one of them."
        )
    try:
        OnFailure(options.on_failure)
    except ValueError:
        known = ", ".join(f"OnFailure.{each.name}" for each in OnFailure)
        problems.append(f"{named} has on_failure={options.on_failure!r}: there are {known}")
    return problems
