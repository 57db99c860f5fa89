"""The running application, as the code around it sees it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from catga_core.clock import Clock
from catga_core.container.app.provided import Provided
from catga_core.interfaces.checkpoints import CheckpointStore
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.event_store import EventStore
from catga_core.interfaces.health import Health
from catga_core.interfaces.idempotency import IdempotencyStore
from catga_core.interfaces.inbox import InboxStore
from catga_core.interfaces.outbox import OutboxStore
from catga_core.interfaces.snapshots import SnapshotStore
from catga_core.interfaces.storage import UnitOfWork
from catga_core.interfaces.transport import EventTransport, RequestTransport, Transport
from catga_core.mediator import CatgaMediator
from catga_core.messages.serializer import Serializer

if TYPE_CHECKING:
    from catga_core.container.app.container import CatgaContainer
    from catga_core.container.di.services import ServiceType

S = TypeVar("S")


class CatgaApp:
    """A container that runs: its ports by name, its services by type, its health.

    `app.<name>` gives the service of any provider; those below are typed.

    Parameters:
        container: the container; `app.container` gives it back.
    """

    __slots__ = ("container",)

    mediator: Provided[CatgaMediator] = Provided(CatgaMediator)
    """Sends requests, publishes events, gives streams."""

    transport: Provided[Transport] = Provided(Transport)
    """Carries messages to other processes."""

    request_transport: Provided[RequestTransport] = Provided(RequestTransport)
    """Carries requests to other processes."""

    event_transport: Provided[EventTransport] = Provided(EventTransport)
    """Carries events to other processes."""

    serializer: Provided[Serializer] = Provided(Serializer)
    """Turns messages into bytes."""

    clock: Provided[Clock] = Provided(Clock)
    """The container's time."""

    event_store: Provided[EventStore] = Provided(EventStore)
    """Streams of events."""

    snapshot_store: Provided[SnapshotStore] = Provided(SnapshotStore)
    """Snapshots of streams, so that streams need not be replayed."""

    checkpoints: Provided[CheckpointStore] = Provided(CheckpointStore)
    """The positions of projections and subscriptions."""

    idempotency_store: Provided[IdempotencyStore] = Provided(IdempotencyStore)
    """Claims of commands, and their results."""

    inbox: Provided[InboxStore] = Provided(InboxStore)
    """Which handler has received which message."""

    outbox: Provided[OutboxStore] = Provided(OutboxStore)
    """Messages to send after the commit."""

    dead_letters: Provided[DeadLetterStore] = Provided(DeadLetterStore)
    """Messages that could not be handled."""

    def __init__(self, container: CatgaContainer) -> None:
        self.container: CatgaContainer = container

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
            msg = f"the application has no provider {name!r}; it has {names}. Register the service before it starts."
            raise AttributeError(msg)
        return provider()
