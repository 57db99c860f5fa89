"""What a projection was added as."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from catga_core.event_sourcing.consumers import ConsumerOptions, OnFailure
from catga_core.event_sourcing.projections.projection import Projection


class ProjectionMode(StrEnum):
    """When a projection handles an event."""

    INLINE = "inline"
    """In the unit of work of the append, which fails where the projection fails."""
    CATCH_UP = "catch-up"
    """After the commit, from the first event of the log on, with a checkpoint, in one process at a time."""
    LIVE = "live"
    """After the commit, from the start of the process on, without a checkpoint, in every process: `reset` is called at each
    start, for what is kept in the process's own memory."""
    IN_MEMORY = "in-memory"
    """After the commit, from the first event of the log on, without a checkpoint, in every process: `reset` is called at each
    start, for what is kept in the process's own memory, and is made anew with it."""


class ProjectionDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """One projection, as it was added.

    Args:
        cls: Its class.
        mode: When it handles an event.
        stream: A glob on the stream's name, `*` for all.
        transactional: Whether effects and checkpoint are in one unit of work.
        options: How it goes through the log.
    """

    cls: type[Projection]
    mode: ProjectionMode
    stream: str
    transactional: bool
    options: ConsumerOptions

    @property
    def name(self) -> str:
        """The projection's name."""
        return self.cls.projection_name

    @property
    def delivery(self) -> str:
        """How often an event takes effect, in words."""
        if self.mode is ProjectionMode.LIVE:
            return "at most once"
        if self.mode is ProjectionMode.IN_MEMORY:
            return "once in each process"
        return "exactly once" if self.transactional else "at least once"


def problems_of(definition: ProjectionDefinition, named: str) -> list[str]:
    """Return what cannot work.

    Args:
        definition: What was asked for.
        named: Whose it is, for the text.
    """
    problems: list[str] = []
    mode: Any = definition.mode
    if not isinstance(mode, ProjectionMode):
        known = ", ".join(f"ProjectionMode.{each.name}" for each in ProjectionMode)
        problems.append(f"{named} has mode={mode!r}: there are {known}")
    if not definition.cls.projection_methods.declared:
        problems.append(f"{named} has no method with @project, so it would be given nothing: mark one")
    transactional: object = definition.transactional
    if not isinstance(transactional, bool):
        problems.append(f"{named} has transactional={transactional!r}: give True or False")
    if mode is ProjectionMode.INLINE and not definition.transactional:
        problems.append(
            f"{named} is inline, in the unit of work of the append: leave transactional=False out"
        )
    if (
        # A tuple: what is no mode need not have a hash.
        mode in (ProjectionMode.LIVE, ProjectionMode.IN_MEMORY)
        and definition.options.on_failure == OnFailure.PARK
    ):
        problems.append(
            f"{named} is {mode}, in each process for itself, and has on_failure=OnFailure.PARK: a parked event could come back "
            "to none of them: use OnFailure.STOP or OnFailure.SKIP, or ProjectionMode.CATCH_UP"
        )
    return problems
