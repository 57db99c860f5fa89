"""Starts everything in dependency order, and stops it in reverse without losing what is in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Any

from catga_core.container.app.assembly import Assembly
from catga_core.container.app.options import DEFAULT_SERVICE_NAME, CatgaOptions
from catga_core.container.app.roles import DEFAULT_ROLES, Role
from catga_core.container.app.signals import listening
from catga_core.container.app.stopping import Stopping
from catga_core.container.app.stores import is_in_memory
from catga_core.container.app.transports import Carrier, carriers_of, inbound_of
from catga_core.container.di.provider import ServiceProvider
from catga_core.container.di.registration import Registration
from catga_core.container.di.resolver import Resolver
from catga_core.errors import CatgaError, ConfigurationError, ErrorCode
from catga_core.handlers.hints import shown
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.hosting import HealthReporter
from catga_core.interfaces.port import declared_ports
from catga_core.interfaces.transport import TransportLifecycle
from catga_core.log import LEFT_IN_FLIGHT, STARTED, STATE_IN_MEMORY, STOP_FAILED, STOPPED, logger
from catga_core.mediator import CatgaMediator, Dispatcher
from catga_core.messages import message_type
from catga_core.runtime.home_loop import LOOP_IS_CLOSED
from catga_core.runtime.shielded import shielded
from catga_core.runtime.waiter import Waiter


class State(StrEnum):
    """Where a container is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Lifecycle:
    """One container's starting and stopping.

    Args:
        validate: Raises for a wrong composition.
        providers: Returns the container's providers, by name.
        dispatcher: The container's dispatcher.
        assembly: Its handlers and behaviors.
        resolver: Makes its services.
        registrations: Its services.
        hosted: The services that are started and stopped, and the roles of processes that do so.
        workers: Those of features, which work beside the handlers, likewise.
        feature_health: Returns the health entries of features.
    """

    def __init__(
        self,
        validate: Callable[..., None],
        providers: Callable[[], Mapping[str, Any]],
        dispatcher: Dispatcher,
        assembly: Assembly,
        resolver: Resolver,
        registrations: Mapping[Any, Registration],
        hosted: Mapping[Any, Role | None],
        workers: Mapping[Any, Role | None],
        feature_health: Callable[[], Mapping[str, Health]],
    ) -> None:
        self._validate = validate
        self._providers = providers
        self._dispatcher = dispatcher
        self._assembly = assembly
        self._resolver = resolver
        self._registrations = registrations
        self._hosted = hosted
        self._workers = workers
        self._feature_health = feature_health
        self.state: State = State.STOPPED
        self._carriers: list[Carrier] = []
        self._started: list[tuple[Any, Any]] = []
        self._ran = False
        self._home = resolver.home
        self._hurry = Waiter()

    @property
    def started(self) -> bool:
        """Whether the composition is fixed for now."""
        return self.state is not State.STOPPED

    async def start(self, roles: frozenset[Role]) -> None:
        """Check and start what the roles need; what was started is stopped again when something fails."""
        if self.started and self._home.is_closed:
            await self._abandon()
        if self.started:
            msg = f"The container is already {self.state}. Exit its first running() block before you enter another."
            raise ConfigurationError(msg)
        self._validate(roles=roles)
        self.state = State.STARTING
        self._home.enter()
        self._ran = False
        self._hurry = Waiter()
        self._tell_what_is_in_memory()
        try:
            await self._start_all(roles)
        except BaseException:
            self.state = State.RUNNING
            try:
                await self.stop()
            except ExceptionGroup as group:
                # The failure to start is what the caller has to see.
                logger().error(STOP_FAILED, errors=len(group.exceptions))
            raise
        self.state = State.RUNNING
        self._ran = True
        options: CatgaOptions = self._resolver.resolve(CatgaOptions)
        named = {} if roles == DEFAULT_ROLES else {"roles": sorted(roles)}
        logger().info(STARTED, service_name=options.service_name, handlers=self._handler_count(), **named)

    async def stop(self) -> None:
        """Refuse new work, finish what is in flight within the shutdown timeout, close everything in reverse.

        Raises:
            ExceptionGroup: Of everything that went wrong; all the rest is stopped all the same.
            CatgaError: `INTERNAL_ERROR` in another event loop than that of the start. If that one is closed, what could be
                released is released, and the container can be started again.
        """
        if self.state is not State.RUNNING:
            return
        problem = self._home.problem()
        if problem is not None:
            if self._home.is_closed:
                await self._abandon()
            text = f"The container was not stopped in order: it {problem}"
            raise CatgaError(text, code=ErrorCode.INTERNAL_ERROR)
        # A stop that is cancelled halfway would leave servers connected and files open.
        await shielded(self._stop())

    async def run_until_signal(self, running: AbstractAsyncContextManager[object]) -> None:
        """Run until SIGINT or SIGTERM: the first ends the start or the run, the second the waiting while it stops."""
        asked = asyncio.Event()
        task = asyncio.current_task()
        cancelled_before = task.cancelling() if task is not None else 0
        interrupted = False

        def on_signal() -> None:
            nonlocal interrupted
            if asked.is_set():
                self._hurry.close()
            elif self.state is State.STARTING and task is not None:
                interrupted = task.cancel()
            asked.set()

        try:
            with listening(on_signal):
                async with running:
                    await asked.wait()
        except asyncio.CancelledError:
            # As asyncio.timeout does: our own cancellation ends here, anybody else's goes on.
            if not interrupted or task is None or task.uncancel() > cancelled_before:
                raise

    def health(self) -> dict[str, Health]:
        """Return each part's state."""
        status = HealthStatus.HEALTHY if self.state is State.RUNNING else HealthStatus.UNHEALTHY
        description = f"the container is {self.state}"
        if self.started and self._home.is_closed:
            # Asked from another loop or thread: nothing of it can work.
            status, description = HealthStatus.UNHEALTHY, f"the container {LOOP_IS_CLOSED}"
        dispatcher = self._dispatcher
        found = {
            "mediator": Health(
                status,
                description,
                {
                    "in_flight": dispatcher.in_flight,
                    "failed_event_handlers": dispatcher.failed_deliveries.count,
                },
            )
        }
        found.update(self._feature_health())
        for carrier in self._carriers:
            found[carrier.name] = carrier.transport.health()
        for service, made in self._started:
            if isinstance(made, HealthReporter):
                found[self._name_of(service)] = made.health()
        return found

    # --- starting ---

    def _tell_what_is_in_memory(self) -> None:
        resolver = self._resolver
        reached: set[Any] = set()
        for root in self._assembly.roots():
            reached |= resolver.reach_of(root)
        for service in list(self._registrations):
            reached |= resolver.reach(service)
        in_memory = [
            shown(port.type)
            for port in declared_ports(kept=True)
            if port.type in reached and is_in_memory(resolver.effective(port.type))
        ]
        if in_memory:
            # Reported now rather than found at the first restart.
            hint = (
                "State in memory is lost when the container stops. Configure a durable store with "
                'CatgaOptions(store="sqlite:///app.db") or an add_*_catga function.'
            )
            logger().warning(STATE_IN_MEMORY, ports=in_memory, hint=hint)

    async def _make_singletons(self) -> None:
        resolver = self._resolver
        for service in list(self._registrations):
            await resolver.build(service)
        await self._assembly.prepare()

    def _check_service_name(self, transport: TransportLifecycle) -> None:
        options = self._resolver.resolve(CatgaOptions)
        events = [shown(cls) for cls in self._assembly.handlers.served_events()]
        if events and transport.capabilities.remote and options.service_name == DEFAULT_SERVICE_NAME:
            msg = (
                f"A service that subscribes to events over a remote transport ({', '.join(events)}) needs its own name; got "
                f"the default {options.service_name!r}. Services with the same name share each event. Set "
                'CatgaOptions(service_name="...").'
            )
            raise ConfigurationError(msg)

    async def _start_all(self, roles: frozenset[Role]) -> None:
        await self._make_singletons()
        for carrier in carriers_of(self._resolver):
            if "serve" in roles and carrier.events:
                self._check_service_name(carrier.transport)
            await self._connect(carrier)
        below, above = self._hosted_in_order()
        for service in below:
            if self._is_for(roles, service, None):
                await self._start_hosted(service)
        self._dispatcher.open()
        self._compile_all()
        # A relay of stored events starts when this process's own handlers listen: no transport keeps events for them before.
        late = [service for service in above if getattr(service, "starts_after_serving", False)]
        await self._start_those(roles, [service for service in above if service not in late])
        for carrier in self._carriers if "serve" in roles else ():
            options, handlers = self._resolver.resolve(CatgaOptions), self._assembly.handlers
            remote = carrier.transport.capabilities.remote
            inbound = inbound_of(options, handlers, self._dispatcher, remote=remote)
            await carrier.transport.serve(carrier.inbound(inbound))
        await self._start_those(roles, late)

    async def _start_those(self, roles: frozenset[Role], services: Sequence[Any]) -> None:
        for service in services:
            if self._is_for(roles, service, "work"):
                await self._start_hosted(service)

    async def _connect(self, carrier: Carrier) -> None:
        transport = carrier.transport
        # It is closed after the drain, not with the other singletons.
        self._resolver.disown(transport)
        try:
            await transport.connect()
        except BaseException as error:
            try:
                await transport.close()
            except Exception as also:  # noqa: BLE001 - why it could not connect is what the caller has to see
                error.add_note(f"closing it failed too: {type(also).__name__}: {also}")
            raise
        self._carriers.append(carrier)

    def _compile_all(self) -> None:
        assembly = self._assembly
        for cls in assembly.handlers.served_requests():
            assembly.request_route(cls)
        for cls in assembly.handlers.served_streams():
            assembly.stream_route(cls)
        for cls in assembly.handlers.served_events(below_event=False):
            assembly.event_routes(cls)
            self._dispatcher.delivers_in_queues(message_type(cls))

    def _hosted_in_order(self) -> tuple[list[Any], list[Any]]:
        """Return the hosted services that messages rely on, and those that rely on the mediator, each in order."""
        resolver = self._resolver
        ordered: list[Any] = []
        hosted = [*self._hosted, *(each for each in self._workers if each not in self._hosted)]
        # A consumer that a sender waits for is at work by then.
        for service in sorted(hosted, key=lambda each: not getattr(each, "starts_before_senders", False)):
            for held in sorted(resolver.reach(service) & set(hosted), key=_reach_size(resolver)):
                if held not in ordered:
                    ordered.append(held)
        above = [service for service in ordered if _sends(resolver, service)]
        return [service for service in ordered if service not in above], above

    def _is_for(self, roles: frozenset[Role], service: Any, default: Role | None) -> bool:
        role = self._workers[service] if service in self._workers else self._hosted.get(service) or default
        return role is None or role in roles

    async def _start_hosted(self, service: Any) -> None:
        options = self._resolver.resolve(CatgaOptions)
        made = self._resolver.resolve(service)
        limit = asyncio.timeout(options.start_timeout_seconds)
        try:
            async with limit:
                await made.start()
        except TimeoutError as cause:
            if not limit.expired():
                raise
            msg = (
                f"{shown(service)} did not start within {options.start_timeout_seconds:g} s. Check what it waits for, or "
                "raise start_timeout_seconds."
            )
            raise CatgaError(msg, code=ErrorCode.INTERNAL_ERROR) from cause
        except Exception as error:
            error.add_note(f"while starting {shown(service)}")
            raise
        self._started.append((service, made))

    # --- stopping ---

    async def _stop(self, within: float | None = None) -> None:
        self.state = State.STOPPING
        try:
            await self._stop_all(within)
        finally:
            # Whatever went wrong: a container that could never run again would be useless.
            self.state = State.STOPPED
            self._home.leave()

    async def _abandon(self) -> None:
        """Release what a container holds whose event loop was closed while it ran; its messages in flight are lost."""
        service = self._resolver.resolve(CatgaOptions).service_name
        logger().error(STOP_FAILED, service_name=service, reason=f"the container {self._home.problem()}")
        self._hurry = Waiter()
        try:
            # Tasks of the closed loop never end, so that nothing waits for them.
            await shielded(self._stop(within=0.0))
        except ExceptionGroup as group:
            logger().error(STOP_FAILED, service_name=service, errors=len(group.exceptions))

    async def _stop_all(self, within: float | None) -> None:
        options = self._resolver.resolve(CatgaOptions)
        limit = options.shutdown_timeout_seconds if within is None else within
        dispatcher, transports = self._dispatcher, [carrier.transport for carrier in self._carriers]
        stopping = Stopping(limit, self._hurry)
        above = [each for each in self._started if _sends(self._resolver, each[0])]
        below = [each for each in self._started if each not in above]
        # What sends the last messages of those in flight.
        last = [each for each in above if getattr(each[1], "stops_after_messages", False)]
        await stopping.services([each for each in above if each not in last], hurry=True)
        dispatcher.refuse()
        left = await stopping.messages(transports, lambda: dispatcher.in_flight)
        if left:
            # Its tasks are its senders' own, so it is not cancelled: what it holds is closed under it.
            logger().warning(LEFT_IN_FLIGHT, service_name=options.service_name, left_in_flight=left)
        await stopping.services(last, hurry=True)
        dispatcher.close()
        await stopping.services(below)
        for transport in reversed(transports):
            await stopping.transport(transport)
        self._carriers.clear()
        errors = [*stopping.errors, *await self._resolver.close()]
        self._assembly.forget()
        self._started.clear()
        if self._ran:
            logger().info(STOPPED, service_name=options.service_name, left_in_flight=left)
        if errors:
            logger().error(STOP_FAILED, service_name=options.service_name, errors=len(errors))
            msg = f"{options.service_name} stopped with {len(errors)} errors. See the nested exceptions."
            raise ExceptionGroup(msg, errors)

    def _handler_count(self) -> int:
        return len({id(entry.definition.target) for entry in self._assembly.handlers})

    def _name_of(self, service: Any) -> str:
        for name, provider in self._providers().items():
            if isinstance(provider, ServiceProvider) and provider.is_for(service):
                return str(name)
        return shown(service)


def _sends(resolver: Resolver, service: Any) -> bool:
    return not resolver.reach(service).isdisjoint({CatgaMediator, Dispatcher})


def _reach_size(resolver: Resolver) -> Callable[[Any], int]:
    def size(service: Any) -> int:
        return len(resolver.reach(service))

    return size
