"""The parts of a declared saga, as data."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, TypeVar

import msgspec

from catga_core.messages import Command, Event
from catga_core.runtime.retry import RetryPolicy

D_contra = TypeVar("D_contra", contravariant=True)


class SagaPart(msgspec.Struct, Generic[D_contra], frozen=True, kw_only=True):
    """A part of a declared saga; made by `step`, `parallel`, `when` and the others, given to `SagaDefinition`."""


class StepPart(SagaPart[D_contra], frozen=True, kw_only=True):
    """A step that sends a command.

    Args:
        name: The step's name.
        make: Returns the command, given the values.
        undo: Returns the command that compensates it, given its result, the command and the values.
        sends: The command's class, `None` if a function does not declare it.
        undoes: The class of the compensating command, likewise.
        fills: Whether the command is filled from the saga's data.
        fills_undo: Whether the compensating command is filled.
        retry: The retry policy.
        timeout: Seconds for one attempt.
    """

    name: str
    make: Callable[[Any], Command[Any]]
    undo: Callable[[Any, Any, Any], Command[Any]] | None
    sends: type[Command[Any]] | None
    undoes: type[Command[Any]] | None
    fills: bool
    fills_undo: bool
    retry: RetryPolicy | None
    timeout: float | None


class PublishPart(SagaPart[D_contra], frozen=True, kw_only=True):
    """A step that publishes an event.

    Args:
        name: The step's name.
        make: Returns the event, given the values.
        publishes: The event's class, `None` if a function does not declare it.
        fills: Whether the event is filled from the saga's data.
    """

    name: str
    make: Callable[[Any], Event]
    publishes: type[Event] | None
    fills: bool


class ParallelPart(SagaPart[D_contra], frozen=True, kw_only=True):
    """Parts that run concurrently.

    Args:
        branches: The parts.
        on_failure: The policy for the other branches when one fails.
    """

    branches: tuple[SagaPart[Any], ...]
    on_failure: Literal["wait", "cancel"]


class SequencePart(SagaPart[D_contra], frozen=True, kw_only=True):
    """Sequential parts.

    Args:
        parts: The parts.
    """

    parts: tuple[SagaPart[Any], ...]


class WhenPart(SagaPart[D_contra], frozen=True, kw_only=True):
    """Conditional parts.

    Args:
        condition: Returns whether `then` runs, given the values.
        then: The parts that run if the condition holds.
        otherwise: The parts that run otherwise.
    """

    condition: Callable[[Any], bool]
    then: tuple[SagaPart[Any], ...]
    otherwise: tuple[SagaPart[Any], ...]


class SleepPart(SagaPart[D_contra], frozen=True, kw_only=True):
    """A sleep.

    Args:
        seconds: The duration, or a function that returns it, given the values.
        until: Returns its end instead of `seconds`.
    """

    seconds: float | timedelta | Callable[[Any], float | timedelta] | None
    until: Callable[[Any], datetime] | None


class WaitPart(SagaPart[D_contra], frozen=True, kw_only=True):
    """A wait for an event.

    Args:
        name: The key of its event in the values.
        event: The event's class.
        key: Returns the awaited key, given the values.
        event_key: Returns the key of an event.
        timeout: Seconds.
        key_field: The field of the data that is the key, `None` if a function returns it.
        event_field: The field of the event that is its key, likewise.
    """

    name: str
    event: type[Event]
    key: Callable[[Any], object]
    event_key: Callable[[Any], object]
    timeout: float | timedelta | None
    key_field: str | None
    event_field: str | None


class ChildPart(SagaPart[D_contra], frozen=True, kw_only=True):
    """A child saga, as a step.

    Args:
        name: The step's name.
        saga: Its class or definition.
        data: Returns its data, given the values.
        compensate: Whether it is compensated when this saga fails later.
    """

    name: str
    saga: Any
    data: Callable[[Any], Any]
    compensate: bool


class CommitPart(SagaPart[D_contra], frozen=True, kw_only=True):
    """The commit point."""
