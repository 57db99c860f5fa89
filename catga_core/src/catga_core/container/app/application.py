"""The running application, as the code around it sees it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from catga_core.clock import Clock
from catga_core.interfaces.checkpoints import CheckpointStore
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.event_store import EventStore
from catga_core.interfaces.health import Health
from catga_core.interfaces.idempotency import IdempotencyStore
from catga_core.interfaces.inbox import InboxStore
from catga_core.interfaces.outbox import OutboxStore
from catga_core.interfaces.snapshots import SnapshotStore
from catga_core.interfaces.storage import UnitOfWork
from catga_core.interfaces.transport import Transport
from catga_core.mediator import CatgaMediator
from catga_core.messages.serializer import Serializer

if TYPE_CHECKING:
    from catga_core.container.app.container import CatgaContainer
    from catga_core.container.di.services import ServiceType

S = TypeVar("S")


class CatgaApp:
    """A container that runs: its ports by name, its services by type, its health.

    Parameters:
        container: the container; `app.container` gives it back.
    """

    __slots__ = ("container",)

    def __init__(self, container: CatgaContainer) -> None:
        self.container: CatgaContainer = container

    @property
    def mediator(self) -> CatgaMediator:
        """Sends requests, publishes events, gives streams."""
        return self.container.get(CatgaMediator)

    @property
    def transport(self) -> Transport:
        """The way to other processes.

        Raises:
            ConfigurationError: when there is none.
        """
        return self.container.get(Transport)

    @property
    def serializer(self) -> Serializer:
        """Turns messages into bytes."""
        return self.container.get(Serializer)

    @property
    def clock(self) -> Clock:
        """The container's time."""
        return self.container.get(Clock)

    @property
    def event_store(self) -> EventStore:
        """Streams of events."""
        return self.container.get(EventStore)

    @property
    def snapshot_store(self) -> SnapshotStore:
        """States of streams, kept so that they need not be replayed."""
        return self.container.get(SnapshotStore)

    @property
    def checkpoints(self) -> CheckpointStore:
        """How far projections and subscriptions have come."""
        return self.container.get(CheckpointStore)

    @property
    def idempotency_store(self) -> IdempotencyStore:
        """Claims of commands, and their results."""
        return self.container.get(IdempotencyStore)

    @property
    def inbox(self) -> InboxStore:
        """Which handler has had which message."""
        return self.container.get(InboxStore)

    @property
    def outbox(self) -> OutboxStore:
        """Messages that are sent after the commit."""
        return self.container.get(OutboxStore)

    @property
    def dead_letters(self) -> DeadLetterStore:
        """Messages that could not be handled."""
        return self.container.get(DeadLetterStore)

    def unit_of_work(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """Return a block that is written as a whole or not at all, as `CatgaContainer.unit_of_work` does."""
        return self.container.unit_of_work()

    def get(self, service: ServiceType[S]) -> S:
        """Return a service by its type, as `CatgaContainer.get` does."""
        return self.container.get(service)

    def health(self) -> Mapping[str, Health]:
        """Return each part's state as it is now, by name."""
        return self.container.health()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "container":
            # Not ours: copying and pickling ask for such names before there is a container.
            raise AttributeError(name)
        provider = self.container.providers.get(name)
        if provider is None:
            names = ", ".join(sorted(self.container.providers))
            msg = f"the application has no {name!r}: it has {names}"
            raise AttributeError(msg)
        return provider()
