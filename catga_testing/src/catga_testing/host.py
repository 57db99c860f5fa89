"""`test_host`: an application under test, with a record of its messages and no guessing when it is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Hashable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any, TypeVar, Unpack, overload

from catga_core import (
    CatgaApp,
    CatgaContainer,
    CatgaMediator,
    CatgaOptions,
    CatgaResult,
    Clock,
    Event,
    Transport,
)
from catga_core.container.di.products import AsyncNeeded
from catga_core.descriptions import shown
from catga_core.errors import ConfigurationError
from catga_core.mediator import Dispatcher, PublishOptions, SendOptions
from catga_core.messages import Request, message_type
from catga_core.messages.message_context import MessageContext
from catga_core.option_checks import check_seconds
from catga_core.reliability import OutboxRelay
from catga_testing.recording import (
    EnqueuedCommand,
    HandlerFailure,
    Journal,
    Network,
    Published,
    Received,
    Sent,
    join_network,
)
from catga_testing.recording.consumers import Consumers
from catga_testing.recording.dispatcher import RecordingDispatcher
from catga_testing.recording.mediator import RecordingMediator
from catga_testing.recording.queues import Queues
from catga_testing.recording.stored import StoredEvents
from catga_testing.recording.transport import ObservedTransport

M = TypeVar("M")
R = TypeVar("R")
E = TypeVar("E", bound=Event)
Record = TypeVar(
    "Record", Sent[Any], Published[Any], Received[Any], HandlerFailure[Any], EnqueuedCommand[Any]
)


class HostedApp:
    """A running application and everything it has sent, published and received; `test_host` gives it.

    Args:
        app: The running application.
        journal: Its records.
        network: The work under way.
    """

    def __init__(self, app: CatgaApp, journal: Journal, network: Network) -> None:
        self.app = app
        self._journal = journal
        self._network = network

    @property
    def mediator(self) -> CatgaMediator:
        """The application's mediator, recorded; unlike `host.send` it does not wait for what comes of a message."""
        return self.app.mediator

    @property
    def messages(self) -> Sequence[Sent[Any] | Published[Any]]:
        """Everything this application sent and published, in order."""
        return tuple(self._journal.messages)

    @overload
    def sent(self) -> list[Sent[Any]]: ...
    @overload
    def sent(self, message_type: type[M]) -> list[Sent[M]]: ...
    def sent(self, message_type: type[Any] = object) -> list[Sent[Any]]:
        """Return what this application sent, in order: by a test, by its handlers, by its services.

        Args:
            message_type: A request's class, or a base of several; left out, all of them.
        """
        found = [each for each in self._journal.messages if isinstance(each, Sent)]
        return _of_type(found, message_type)

    @overload
    def published(self) -> list[Published[Any]]: ...
    @overload
    def published(self, event_type: type[E]) -> list[Published[E]]: ...
    def published(self, event_type: type[Any] = object) -> list[Published[Any]]:
        """Return the events that this application published, by its mediator or by an event publisher, in order.

        An event in a unit of work that was rolled back was not published.

        Args:
            event_type: An event's class, or a base of several; left out, all of them.
        """
        found = [each for each in self._journal.messages if isinstance(each, Published)]
        return _of_type(found, event_type)

    @overload
    def received(self) -> list[Received[Any]]: ...
    @overload
    def received(self, message_type: type[M]) -> list[Received[M]]: ...
    def received(self, message_type: type[Any] = object) -> list[Received[Any]]:
        """Return what reached this application over its transport, in order; nothing where it has none.

        Args:
            message_type: A message's class, or a base of several; left out, all of them.
        """
        return _of_type(self._journal.received, message_type)

    @overload
    def failures(self) -> list[HandlerFailure[Any]]: ...
    @overload
    def failures(self, event_type: type[E]) -> list[HandlerFailure[E]]: ...
    def failures(self, event_type: type[Any] = object) -> list[HandlerFailure[Any]]:
        """Return the event handlers of this application that failed, in order.

        Args:
            event_type: An event's class, or a base of several; left out, all of them.
        """
        return _of_type(self._journal.failures, event_type)

    @overload
    def enqueued(self) -> list[EnqueuedCommand[Any]]: ...
    @overload
    def enqueued(self, command_type: type[M]) -> list[EnqueuedCommand[M]]: ...
    def enqueued(self, command_type: type[Any] = object) -> list[EnqueuedCommand[Any]]:
        """Return the commands that this application enqueued, in order.

        Args:
            command_type: A command's class, or a base of several; left out, all of them.
        """
        return _of_type(self._journal.enqueued, command_type)

    async def send(
        self, request: Request[R], /, *, within: float = 5.0, **options: Unpack[SendOptions]
    ) -> CatgaResult[R]:
        """Send a request and return its result when everything that came of it is done as well.

        Args:
            request: The message.
            within: Real seconds to wait for the result and what is still under way after it. Then the request is cancelled.
            timeout: As in `CatgaMediator.send`.
            message_id: As in `CatgaMediator.send`.
            headers: As in `CatgaMediator.send`.

        Raises:
            NotSettledError: Naming what still runs.
        """
        check_seconds("within", within, least=0)
        ends_at = asyncio.get_running_loop().time() + within
        result = await self._network.bounded(self.mediator.send(request, **options), within, ends_at)
        await self._network.settled(within, ends_at)
        return result

    async def publish(
        self, event: Event, /, *, within: float = 5.0, **options: Unpack[PublishOptions]
    ) -> None:
        """Publish an event and return when every handler it reached, and everything that came of it, is done.

        Args:
            event: The fact.
            within: Real seconds to wait for its handlers and what is still under way after them. Then it is cancelled.
            message_id: As in `CatgaMediator.publish`.
            headers: As in `CatgaMediator.publish`.

        Raises:
            CatgaError: When it could not be handed over.
            NotSettledError: Naming what still runs.
        """
        check_seconds("within", within, least=0)
        ends_at = asyncio.get_running_loop().time() + within
        await self._network.bounded(self.mediator.publish(event, **options), within, ends_at)
        await self._network.settled(within, ends_at)

    async def settled(self, *, within: float = 5.0) -> None:
        """Return when no message is being handled, no published event is on its way, and no appended event is left.

        Due messages of queues are waited for too, until they are handled or in the dead letters; scheduled ones and those of held
        keys are not. Otherwise it counts, and neither sleeps nor polls: the messages of this application and of every other `test_host` that
        it can reach, whether sent here, nested, or brought by the transport. What is committed to the outbox counts until
        it is relayed. What is appended to the log counts until each projection, subscription and event publisher of these
        applications is done with it. What a handler starts by `asyncio.create_task` and does not await counts while it
        sends or publishes, not between.

        Args:
            within: Real seconds to wait.

        Raises:
            NotSettledError: Naming what still runs and what has not arrived, or the consumer that is not done with the log,
                at once where an event has stopped it.
        """
        check_seconds("within", within, least=0)
        await self._network.settled(within)

    def clear(self) -> None:
        """Forget what was recorded so far."""
        self._journal.clear()


