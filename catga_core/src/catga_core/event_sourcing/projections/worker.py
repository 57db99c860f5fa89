"""What the workers of projections of all modes have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from catga_core.errors import CatgaError, ErrorCode
from catga_core.event_sourcing.consumers import (
    FollowerPorts,
    Observer,
    Progress,
    Replayed,
    Selection,
    UnknownEvents,
    wait_until,
)
from catga_core.event_sourcing.projections.definition import ProjectionDefinition
from catga_core.event_sourcing.projections.generations import Generation, Generations
from catga_core.event_sourcing.projections.handling import ProjectionHandling
from catga_core.event_sourcing.projections.projection import events_of_projection
from catga_core.interfaces.health import Health


class ProjectionWorker(ABC):
    """One projection of a container that runs.

    Parameters:
        definition: what it is.
        ports: what it uses.
        handling: calls the projection.
    """

    starts_before_senders: ClassVar[bool] = True
    # A message that is handled while the container stops may wait for what it has appended.
    stops_after_messages: ClassVar[bool] = True

    def __init__(
        self, definition: ProjectionDefinition, ports: FollowerPorts, handling: ProjectionHandling
    ) -> None:
        stream = None if definition.stream == "*" else definition.stream
        self.name: str = definition.name
        self.definition: ProjectionDefinition = definition
        self._ports = ports
        self._handling = handling
        self._unknown = UnknownEvents(
            ports.types, {"projection": self.name}, definition.options.ignore_unknown
        )
        self._selection = Selection(
            ports.types, events_of_projection(definition.cls), stream=stream, unknown=self._unknown
        )
        self._observer = Observer(ports, self.name, lambda: self.parts, definition.options.poll_seconds)
        self.generations: Generations = Generations(self.name, ports.checkpoints)

    @property
    @abstractmethod
    def parts(self) -> Sequence[Progress]:
        """How far what is read is."""

    @abstractmethod
    async def start(self) -> None:
        """Begin in the background."""

    @abstractmethod
    async def stop(self) -> None:
        """Finish what is under way, and keep the checkpoint."""

    @abstractmethod
    def health(self) -> Health:
        """Return its state, how far it is behind, and what is parked."""

    @abstractmethod
    def resume(self) -> None:
        """Go on after an event that stopped it."""

    async def wait_for(self, position: int, timeout: float) -> None:
        """Return when what is read has come to a position."""
        await wait_until(lambda: self.parts, self._ports, position, timeout, f"the projection {self.name!r}")

    async def rebuild(self) -> Generation:
        """Have it built anew; return the generation that will be read then."""
        raise self._cannot("be rebuilt")

    async def replay_parked(self) -> Replayed:
        """Handle what is parked once more."""
        raise self._cannot("replay anything")

    async def target(self) -> str:
        """Return the name of what is read."""
        active = await self.generations.active()
        return (active or Generation(self.definition.cls.projection_version, 0)).target(self.name)

    def _cannot(self, what: str) -> CatgaError:
        msg = f"the projection {self.name!r} is {self.definition.mode} and cannot {what}: a catch-up projection can"
        return CatgaError(msg, code=ErrorCode.VALIDATION_FAILED)
