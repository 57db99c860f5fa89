"""`Directory`: what an application calls for its projections or subscriptions: wait, resume, replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from catga_core.errors import CatgaError, ErrorCode
from catga_core.event_sourcing.consumers.ports import ConsumerPorts
from catga_core.event_sourcing.consumers.progress import Progress, not_run_here
from catga_core.event_sourcing.consumers.replaying import Replayed
from catga_core.event_sourcing.consumers.work import ConsumerWork
from catga_core.interfaces.dead_letters import DeadLetter
from catga_core.interfaces.health import Health
from catga_core.option_checks import check_count, check_seconds


class ConsumerWorker(Protocol):
    """Runs one projection or subscription."""

    name: str

    @property
    def parts(self) -> Sequence[Progress]:
        """The progress of each part."""
        ...

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
        """Replay parked events."""
        ...

    async def work_for(self, letter: DeadLetter, /) -> ConsumerWork | None:
        """Return what handles a parked event in a replay, `None` for one of another consumer or generation."""
        ...

    async def has_replayed(self) -> None:
        """Go on after a replay."""
        ...


W = TypeVar("W", bound=ConsumerWorker)


class Directory(Generic[W]):
    """The projections or subscriptions of one container, by name.

    Args:
        kind: `projection` or `subscription`.
        ports: What they use.
    """

    def __init__(self, kind: str, ports: ConsumerPorts) -> None:
        self._kind = kind
        self._ports = ports
        self._workers: dict[str, W] = {}

    def add(self, worker: W) -> None:
        """Add a worker; the container calls this."""
        self._workers[worker.name] = worker

    @property
    def names(self) -> list[str]:
        """The names, sorted."""
        return sorted(self._workers)

    def health(self, name: str) -> Health:
        """Return the state of one, as `catga.health()` reports it.

        Args:
            name: Its name.

        Raises:
            CatgaError: `HANDLER_NOT_FOUND` for an unknown name.
        """
        return self.worker(name).health()

    async def wait_for(self, name: str, position: int, *, timeout: float = 5.0) -> None:
        """Wait until one is done up to a position, whichever process runs it.

        Args:
            name: Its name.
            position: The position of the last event that matters, as `append` returns it.
            timeout: Real seconds to wait.

        Raises:
            CatgaError: `TIMEOUT`, with the position reached; `HANDLER_FAILED` when it has stopped before; `HANDLER_NOT_FOUND`
                for an unknown name.
        """
        check_count("position", position, least=0)
        check_seconds("timeout", timeout, least=0)
        await self.worker(name).wait_for(position, timeout)

    async def caught_up(self, name: str, *, timeout: float = 5.0) -> int:
        """Wait until one is done with every event that the log has at the moment of the call.

        Args:
            name: Its name.
            timeout: Real seconds to wait.

        Returns:
            The position that was waited for.

        Raises:
            CatgaError: As `wait_for`.
        """
        check_seconds("timeout", timeout, least=0)
        self.worker(name)
        head = await self._ports.log.head()
        await self.wait_for(name, head, timeout=timeout)
        return head

    def resume(self, name: str) -> None:
        """Resume one that has stopped in this process, with the event that stopped it.

        Args:
            name: Its name.

        Raises:
            CatgaError: `HANDLER_NOT_FOUND` for an unknown name; `VALIDATION_FAILED` when this process does not run it.
        """
        worker = self.worker(name)
        if not_run_here(worker.parts):
            msg = (
                f"the {self._kind} {name!r} does not run in this process, so it cannot be resumed here: call resume in a "
                "process with the role 'work', or restart that process"
            )
            raise CatgaError(msg, code=ErrorCode.VALIDATION_FAILED)
        worker.resume()

    async def replay_parked(self, name: str) -> Replayed:
        """Replay the parked events of one; those that fail again stay parked.

        Args:
            name: Its name.

        Returns:
            How many were handled, and how many failed again.

        Raises:
            CatgaError: `HANDLER_NOT_FOUND` for an unknown name; `PERSISTENCE_FAILED` when the storage is away.
        """
        return await self.worker(name).replay_parked()

    async def work_for(self, letter: DeadLetter) -> tuple[W, ConsumerWork] | None:
        """Return the worker that has parked an event and what handles it, `None` where none of this process has."""
        worker = self._workers.get(letter.handler)
        work = None if worker is None else await worker.work_for(letter)
        return None if worker is None or work is None else (worker, work)

    def worker(self, name: str) -> W:
        """Return the worker of one.

        Raises:
            CatgaError: `HANDLER_NOT_FOUND` for an unknown name.
        """
        found = self._workers.get(name)
        if found is None:
            known = ", ".join(map(repr, self.names)) or "none"
            msg = f"there is no {self._kind} {name!r} in this process: there is {known}"
            raise CatgaError(msg, code=ErrorCode.HANDLER_NOT_FOUND)
        return found