@asynccontextmanager
async def test_host(
    catga: CatgaContainer,
    overrides: Mapping[Any, Any] | None = None,  # noqa: PT028 - no test, whatever its name says
    *,
    network: Hashable = None,  # noqa: PT028
) -> AsyncGenerator[HostedApp]:
    """Run an application with parts of it replaced, and record its messages.

    The overrides are in force before anything is made, and taken back after everything has stopped. Several hosts of
    one test wait for each other's work when they can reach one another.

    Args:
        catga: A composed container that does not run yet.
        overrides: What stands in for what: by a service's type, a handler's class or a provider's name (`"clock"`), as
            in `catga.override`.
        network: Hosts with equal networks wait for each other. `None` for those with the same kind of transport (and
            the same bus, in process): give names where two servers are in play.

    Raises:
        TypeError: What is given is not a container.
        ConfigurationError: For a composition that cannot work, with the overrides in force.
        CatgaError: When a server cannot be reached.
        ExceptionGroup: Of what went wrong while stopping.
    """
    given: object = catga
    if not isinstance(given, CatgaContainer):
        hint = " Call it." if callable(given) else ""
        msg = f"test_host() takes a container, as add_catga() returns it; got {shown(given)}.{hint}"
        raise TypeError(msg)
    with ExitStack() as stack:
        for service, implementation in (overrides or {}).items():
            stack.enter_context(catga.override(service, implementation))
        # A wrong composition is told as a whole, before the transport alone is made.
        catga.validate()
        transport = await _transport_of(catga)
        key = _network_of(transport) if network is None else network
        joined = stack.enter_context(join_network(key))
        journal = Journal()
        _record(catga, transport, journal, joined, stack)
        async with catga.running() as app:
            service = catga.get(CatgaOptions).service_name
            with ExitStack() as waited:
                for each in (Consumers(catga, service), Queues(catga, service)):
                    if each:
                        waited.enter_context(joined.consuming(each))
                yield HostedApp(app, journal, joined)


