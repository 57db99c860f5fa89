"""What the workers of projections of all modes have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

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
from catga_core.event_sourcing.projections.projection import Projection, events_of_projection
from catga_core.interfaces.health import Health


class ProjectionWorker(ABC):
    """One projection of a container that runs.

    Parameters:
        definition: what it is.
        ports: what it uses.
        get: gives the projection, asked for each event so that an override is seen.
    """

    def __init__(
        self, definition: ProjectionDefinition, ports: FollowerPorts, get: Callable[[], Projection]
    ) -> None:
        stream = None if definition.stream == "*" else definition.stream
        self.name: str = definition.name
        self.definition: ProjectionDefinition = definition
        self._ports = ports
        self._get = get
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
