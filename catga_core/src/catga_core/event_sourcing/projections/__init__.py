"""Projections: what is to be read, worked out from the events of the log and kept up to date with them."""

from catga_core.event_sourcing.consumers import ConsumerOptions, OnFailure, OnLogLoss, Replayed
from catga_core.event_sourcing.projections.context import ProjectionContext, current_projection, is_replay
from catga_core.event_sourcing.projections.definition import ProjectionMode
from catga_core.event_sourcing.projections.plugin import add_projection
from catga_core.event_sourcing.projections.projection import Projection, project
from catga_core.event_sourcing.projections.service import Projections

__all__ = [
    "ConsumerOptions",
    "OnFailure",
    "OnLogLoss",
    "Projection",
    "ProjectionContext",
    "ProjectionMode",
    "Projections",
    "Replayed",
    "add_projection",
    "current_projection",
    "is_replay",
    "project",
]