# A test module imports it, and pytest would take it for a test.
test_host.__test__ = False  # type: ignore[attr-defined]


def _record(
    catga: CatgaContainer, transport: Transport | None, journal: Journal, network: Network, stack: ExitStack
) -> None:
    mediator: CatgaMediator = catga.get(CatgaMediator)
    service: str = catga.get(CatgaOptions).service_name
    if transport is not None:
        observed = ObservedTransport(transport, journal, network)
        stack.enter_context(catga.override(Transport, observed, instance=True))
    dispatcher: Dispatcher = catga.get(Dispatcher)
    stored = StoredEvents(network, journal, service, lambda: _relays(catga))
    recording = RecordingMediator(
        mediator,
        journal,
        network,
        service,
        lambda: _clock_of(catga),
        dispatcher.stores_events,
        stored,
        lambda event: dispatcher.keeps_in_transaction(message_type(type(event))),
    )
    stack.enter_context(catga.override(CatgaMediator, recording, instance=True))
    delivering = RecordingDispatcher(dispatcher, journal, network, service, stored)
    stack.enter_context(catga.override(Dispatcher, delivering, instance=True))
    watchers = dispatcher.failed_deliveries.watchers

    def watch(event: Any, handler: str, failure: CatgaResult[Any], context: MessageContext | None) -> None:
        journal.failures.append(HandlerFailure(event, handler, failure.error, context))

    watchers.append(watch)
    stack.callback(watchers.remove, watch)


def _relays(catga: CatgaContainer) -> bool:
    """Return whether a running application relays its outbox."""
    try:
        relay: OutboxRelay = catga.get(OutboxRelay)
    except ConfigurationError:
        return False
    return relay.relays


async def _transport_of(catga: CatgaContainer) -> Transport | None:
    try:
        found: Transport = catga.get(Transport)
    except ConfigurationError:
        # None is registered; one that cannot be made fails the start just as well.
        return None
    except AsyncNeeded:
        found = await catga._resolver.build(Transport)  # noqa: SLF001 - the start would do the same
    return found


def _network_of(transport: Transport | None) -> Hashable:
    if transport is None:
        return object()
    # What connects transports of one process is an attribute of theirs; a kind of transport has one network else.
    bus = getattr(transport, "bus", None)
    return type(transport), None if bus is None else id(bus)


def _clock_of(catga: CatgaContainer) -> Clock:
    found: Clock = catga.get(Clock)
    return found


def _of_type(records: Sequence[Record], message_type: type[Any]) -> list[Record]:
    return [each for each in records if isinstance(each.message, message_type)]
