"""`ProjectionDefinition`: a projection's class, mode, streams and options."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from catga_core.event_sourcing.consumers import ConsumerOptions, OnFailure, OnLogLoss
from catga_core.event_sourcing.projections.projection import Projection, can_rebuild


class ProjectionMode(StrEnum):
    """When a projection handles an event."""

    INLINE = "inline"
    """In the unit of work of the append, which fails if the projection fails."""
    CATCH_UP = "catch-up"
    """After the commit, from the first event of the log, with a checkpoint, in one process at a time."""
    LIVE = "live"
    """After the commit, from the start of the process, without a checkpoint, in every process: for state in the process's
    memory. `reset` is called at each start."""
    IN_MEMORY = "in-memory"
    """After the commit, from the first event of the log, without a checkpoint, in every process: for state in the process's
    memory that is built at each start. `reset` is called at each start."""


class ProjectionDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """One projection.

    Args:
        cls: Its class.
        mode: When it handles an event.
        stream: A glob on the stream's name, `*` for all.
        transactional: Whether effects and checkpoint are in one unit of work.
        options: The consumer's options.
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
    """Return a text for each argument that is not possible.

    Args:
        definition: The projection.
        named: The projection, for the texts.
    """
    problems: list[str] = []
    mode: Any = definition.mode
    if not isinstance(mode, ProjectionMode):
        known = ", ".join(f"ProjectionMode.{each.name}" for each in ProjectionMode)
        problems.append(f"{named} has mode={mode!r}: there are {known}")
    if not definition.cls.projection_methods.declared:
        problems.append(f"{named} has no method with @project, so it would handle nothing: mark one")
    transactional: object = definition.transactional
    if not isinstance(transactional, bool):
        problems.append(f"{named} has transactional={transactional!r}: give True or False")
    if mode is ProjectionMode.INLINE and not definition.transactional:
        problems.append(
            f"{named} is inline, in the unit of work of the append: leave transactional=False out"
        )
    wanted = definition.options.on_log_loss
    if wanted is OnLogLoss.REBUILD and mode is ProjectionMode.LIVE:
        problems.append(
            f"{named} is live, which has nothing to rebuild, and has on_log_loss=OnLogLoss.REBUILD. Use OnLogLoss.CONTINUE."
        )
    if wanted is OnLogLoss.REBUILD and mode is ProjectionMode.CATCH_UP and not can_rebuild(definition.cls):
        problems.append(
            f"{named} has on_log_loss=OnLogLoss.REBUILD, and {definition.cls.__name__} has no reset. Give it "
            "async def reset(self), or use another policy."
        )
    if (
        # A tuple: an invalid mode may not be hashable.
        mode in (ProjectionMode.LIVE, ProjectionMode.IN_MEMORY)
        and definition.options.on_failure == OnFailure.PARK
    ):
        problems.append(
            f"{named} is {mode}, separately in each process, and has on_failure=OnFailure.PARK: a parked event could not be "
            "replayed to one of them: use OnFailure.STOP or OnFailure.SKIP, or ProjectionMode.CATCH_UP"
        )
    return problems
