"""`CatgaContainer`: where an application is put together, and `CatgaApp`: how it is seen while it runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from catga_core.clock import Clock
from catga_core.container.app.provided import Provided
from catga_core.container.app.registering import Registering
from catga_core.container.app.replacing import override_each
from catga_core.container.app.roles import DEFAULT_ROLES, Role, check_roles
from catga_core.container.di.naming import provider_of
from catga_core.container.di.overrides import Override, Overriding
from catga_core.container.di.provider import ServiceProvider
from catga_core.container.di.services import ServiceType
from catga_core.descriptions import not_injected
from catga_core.interfaces.checkpoints import CheckpointStore
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.event_store import EventStore
from catga_core.interfaces.health import Health
from catga_core.interfaces.idempotency import IdempotencyStore
from catga_core.interfaces.inbox import InboxStore
from catga_core.interfaces.outbox import OutboxStore
from catga_core.interfaces.snapshots import SnapshotStore
from catga_core.interfaces.storage import Storage, UnitOfWork
from catga_core.interfaces.transport import EventTransport, RequestTransport, StreamTransport, Transport
from catga_core.mediator import CatgaMediator
from catga_core.messages.serializer import Serializer

S = TypeVar("S")
T = TypeVar("T")


class CatgaContainer(Registering):
    """Holds everything an application is made of, checks that it fits, and runs it.

    It is a dependency-injector container: the ports are providers (`catga.mediator`, `catga.transport`,
    `catga.serializer`, `catga.clock`), every service is one under its snake_case name, and `wire`, `@inject` and
    `Provide["mediator"]` work. Make it with `add_catga()`.
    """

    # --- replacing parts of it ---

    # dependency-injector's own override takes a whole container; override_providers(**other.providers) says the same.
    # What stands in is Any: a test's double need not be derived from what it doubles.
    def override(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self, service: Any, implementation: Any = None, *, instance: bool = False
    ) -> Override:
        """Replace a service while a `with` block lasts, on a container that runs or one that does not yet.

        The next message sees it, also through singletons that were built before: those are created again for as long as
        the override lasts, and the first ones are there again after it. Overrides nest and may be left in any order.
        What was created is closed when the container stops, because a message in flight may still hold it.

        Args:
            service: A registered type, a handler class, or a provider's name.
            implementation: An object, or as in `add_singleton` a class, a factory or a dependency-injector provider. It
                need not be derived from what it doubles. For a handler, whatever handles the same message.
            instance: Take the implementation as the object itself, even where it is a class, a function or a provider.

        Raises:
            ConfigurationError: When nothing is registered for it, the replacement cannot be made, or is not a handler.
        """
        return self._registry.replace(service, implementation, instance=instance)

    def override_providers(self, **replacements: Any) -> Overriding:  # type: ignore[override]
        """Replace several parts by their providers' names, while a `with` block lasts.

        Args:
            replacements: What stands in, as in `override`, by provider name.

        Raises:
            ConfigurationError: When one of them cannot be replaced; then none is.
        """
        return override_each(self.providers, self.override, replacements)

    # --- using it ---

    def get(self, service: ServiceType[S]) -> S:
        """Return a service: the singleton, the surrounding message's own, or a new one.

        Args:
            service: A registered type.

        Raises:
            ConfigurationError: When nothing provides it.
            LookupError: For a scoped service where no message is being handled.
        """
        return self._resolver.resolve(service)  # type: ignore[no-any-return]

    def provider(self, service: ServiceType[S]) -> ServiceProvider[S]:
        """Return the dependency-injector provider of a service.

        Args:
            service: A registered type.

        Raises:
            ConfigurationError: When nothing provides it.
        """
        return provider_of(service, self.providers)

    @asynccontextmanager
    async def running(self, *, roles: Collection[Role] = DEFAULT_ROLES) -> AsyncGenerator[CatgaApp, None]:
        """Check, connect and start everything; drain and close it when the block is left.

        Args:
            roles: What this process does: `serve` handles what the transport delivers, `work` runs consumers, the
                outbox relay and every other worker. A tool runs with `{"admin"}`: stores and transport are connected
                and the mediator sends, but nothing is consumed.

        Raises:
            ConfigurationError: For a wrong composition or an unknown role, before anything is started.
            CatgaError: When a server cannot be reached.
            ExceptionGroup: Of what went wrong while stopping.
        """
        await self._lifecycle.start(check_roles(roles))
        try:
            yield CatgaApp(self)
        except AttributeError as error:
            if (hint := not_injected(error)) is not None:
                error.add_note(hint)
            raise
        finally:
            await self._lifecycle.stop()

    async def run(self, *, roles: Collection[Role] = DEFAULT_ROLES) -> None:
        """Run until SIGINT or SIGTERM, then drain and close.

        Args:
            roles: As in `running()`.

        A signal while it still starts ends the start and returns; a second one while it stops ends the waiting for what
        is in flight. In a thread other than the main one Python delivers no signals, which is logged; there the run ends
        when its task is cancelled. Raises as `running()` does.
        """
        await self._lifecycle.run_until_signal(self.running(roles=roles))

    def health(self) -> dict[str, Health]:
        """Return each part's state as it is now, by its provider's name."""
        return self._lifecycle.health()

    def wire(self, *arguments: Any, **options: Any) -> None:
        """Inject into modules, as dependency-injector does.

        Args:
            arguments: As in dependency-injector.
            options: As in dependency-injector: `modules=`, `packages=`, `from_package=`.
        """
        # Wired code may reach scoped services that no constructor asks for.
        self._assembly.opaque = True
        self._assembly.forget()
        self._dispatcher.forget()
        super().wire(*arguments, **options)

    def unit_of_work(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """Return a block in which all that stores are asked to write is written together, or not at all.

        Its storage is the one that keeps the event streams, the outbox, the inbox and the checkpoints. What is published
        in the block is sent after the commit. Entered inside another one, it joins that.

        Raises:
            CatgaError: When the block is left: `CONFLICT` when another has written what this one relied on,
                `PERSISTENCE_FAILED` when it could not be committed.
        """
        return self.get(Storage).unit_of_work()


class CatgaApp:
    """A container that runs: its ports by name, its services by type, its health.

    `app.<name>` gives the service of any provider; those below are typed.

    Args:
        container: The container; `app.container` gives it back.
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

    stream_transport: Provided[StreamTransport] = Provided(StreamTransport)
    """Carries stream queries to other processes, where it has the capability `streams`."""

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
            msg = f"The application has no provider {name!r}; it has {names}. Register the service before it starts."
            raise AttributeError(msg)
        return provider()
