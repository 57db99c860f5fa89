"""`CatgaMediator`: the one way from a message to its handlers."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar, Unpack

from catga_core.errors import CatgaError
from catga_core.mediator.arrivals import Arrivals
from catga_core.mediator.delivery import FailedDeliveries
from catga_core.mediator.gate import Gate
from catga_core.mediator.options import (
    BATCH,
    PublishOptions,
    SendOptions,
    begin_context_with,
    check_options,
)
from catga_core.mediator.preparing import route_to
from catga_core.mediator.publishing import Publishing
from catga_core.mediator.refusals import REQUESTS, STREAMS, expect, no_stream_handler
from catga_core.mediator.routes import RouteSource
from catga_core.mediator.sending import Sending
from catga_core.mediator.streams import run_stream
from catga_core.messages import Event, Message, MessageType, Request, StreamQuery
from catga_core.messages.context import context_demand
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure
from catga_core.runtime.cancellation import being_cancelled, cancelled_itself

R = TypeVar("R")
T = TypeVar("T")


class CatgaMediator:
    """Sends requests to their handler, events to all of theirs, and gives streams of answers.

    Get it from the running application (`app.mediator`), by type in a constructor, or by `Provide["mediator"]`.
    It is safe to use from any task of its loop. It never raises for what a handler does: a request's outcome is a
    `CatgaResult`.
    """

    def __init__(self, source: RouteSource) -> None:
        gate = Gate(source)
        self._source = source
        self._gate = gate
        self.failed_deliveries: FailedDeliveries = FailedDeliveries()
        self.arrivals: Arrivals = Arrivals(source, self.failed_deliveries, lambda: gate.ended)
        self._sending = Sending(source, gate)
        self._publishing = Publishing(source, gate, self.failed_deliveries, self.arrivals)
        # The same dictionaries: one step less for every message.
        self._calls = self._sending.ways
        self._deliveries = self._publishing.ways
        context_demand.listen(weakref.WeakMethod(self.forget_routes))

    # The options are **options, not three keywords: empty they cost a fifth of a bare send less (docs/benchmarks.md).
    def send(
        self, request: Request[R], /, **options: Unpack[SendOptions]
    ) -> Coroutine[Any, Any, CatgaResult[R]]:
        """Have a command or query handled by its one handler, here or in another process.

        Parameters:
            request: the message.
            timeout: seconds to wait, never beyond the surrounding deadline; `None` for no limit of its own.
            message_id: the request's identity, the same on every try; `None` for a new one.
            headers: strings that travel with this message and no further.

        Returns:
            the handler's result, or a failure: `HANDLER_NOT_FOUND` at once when nobody handles it, `TIMEOUT` when the
            outcome is unknown, `TRANSPORT_FAILED` when it could not be asked.

        Raises:
            TypeError: for anything that is not a command or a query, and for an option that is unknown or of a wrong type.
            ValueError: for a timeout that is negative or not finite.
            asyncio.CancelledError: always passes through.
        """
        if not options:
            try:
                return self._calls[type(request)](request)
            except KeyError:
                return self._sending.find(request)(request)
        return self._sending.send_with(request, options)

    def sender(
        self, request_type: type[Request[R]]
    ) -> Callable[[Request[R]], Coroutine[Any, Any, CatgaResult[R]]]:
        """Return the shortest way for one request type, for a loop that sends many.

        It does what `send` does without options, and follows overrides and the stop of the container like it.

        Parameters:
            request_type: the class whose messages will be sent.
        """
        described = expect(request_type, REQUESTS, "sender() takes the class of a Command or a Query")
        return self._sending.lasting(described)

    async def send_batch(
        self, requests: Iterable[Request[R]], /, *, max_concurrent: int = 64, **options: Unpack[SendOptions]
    ) -> list[CatgaResult[R]]:
        """Send many requests and return their results in the same order.

        Parameters:
            requests: taken one by one as room becomes free.
            max_concurrent: how many are under way at the same time.
            timeout: seconds for each of them.
            headers: for each of them.

        Raises:
            TypeError: as `send`, and for a `message_id`: every request has its own.
            ValueError: as `send`, and for a `max_concurrent` below 1.
        """
        check_options("send_batch", options, BATCH)
        if max_concurrent < 1:
            msg = f"max_concurrent={max_concurrent} would never send anything: use 1 or more"
            raise ValueError(msg)
        results: dict[int, CatgaResult[R]] = {}
        numbered = enumerate(requests)

        async def work() -> None:
            for number, request in numbered:
                try:
                    results[number] = await self.send(request, **options)
                except asyncio.CancelledError:
                    if being_cancelled():
                        raise
                    results[number] = Failure(cancelled_itself(type(request).__name__))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(max_concurrent):
                    group.create_task(work())
        except BaseExceptionGroup as several:
            # Only a thing that is no request, or the iterable itself, can raise: the caller sees it as from send().
            raise several.exceptions[0] from None
        return [results[number] for number in range(len(results))]

    def publish(self, event: Event, /, **options: Unpack[PublishOptions]) -> Awaitable[None]:
        """Tell an event to every handler: of this process, or of every service that listens.

        In one process it returns when all handlers have ended; over a transport, when the event is handed over; in a unit of
        work with `enable_outbox`, when it is stored there, to be sent after the commit.
        A failing handler is recorded, stops no other and does not fail the publisher.

        Parameters:
            event: the fact.
            message_id: the event's identity, the same on every try; `None` for a new one.
            headers: strings that travel with this event and no further.

        Raises:
            TypeError: for anything that is not an event, and for an option that is unknown or of a wrong type.
            CatgaError: when the event could not be handed over, or stored.
        """
        if not options:
            try:
                return self._deliveries[type(event)](event)
            except KeyError:
                return self._publishing.find(event)(event)
        return self._publishing.publish_with(event, options)

    async def publish_batch(self, events: Iterable[Event], /) -> None:
        """Publish many events, one after the other, in their order.

        Raises:
            CatgaError: for the first that could not be handed over; `details["published"]` tells how many were.
        """
        for published, event in enumerate(events):
            try:
                await self.publish(event)
            except CatgaError as error:
                details = {**error.details, "published": published}
                raise CatgaError(
                    error.message, code=error.code, retryable=error.retryable, details=details
                ) from error

    async def stream(
        self, query: StreamQuery[T], /, **options: Unpack[SendOptions]
    ) -> AsyncGenerator[T, None]:
        """Ask a stream query of this process and return its items as they come.

        Leaving the loop early closes the handler's generator and the message's scope; use `contextlib.aclosing` to have
        it closed at once.

        Parameters:
            query: the question.
            timeout: seconds for the whole stream.
            message_id: the query's identity.
            headers: the sender's own headers.

        Raises:
            CatgaError: when it cannot be answered, also between items.
        """
        described = expect(type(query), STREAMS, "stream() takes a StreamQuery")
        refusal = self._gate.refusal(described)
        if refusal is not None:
            raise refusal
        route = await route_to(self._source, described, self._source.stream_route)
        if route is None:
            raise no_stream_handler(described, self._source.service_name)
        context = begin_context_with("stream", options, self._source.clock)
        self._gate.waiting += 1
        try:
            # Left early, the inner generator would otherwise be closed some time later, by the garbage collector.
            async with aclosing(run_stream(route.pipeline, query, context, self._source.clock)) as items:
                async for item in items:
                    yield item
        finally:
            self._gate.waiting -= 1

    # --- what the container calls ---

    @property
    def in_flight(self) -> int:
        """How many messages of this process are being handled that may still wait."""
        return self._gate.waiting + self.arrivals.running + self._sending.in_flight

    def open(self) -> None:
        """Take messages from now on."""
        self._gate.open()
        self.forget_routes()

    def refuse(self) -> None:
        """Take no new conversation; what belongs to a message being handled still goes through."""
        self._gate.refuse()
        self.forget_routes()

    def close(self) -> None:
        """Take nothing any more."""
        self._gate.close()
        self.forget_routes()

    def forget_routes(self) -> None:
        """Have every pipeline linked anew at its next message: after an override, or when the context is wanted."""
        self._sending.forget()
        self._publishing.forget()
        self.arrivals.forget()

    # --- what the outbox and the dead letters call ---

    def stores_events(self) -> bool:
        """Tell whether what the running task publishes is stored in the outbox, because it is in a unit of work."""
        outbox = self._source.outbox
        return outbox is not None and outbox.applies()

    async def hand_over(self, described: MessageType, event: Event, context: MessageContext, /) -> None:
        """Send an event that was stored: over the transport, or to this process's handlers where there is none.

        Parameters:
            described: the event's type.
            event: the event.
            context: as it was published with.

        Raises:
            CatgaError: when it could not be handed over.
        """
        await self._publishing.hand_over(described, event, context)

    def handled_events(self) -> Sequence[type[Message]]:
        """Return the events that have handlers in this process."""
        return self._source.handled_events()

    def handlers_of(self, event_type: type[Message], /) -> list[str]:
        """Return the names of an event's handlers in this process."""
        return self._source.handlers_of(event_type)

    async def redeliver(
        self, described: MessageType, handler: str, event: Event, context: MessageContext, /
    ) -> CatgaResult[Any]:
        """Deliver an event to one handler of this process, through its whole pipeline.

        Parameters:
            described: the event's type.
            handler: the handler's name.
            event: the event.
            context: its context.

        Returns:
            what the handler ended with, or a failure: `HANDLER_NOT_FOUND` where there is none of that name.
        """
        return await self._publishing.redeliver(described, handler, event, context)
