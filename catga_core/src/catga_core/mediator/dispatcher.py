"""`Dispatcher`: the one way in. Whatever is delivered to this process's handlers goes through it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from catga_core.errors import CatgaError, HandlerNotFoundError, InternalError, Outcome
from catga_core.interfaces.endpoints import (
    EventEndpoint,
    HandlerEndpoint,
    RequestEndpoint,
    StreamEndpoint,
    Undecoded,
)
from catga_core.interfaces.outbox import OutboxMessage, ToEnqueue
from catga_core.interfaces.transport import EventTransport
from catga_core.mediator.endpoints import EventDelivery, Handling, failing
from catga_core.mediator.event_deliveries import EventDeliveries, PublishHere
from catga_core.mediator.failures import FailedDeliveries
from catga_core.mediator.gate import Gate
from catga_core.mediator.handing_over import HandingOver
from catga_core.mediator.keeping import KeepingEndpoint, publisher_keeps, receiver_keeps
from catga_core.mediator.preparing import not_built, prepared
from catga_core.mediator.recording import Outgoing, Recordings, current_recording
from catga_core.mediator.refusals import stopped, warn_of_namesake
from catga_core.mediator.routes import NotPrepared, Route, RouteSource
from catga_core.mediator.streaming import Streams
from catga_core.messages import Event, Message, MessageKind, MessageType, Request, message_type
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.pipeline import Chain, Dispatch, Handle
from catga_core.runtime.unit_of_work import open_unit_of_work


class Dispatcher:
    """Delivers messages to the handlers of this process, for transports, the relay, consumers, replays and operators.

    Applications send with `CatgaMediator`. Ask for a `Dispatcher` to build a deliverer: a transport, a queue, a worker.

    Args:
        source: Knows the pipelines.
    """

    def __init__(self, source: RouteSource) -> None:
        self._source = source
        self._dispatches: dict[Handling, Dispatch] = {}
        self._retired: list[Dispatch] = []
        self._handles: dict[Any, Handle] = {}
        self._endpoints: dict[Any, Handling] = {}
        self._forget_senders: Callable[[], None] | None = None
        self._send_again: Chain | None = None
        self.gate: Gate = Gate(source)
        self.failed_deliveries: FailedDeliveries = FailedDeliveries()
        self._events = EventDeliveries(source, self.gate, self.failed_deliveries)
        self._handing_over = HandingOver(source, self.gate, self._events)
        self.recordings: Recordings = Recordings(self.forget)

    # --- endpoints ---

    def request_endpoint(self, described: MessageType, /) -> RequestEndpoint:
        """Return the endpoint of a request that this process handles."""
        return self._request(described)

    def stream_endpoint(self, described: MessageType, /) -> StreamEndpoint:
        """Return the endpoint of a stream query that this process handles."""
        return Streams(described, self._source, self.gate)

    def event_endpoint(self, described: MessageType, /) -> EventEndpoint:
        """Return the endpoint of an event that this process has handlers for: it calls them, or keeps the event for them."""
        durable = receiver_keeps(self._source, described)
        if durable is not None:
            return KeepingEndpoint(
                described, durable, lambda: self.handlers_of(described.cls), self.failed_deliveries
            )
        return EventDelivery(
            described, self._events.known, self._events.find, self.handler_endpoints, self._keep_undecoded
        )

    def delivers_in_queues(self, described: MessageType, /) -> bool:
        """Return whether events of a type come from a durable transport and not from the event transport.

        Raises:
            ConfigurationError: The type declares a delivery that this composition cannot keep.
        """
        durable = publisher_keeps(self._source, described)
        return durable is not None and durable.remote

    def handler_endpoints(self, described: MessageType, /) -> Sequence[HandlerEndpoint]:
        """Return one endpoint for each of an event's handlers here, in the order of registration."""
        return [self.handler_endpoint(described, name) for name in self._source.handlers_of(described.cls)]

    def handler_endpoint(self, described: MessageType, handler: str, /) -> HandlerEndpoint:
        """Return the endpoint of one handler of an event.

        A handler that is not registered here answers each message with `HANDLER_NOT_FOUND`.
        """
        return self._endpoint(described, handler, self._find_handler)

    def consumer_endpoint(self, consumer: str, described: MessageType, /) -> HandlerEndpoint:
        """Return the endpoint of a consumer's handler for an event: of a projection or subscription.

        A consumer is started and stopped by itself: its endpoint works whether or not messages are accepted, and does not
        count as in flight.
        """
        return self._endpoint(described, consumer, self._find_consumer)

    def _request(self, described: MessageType) -> Handling:
        return self._endpoint(described, "", self._find_request)

    def _endpoint(self, described: MessageType, handler: str, find: Callable[[Handling], Handle]) -> Handling:
        # Consumers are known by kind and name, with a colon, so that no handler has the name of one.
        key = described.cls, handler
        known = self._endpoints.get(key)
        if known is None:
            known = self._endpoints[key] = Handling(described, handler, self._handles, find)
        return known

    async def _keep_undecoded(self, message: Undecoded, error: CatgaError) -> None:
        sink = await prepared(self._source, lambda: self._source.failure_sink)
        if sink is not None:
            await sink.keep_undecoded(message, error)

    # --- for the outbox and for replays ---

    def hand_over(
        self,
        described: MessageType,
        event: Event,
        context: MessageContext,
        stored: OutboxMessage | None = None,
        /,
    ) -> Coroutine[Any, Any, None]:
        """Send a stored event: into queues where it is durable, else over the transport, or to this process's handlers where there is none.

        Args:
            described: The event's type.
            event: The event.
            context: As it was published with.
            stored: The event as the outbox has it, so that it need not be encoded again; `None` for one that is not from there.

        Raises:
            CatgaError: When it could not be sent, and when a handler failed for it and neither it nor the dead letters
                have taken it, so that it has to be sent again.
        """
        return self._handing_over.hand_over(described, event, context, stored)

    @property
    def carries_events(self) -> bool:
        """Whether events are known to go over a transport; `False` until one was handed over."""
        return self._handing_over.carries_events

    def runs_handlers(self, described: MessageType, /) -> bool:
        """Return whether handlers of this process may run while `hand_over` sends an event of a type."""
        return self._handing_over.runs_handlers(described)

    async def enqueue(
        self, described: MessageType, command: Request[Any], context: MessageContext, enqueue: ToEnqueue, /
    ) -> None:
        """Enqueue a stored command.

        Args:
            described: The command's type.
            command: The command.
            context: As it was enqueued with.
            enqueue: When, in which order.

        Raises:
            CatgaError: It is not known to be kept.
        """
        refusal = self.gate.refusal_of_stored(described)
        if refusal is not None:
            raise refusal
        durable = await prepared(self._source, lambda: self._source.durable)
        if durable is None:
            text = f"{described.name} was enqueued by a container with queues, and this one has none. Set enable_queues=True."
            raise InternalError(text, retryable=True)
        recording = current_recording()
        if recording is not None:
            recording.enqueued.append(Outgoing(command, context, enqueue.due_at or None, enqueue.key))
            return
        await durable.enqueue(
            described,
            command,
            context,
            due_at=enqueue.due_at,
            key=enqueue.key,
            priority=enqueue.priority,
        )

    async def event_transport(self) -> EventTransport | None:
        """Return what carries events to every service, `None` where they are all handled in this process."""
        return await self._handing_over.event_transport()

    async def reaches(self, event_type: type[Message], /) -> bool:
        """Return whether `hand_over` has somewhere to send an event: a transport, or a handler in this process."""
        return await self._handing_over.reaches(event_type)

    async def redeliver(
        self, described: MessageType, handler: str, message: Message, context: MessageContext, /
    ) -> CatgaResult[Any]:
        """Deliver an event to one handler of this process, or a command to its handler, through its whole pipeline.

        Returns:
            What the handler ended with, or a failure: `HANDLER_NOT_FOUND` where no handler here has that name.
        """
        refusal = self.gate.refusal(described)
        if refusal is not None:
            return Failure(refusal)
        if described.kind is MessageKind.EVENT:
            return await self.handler_endpoint(described, handler).handle(message, context)
        return await self.request_endpoint(described).handle(message, context)

    async def redeliver_to_all(
        self, described: MessageType, event: Event, context: MessageContext, /
    ) -> CatgaResult[Any]:
        """Deliver an event to every handler of this process, as a transport does.

        Returns:
            A success when each handler has succeeded or left a dead letter of its own; else the failure of one that has not.
        """
        sink = await prepared(self._source, lambda: self._source.failure_sink)
        refusal = self.gate.refusal(described)
        if refusal is not None:
            return Failure(refusal)
        for each in await self.event_endpoint(described).handle(event, context):
            if isinstance(each.result, Failure) and (sink is None or each.unkept is not None):
                return each.result
        return Success(None)

    @property
    def service_name(self) -> str:
        """The name of this service."""
        return self._source.service_name

    @property
    def shutdown_timeout(self) -> float:
        """Seconds within which messages in flight are to be finished when the container stops."""
        return self._source.shutdown_timeout

    def handled_events(self) -> Sequence[type[Message]]:
        """Return the events that have handlers in this process."""
        return self._source.handled_events()

    def handlers_of(self, event_type: type[Message], /) -> list[str]:
        """Return the names of an event's handlers in this process."""
        return self._source.handlers_of(event_type)

    # --- for the mediator ---

    def request_dispatch(self, cls: type[Message]) -> Dispatch | None:
        """Return the dispatch of a request handled here, `None` for any other.

        Raises:
            NotPrepared: When `prepare` has to be awaited first.
        """
        route = self._source.request_route(cls)
        return None if route is None else self._dispatch(self._request(message_type(cls)), route)

    def event_publication(self, described: MessageType) -> PublishHere:
        """Return what publishes an event to the handlers here, in its own context where none is given.

        Raises:
            NotPrepared: When `prepare` has to be awaited first.
        """
        delivery = self._events.to_handlers(described, report=True)
        if not delivery.pipelines:
            warn_of_namesake(described, self._source.namesake(described))
            return _to_none
        # What it gives besides is nothing that a publisher asks for.
        return delivery.deliver()  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    def stores_events(self) -> bool:
        """Tell whether events that the running task publishes are stored in the outbox, because it is in a unit of work."""
        outbox = self._source.outbox
        return outbox is not None and outbox.applies()

    def keeps_in_transaction(self, described: MessageType) -> bool:
        """Tell whether an event that the running task publishes is kept in a queue by the commit of its unit of work."""
        durable = publisher_keeps(self._source, described)
        return durable is not None and open_unit_of_work() is not None and durable.transactional

    def attach(self, forget: Callable[[], None], send_again: Chain) -> None:
        """Attach the sender that holds dispatches of this dispatcher.

        Args:
            forget: Called whenever pipelines have to be found again.
            send_again: Sends a request whose coroutine was created before that, and has not begun.
        """
        self._forget_senders = forget
        self._send_again = send_again

    # --- lifecycle ---

    @property
    def in_flight(self) -> int:
        """How many messages this process is handling."""
        self._retired = [each for each in self._retired if each.in_flight]
        running = (each.in_flight for each in (*self._dispatches.values(), *self._retired))
        return self.gate.waiting + self._events.waiting + sum(running)

    def open(self) -> None:
        """Accept messages from now on."""
        self._events.reset()
        self.gate.open()
        self.forget()

    def refuse(self) -> None:
        """Accept no new conversation; messages that belong to one being handled still go through."""
        self.gate.refuse()
        self.forget()

    def close(self) -> None:
        """Accept nothing any more."""
        self.gate.close()
        self.forget()

    def forget(self) -> None:
        """Find every pipeline again when it is next needed: after an override, and when the gate moves."""
        self._retired.extend(each for each in self._dispatches.values() if each.in_flight)
        if self._send_again is not None:
            for endpoint, dispatch in self._dispatches.items():
                # Coroutines that were created and have not begun hold it: of requests that were sent, and of messages
                # that were delivered, which keep their context.
                dispatch.redirect(self._send_again, endpoint.handle)
        self._dispatches.clear()
        self._handles.clear()
        self._events.known.clear()
        self._handing_over.forget()
        if self._forget_senders is not None:
            self._forget_senders()

    # --- finding ---

    def _dispatch(self, endpoint: Handling, route: Route) -> Dispatch:
        known = self._dispatches.get(endpoint)
        if known is None:
            known = self._dispatches[endpoint] = self._new_dispatch(route)
        return known

    def _new_dispatch(self, route: Route) -> Dispatch:
        return Dispatch(route.pipeline, context=route.context, now=self._source.clock.time)

    def _find_request(self, endpoint: Handling) -> Handle:
        cls = endpoint.message_type.cls
        return self._find(endpoint, lambda: self._source.request_route(cls))

    def _find_handler(self, endpoint: Handling) -> Handle:
        cls, handler = endpoint.message_type.cls, endpoint.handler

        def find() -> Route | None:
            routes = self._source.event_routes(cls)
            return next((each for each in routes if each.pipeline.name == handler), None)

        return self._find(endpoint, find)

    def _find_consumer(self, endpoint: Handling) -> Handle:
        cls, consumer = endpoint.message_type.cls, endpoint.handler
        return self._find(endpoint, lambda: self._source.consumer_route(consumer, cls), consumer=True)

    def _find(
        self, endpoint: Handling, find: Callable[[], Route | None], *, consumer: bool = False
    ) -> Handle:
        described = endpoint.message_type
        if self.gate.ended and not consumer:
            return failing(lambda: stopped(described, self._source.service_name))
        try:
            route = find()
        except NotPrepared:
            return self._preparing(endpoint)
        except Exception as error:  # noqa: BLE001 - an override's factory that fails is this message's failure
            failed = not_built(described, error)
            return failing(lambda: failed)
        if route is None:
            return failing(lambda: _no_handler(described, endpoint.handler))
        handle = (self._new_dispatch(route) if consumer else self._dispatch(endpoint, route)).handle
        self._handles[endpoint] = handle
        return handle

    def _preparing(self, endpoint: Handling) -> Handle:
        async def handle(message: Any, context: MessageContext) -> CatgaResult[Any]:
            try:
                await self._source.prepare()
            except Exception as error:  # noqa: BLE001 - as above
                return Failure(not_built(endpoint.message_type, error))
            return await endpoint.handle(message, context)

        return handle


async def _to_none(_event: Any, _context: MessageContext | None = None) -> None:
    return


def _no_handler(described: MessageType, handler: str) -> CatgaError:
    named = f" named {handler}" if handler else ""
    return HandlerNotFoundError(
        f"{described.name} has no handler{named} in this process. Deliver it where the handler is registered.",
        outcome=Outcome.NOT_STARTED,
    )
