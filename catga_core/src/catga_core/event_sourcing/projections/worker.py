"""`ProjectionWorker`: the base of the workers of all projection modes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from catga_core.errors import CatgaError, ErrorCode
from catga_core.event_sourcing.consumers import (
    ConsumerPorts,
    ConsumerWork,
    LogLosses,
    Monitor,
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
from catga_core.interfaces.dead_letters import DeadLetter
from catga_core.interfaces.health import Health
from catga_core.runtime.waiter import Waiter


class ProjectionWorker(ABC):
    """Runs one projection.

    Args:
        definition: The projection.
        ports: What it uses.
        handling: Calls the projection.
    """

    starts_before_senders: ClassVar[bool] = True
    # A message that is handled while the container stops may wait for what it has appended.
    stops_after_messages: ClassVar[bool] = True

    def __init__(
        self, definition: ProjectionDefinition, ports: ConsumerPorts, handling: ProjectionHandling
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
        self._losses = LogLosses("projection", self.name)
        self._monitor = Monitor(
            ports, self.name, lambda: self.parts, definition.options.poll_seconds, self._losses
        )
        self.generations: Generations = Generations(self.name, ports.checkpoints, ports.values)
        self.switched: Waiter = Waiter()

    @property
    @abstractmethod
    def parts(self) -> Sequence[Progress]:
        """The progress of the generation that is read."""

    @abstractmethod
    async def start(self) -> None:
        """Begin in the background."""

    @abstractmethod
    async def stop(self) -> None:
        """Finish the units of work that run, and save the checkpoints."""

    @abstractmethod
    def health(self) -> Health:
        """Return its state, how far it is behind, and what is parked."""

    @abstractmethod
    def resume(self) -> None:
        """Go on after an event that stopped it."""

    async def wait_for(self, position: int, timeout: float) -> None:
        """Return when the generation that is read has reached a position."""
        await wait_until(lambda: self.parts, self._ports, position, timeout, f"the projection {self.name!r}")

    async def rebuild(self) -> Generation:
        """Request a rebuild; return the generation that is read after it."""
        raise self._cannot("be rebuilt")

    def reads_earlier(self, generation: Generation) -> bool:
        """Tell whether consumers of earlier generations may still handle events in this process."""
        del generation
        return False

    def building(self, generation: Generation) -> Progress | None:
        """Return the progress of a generation that is being built here, `None` where this process does not build it."""
        del generation
        return None

    async def replay_parked(self) -> Replayed:
        """Replay parked events."""
        raise self._cannot("replay anything")

    async def work_for(self, letter: DeadLetter) -> ConsumerWork | None:
        """Return what handles a parked event in a replay, `None` for one of another consumer or generation."""
        del letter
        return None

    async def has_replayed(self) -> None:  # noqa: B027 - most modes have nothing to do
        """Go on after a replay."""

    async def target(self) -> str:
        """Return the name of the target that is read."""
        active = await self.generations.active()
        return (active or Generation(self.definition.cls.projection_version, 0)).target(self.name)

    def _cannot(self, what: str) -> CatgaError:
        msg = f"the projection {self.name!r} is {self.definition.mode} and cannot {what}: a catch-up projection can"
        return CatgaError(msg, code=ErrorCode.VALIDATION_FAILED)
