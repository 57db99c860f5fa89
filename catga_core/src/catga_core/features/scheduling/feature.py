"""The feature `scheduling`: commands that are enqueued at recurring times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta, tzinfo
from itertools import islice, pairwise
from typing import Any

from catga_core.clock import Clock
from catga_core.errors import ConfigurationError
from catga_core.feature import Builder, FeatureHost, Graph, Problem
from catga_core.features.queues.feature import QueuesFeature
from catga_core.features.scheduling.definition import CommandOf, OnMissed, OnOverlap, ScheduleDefinition
from catga_core.features.scheduling.ticks import Ticks, ticks_of
from catga_core.interfaces.durable_transport import DurableTransport
from catga_core.interfaces.health import Health
from catga_core.interfaces.named_values import NamedValueStore
from catga_core.interfaces.storage import Storage
from catga_core.mediator import CatgaMediator
from catga_core.messages import Command
from catga_core.option_checks import check_name, check_seconds

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
        timezone: The time zone of `cron`, as an IANA name or a `tzinfo`; `None` for UTC.
        missed: What happens to the ticks that were missed while no process ran.
        overlap: What happens at a tick whose predecessor is not handled yet.
        grace_seconds: How late a tick may be enqueued with `OnMissed.NONE`.
        key: Deduplication key of the ticks, for several schedules that enqueue the same command: a tick that two of them have is
            handled once, and `overlap` and `debounce` apply to the ticks of the key. Default: the schedule's name.
        debounce: Delay of each tick, in seconds or as a `timedelta`, shorter than the interval: a later tick within it, or a
            `run_now`, replaces the earlier one and is delayed in turn. `None` for no delay.

    Raises:
        ConfigurationError: An argument cannot be.
    """
    try:
        check_name("name", name)
        check_seconds("grace_seconds", grace_seconds, least=0)
        if key is not None:
            check_name("key", key)
        _check_command(command)
        ticks = ticks_of(every, cron, timezone)
        definition = ScheduleDefinition(
            name=name,
            command=command,
            ticks=ticks,
            missed=OnMissed(missed),
            overlap=OnOverlap(overlap),
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
    check_seconds("debounce", seconds)
    some = list(islice(ticks.after(0), _LOOKED_AT))
    shortest = min((after - before for before, after in pairwise(some)), default=None)
    if shortest is not None and seconds * 1_000 >= shortest:
        msg = f"debounce must be shorter than the interval of {shortest / 1_000:g} s, or no tick is ever handled; got {seconds:g}."
        raise ValueError(msg)
    return seconds


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


class SchedulingFeature:
    """Runs the schedules of a container."""

    name = "scheduling"

    def __init__(self) -> None:
        self._definitions: dict[str, ScheduleDefinition] = {}

    def add(self, definition: ScheduleDefinition) -> None:
        """Add a schedule."""
        self._definitions[definition.name] = definition

    def register(self, builder: Builder, /) -> None:
        """Add the worker and the operators' service."""
        self._definitions.clear()
        builder.use(QueuesFeature)
        builder.need(Storage, NamedValueStore)
        services = builder.services

        from catga_core.features.scheduling.enqueueing import TickEnqueuer
        from catga_core.features.scheduling.operator import Schedules
        from catga_core.features.scheduling.worker import ScheduleWorker

        def values() -> NamedValueStore:
            return services.get(NamedValueStore)

        def enqueuer(mediator: CatgaMediator, clock: Clock, **_services: object) -> TickEnqueuer:
            return TickEnqueuer(
                values,
                lambda: services.get(Storage),
                mediator,
                clock,
                lambda: services.get(DurableTransport).capabilities.transactional,
            )

        def worker(enqueuer: TickEnqueuer, clock: Clock) -> ScheduleWorker:
            return ScheduleWorker(self._all, values, enqueuer, clock)

        def operator(
            worker: ScheduleWorker, enqueuer: TickEnqueuer, mediator: CatgaMediator, clock: Clock
        ) -> Schedules:
            return Schedules(self._all, worker, enqueuer, mediator, clock)

        own = {"mediator": CatgaMediator, "clock": Clock}
        stores = {"values": NamedValueStore, "storage": Storage, "transport": DurableTransport}
        builder.add_service(TickEnqueuer, enqueuer, {**own, **stores}, name="tick_enqueuer")
        needs = {"enqueuer": TickEnqueuer, "clock": Clock}
        builder.add_worker(ScheduleWorker, worker, needs, name="schedule_worker")
        needs = {"worker": ScheduleWorker, "enqueuer": TickEnqueuer, **own}
        builder.add_service(Schedules, operator, needs, name="schedules")

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Check that last ticks are kept where units of work are."""
        if graph.same_storage(NamedValueStore, Storage) is False:
            yield Problem(
                f"Schedules keep their last ticks in {graph.storage_of(NamedValueStore)}, but units of work are those of "
                f"{graph.storage_of(Storage)}, so a tick could be run twice. Take both from one storage."
            )

    def health(self) -> Mapping[str, Health]:
        """Report nothing: the worker reports."""
        return {}

    def _all(self) -> Sequence[ScheduleDefinition]:
        return list(self._definitions.values())
