"""What schedules check of a composition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from catga_core.feature import Graph, Problem
from catga_core.features.scheduling.definition import OnOverlap, ScheduleDefinition, is_command
from catga_core.interfaces.durable_transport import DurableTransport
from catga_core.interfaces.named_values import NamedValueStore
from catga_core.messages.fingerprints import content_digest


def different_commands(definitions: Sequence[ScheduleDefinition]) -> Iterator[Problem]:
    """Yield a problem for each schedule whose command is not the one of an earlier schedule of its key.

    Commands that functions return are not known before the tick.

    Args:
        definitions: The schedules.
    """
    first: dict[str, ScheduleDefinition] = {}
    for each in definitions:
        if not is_command(each.command):
            continue
        other = first.setdefault(each.work, each)
        one, two = other.command, each.command
        if type(one) is not type(two) or content_digest(one) != content_digest(two):
            yield Problem(
                f"The schedules {other.name!r} and {each.name!r} have key={each.work!r} and different commands, but a tick that "
                "both have is handled once. Give them different keys, or the same command."
            )


def unshared_ticks(
    definitions: Sequence[ScheduleDefinition], graph: Graph, transport: DurableTransport
) -> Iterator[Problem]:
    """Yield a problem for each schedule whose replicas could not see each other's ticks.

    Over a broker, `overlap=SKIP` and `debounce` look up the tick that any replica enqueued last. In the memory that is used by default
    it would be the last one of this process.

    Args:
        definitions: The schedules.
        graph: The composition.
        transport: The durable transport.
    """
    if transport.capabilities.transactional or not graph.is_default(NamedValueStore):
        return
    for each in definitions:
        skips = each.overlap is OnOverlap.SKIP
        if skips or each.debounce_seconds is not None:
            option = "overlap=OnOverlap.SKIP" if skips else "debounce"
            yield Problem(
                f"The schedule {each.name!r} has {option}, whose last ticks are kept in this process's memory, while "
                f"{type(transport).__name__} shares its commands with other processes. Configure a store that the replicas share, "
                "such as CatgaOptions(store='sqlite:///app.db'), or store='memory://' for a single process."
            )
