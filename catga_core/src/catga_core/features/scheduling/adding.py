"""`add_schedule`: the checks of a schedule's arguments, and its feature."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta, tzinfo
from enum import StrEnum
from itertools import islice, pairwise
from typing import Any, TypeVar

from catga_core.errors import ConfigurationError
from catga_core.feature import Builder, FeatureHost, Graph, Problem
from catga_core.features.scheduling.definition import CommandOf, OnMissed, OnOverlap, ScheduleDefinition
from catga_core.features.scheduling.feature import SchedulingFeature
from catga_core.features.scheduling.ticks import Ticks, ticks_of
from catga_core.interfaces.health import Health
from catga_core.messages import Command
from catga_core.option_checks import MOST_SECONDS, check_name, check_seconds, shown_number

C = TypeVar("C", bound=StrEnum)

_LEAST_SECONDS = 0.001  # ticks are whole milliseconds
_LOOKED_AT = 100  # ticks, to find the shortest interval


def add_schedule(
    container: FeatureHost,
    name: str,
    command: Command[Any] | CommandOf,
    *,
    every: float | timedelta | None = None,
    cron: str | None = None,
    timezone: str | tzinfo | None = None,
    missed: OnMissed = OnMissed.ONCE,
    overlap: OnOverlap = OnOverlap.ALLOW,
    grace_seconds: float = 60.0,
    key: str | None = None,
    debounce: float | timedelta | None = None,
) -> None:
    """Enqueue a command at recurring times, once for each tick across all replicas.

    The first tick is the first one after the first start. For each name the last call wins. Commands go through the queues, with their retries and dead letters.

    Args:
        container: The application's container.
        name: The schedule's name, the same in every version of the program.
        command: The command, or a function that returns the command of a tick, given its timezone-aware time.
        every: The interval, in seconds or as a `timedelta`; ticks are at its multiples since the Unix epoch.
        cron: A cron expression in place of `every`: five fields, or six with the seconds first. Changes of daylight saving time
            follow Debian's cron (`CronTicks`).
        timezone: The time zone of `cron`, as an IANA name or a `tzinfo`; `None` for UTC. `every` takes none.
        missed: What happens to the ticks that were missed while no process ran.
        overlap: What happens at a tick whose predecessor is not handled yet. Over a broker, `SKIP` requires a store that the
            replicas share.
        grace_seconds: How late a tick may be enqueued with `OnMissed.NONE`.
        key: Deduplication key of the ticks, for several schedules that enqueue the same command: a tick that two of them have is
            handled once, and `overlap` and `debounce` apply to the ticks of the key. Where their functions return different
            commands for one tick, the second command is passed over. Default: the schedule's name.
        debounce: Delay of each tick, in seconds or as a `timedelta`, shorter than the interval: a later tick within it, or a
            `run_now`, replaces the earlier one and is delayed in turn. Over a broker it requires a store that the replicas share.
            `None` for no delay.

    Raises:
        ConfigurationError: An argument cannot be.
    """
    try:
        _check_visible("name", name)
        check_seconds("grace_seconds", grace_seconds, least=0)
        if key is not None:
            _check_visible("key", key)
        _check_command(command)
        ticks = ticks_of(every, cron, timezone)
        definition = ScheduleDefinition(
            name=name,
            command=command,
            ticks=ticks,
            missed=_choice("missed", missed, OnMissed),
            overlap=_choice("overlap", overlap, OnOverlap),
            grace_seconds=grace_seconds,
            work=name if key is None else key,
            debounce_seconds=_debounce_seconds(debounce, ticks),
        )
    except (TypeError, ValueError) as error:
        msg = f"add_schedule({name!r}): {error}"
        raise ConfigurationError(msg) from None
    container.add_feature(_ScheduleFeature(definition))


def _debounce_seconds(debounce: float | timedelta | None, ticks: Ticks) -> float | None:
    if debounce is None:
        return None
    seconds = debounce.total_seconds() if isinstance(debounce, timedelta) else debounce
    check_seconds("debounce", seconds, least=_LEAST_SECONDS, most=MOST_SECONDS)
    some = list(islice(ticks.after(0), _LOOKED_AT))
    shortest = min((after - before for before, after in pairwise(some)), default=None)
    if shortest is not None and seconds * 1_000 >= shortest:
        msg = (
            f"debounce must be shorter than the shortest interval between two ticks, {shortest / 1_000:g} s, because each tick "
            f"replaces a predecessor that still waits; got {seconds:g}. Pass fewer seconds."
        )
        raise ValueError(msg)
    return seconds


def _check_visible(name: str, value: object) -> None:
    check_name(name, value)
    if not str(value).strip():
        msg = f"{name} must have a character other than white space; got {shown_number(value)}. Pass a name."
        raise ValueError(msg)


def _choice(name: str, value: Any, choices: type[C]) -> C:
    try:
        return choices(value)
    except ValueError:
        known = ", ".join(repr(each.value) for each in choices)
        msg = (
            f"{name} must be one of {known}; got {shown_number(value)}. Pass "
            f"{choices.__name__}.{next(iter(choices)).name}, for example."
        )
        raise ValueError(msg) from None


def _check_command(command: object) -> None:
    if not isinstance(command, Command) and (isinstance(command, type) or not callable(command)):
        msg = f"command must be a Command or a function that returns one; got {command!r}. Pass Cleanup()."
        raise TypeError(msg)


class _ScheduleFeature:
    """One schedule: it is added to the feature that runs all of them."""

    def __init__(self, definition: ScheduleDefinition) -> None:
        self._definition = definition

    @property
    def name(self) -> str:
        """The feature's name."""
        return f"schedule:{self._definition.name}"

    def register(self, builder: Builder, /) -> None:
        """Add the schedule."""
        builder.use(SchedulingFeature).add(self._definition)

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Find nothing wrong."""
        del graph
        return ()

    def health(self) -> Mapping[str, Health]:
        """Report nothing: the worker reports."""
        return {}
