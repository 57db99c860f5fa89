"""What an application asks of its projections or subscriptions: to have caught up, to go on, to replay."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from catga_core.errors import CatgaError, ErrorCode
from catga_core.event_sourcing.consumers.ports import FollowerPorts
from catga_core.event_sourcing.consumers.replaying import Replayed
from catga_core.interfaces.health import Health


class FollowerWorker(Protocol):
    """What runs one projection or subscription."""

    name: str

    def health(self) -> Health:
        """Return its state."""
        ...

    async def wait_for(self, position: int, timeout: float) -> None:
        """Return when it is done up to a position."""
        ...

    def resume(self) -> None:
        """Go on after an event that stopped it."""
        ...

    async def replay_parked(self) -> Replayed:
        """Handle what is parked once more."""
        ...


W = TypeVar("W", bound=FollowerWorker)


class Directory(Generic[W]):
    """Finds the workers of one container by name.

    Parameters:
        kind: what they are, in words.
        ports: what they use.
    """

    def __init__(self, kind: str, ports: FollowerPorts) -> None:
        self._kind = kind
        self._ports = ports
        self._workers: dict[str, W] = {}

    def add(self, worker: W) -> None:
        """Note a worker; its container does so."""
        self._workers[worker.name] = worker

    @property
    def names(self) -> list[str]:
        """Those there are, in order."""
        return sorted(self._workers)

    def health(self, name: str) -> Health:
        """Return the state of one, as `catga.health()` tells it.

        Parameters:
            name: which one.

        Raises:
            CatgaError: `HANDLER_NOT_FOUND` when there is none of that name.
        """
        return self.worker(name).health()

    async def wait_for(self, name: str, position: int, *, timeout: float = 5.0) -> None:
        """Return when one is done up to a position, in whatever process it runs: what was appended can be read.

        Parameters:
            name: which one.
            position: of the last event that matters, as `append` returns it.
            timeout: real seconds to wait.

        Raises:
            CatgaError: `TIMEOUT`, telling how far it is; `HANDLER_FAILED` when it has stopped before; `HANDLER_NOT_FOUND`
                when there is none of that name.
        """
        await self.worker(name).wait_for(position, timeout)

    async def caught_up(self, name: str, *, timeout: float = 5.0) -> int:
        """Return when one is done with all events there are at the moment of the call.

        Parameters:
            name: which one.
            timeout: real seconds to wait.

        Returns:
            the position that was waited for.

        Raises:
            CatgaError: as `wait_for`.
        """
        self.worker(name)
        head = await self._ports.log.head()
        await self.wait_for(name, head, timeout=timeout)
        return head

    def resume(self, name: str) -> None:
        """Go on with one in this process that has stopped, beginning with the event that stopped it.

        Parameters:
            name: which one.

        Raises:
            CatgaError: `HANDLER_NOT_FOUND` when there is none of that name.
        """
        self.worker(name).resume()

    async def replay_parked(self, name: str) -> Replayed:
        """Handle every event once more that one has parked; what fails again stays parked.

        Parameters:
            name: which one.

        Returns:
            how many are done, and how many failed again.

        Raises:
            CatgaError: `HANDLER_NOT_FOUND` when there is none of that name; `PERSISTENCE_FAILED` when the storage is away.
        """
        return await self.worker(name).replay_parked()

    def worker(self, name: str) -> W:
        """Return what runs one.

        Raises:
            CatgaError: `HANDLER_NOT_FOUND` when there is none of that name.
        """
        found = self._workers.get(name)
        if found is None:
            known = ", ".join(map(repr, self.names)) or "none"
            msg = f"there is no {self._kind} {name!r} in this process: there is {known}"
            raise CatgaError(msg, code=ErrorCode.HANDLER_NOT_FOUND)
        return found
