"""`CatgaMediator`: the one way from a message to its handlers."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar, Unpack

from catga_core.cancellation import being_cancelled, cancelled_itself
from catga_core.context import active_context, begin_context, begin_event_context, context_demand
from catga_core.errors import CatgaError, ErrorCode
from catga_core.interfaces.context import MessageContext
from catga_core.mediator.arrivals import Arrivals, not_built
from catga_core.mediator.delivery import (
    Deliver,
    FailedDeliveries,
    contextual,
    deliver_to,
    stored_in_unit_of_work,
)
from catga_core.mediator.options import (
    BATCH,
    PUBLISH,
    SEND,
    PublishOptions,
    SendOptions,
    check_options,
    frozen,
)
from catga_core.mediator.refusals import (
    EVENTS,
    REQUESTS,
    STREAMS,
    answer,
    expect,
    no_handler,
    no_stream_handler,
    not_running,
)
from catga_core.mediator.routes import NotPrepared, Route, RouteSource
from catga_core.mediator.streams import run_stream
from catga_core.messages import Event, Message, MessageType, Request, StreamQuery, message_type
from catga_core.pipeline import Dispatch, deadline_passed, run_in_context
from catga_core.pipeline.way import Chain
from catga_core.results import CatgaResult, Failure

R = TypeVar("R")
T = TypeVar("T")


class CatgaMediator:
    """Sends requests to their handler, events to all of theirs, and gives streams of answers.

    Get it from the running application (`app.mediator`), by type in a constructor, or by `Provide["mediator"]`.
    It is safe to use from any task of its loop. It never raises for what a handler does: a request's outcome is a
    `CatgaResult`.
    """

    def __init__(self, source: RouteSource) -> None:
        self._source = source
        self._calls: dict[type[Any], Chain] = {}
        self._deliveries: dict[type[Any], Callable[[Any], Awaitable[None]]] = {}
        self._dispatches: dict[type[Any], Dispatch] = {}
        self._retired: list[Dispatch] = []
        self._waiting = 0
        self._open = False
        self._draining = False
        self._ended = False
        self.failed_deliveries: FailedDeliveries = FailedDeliveries()
        self.arrivals: Arrivals = Arrivals(source, self.failed_deliveries, lambda: self._ended)
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
                return self._find_call(request)(request)
        return self._send_with(request, **options)

    def sender(
        self, request_type: type[Request[R]]
    ) -> Callable[[Request[R]], Coroutine[Any, Any, CatgaResult[R]]]:
        """Return the shortest way for one request type, for a loop that sends many.

        It does what `send` does without options, and follows overrides and the stop of the container like it.

        Parameters:
            request_type: the class whose messages will be sent.
        """
        described = expect(request_type, REQUESTS, "sender() takes the class of a Command or a Query")
        call = self._calls.get(request_type) or self._find_call_of(described)
        dispatch = self._dispatches.get(request_type)
        # What has no way that can be laid anew is looked up for each message.
        return self._resend if dispatch is None or dispatch.call is not call else call

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
                return self._find_delivery(event)(event)
        return self._publish_with(event, **options)

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
        refusal = self._refusal(described)
        if refusal is not None:
            raise refusal
        route = await self._route(described, self._source.stream_route)
        if route is None:
            raise no_stream_handler(described, self._source.service_name)
        context = self._context("stream", options)
        self._waiting += 1
        try:
            # Left early, the inner generator would otherwise be closed some time later, by the garbage collector.
            async with aclosing(run_stream(route.pipeline, query, context, self._source.clock)) as items:
                async for item in items:
                    yield item
        finally:
            self._waiting -= 1

    # --- what the container calls ---

    @property
    def in_flight(self) -> int:
        """How many messages of this process are being handled that may still wait."""
        self._retired = [dispatch for dispatch in self._retired if dispatch.in_flight]
        current = sum(dispatch.in_flight for dispatch in self._dispatches.values())
        return (
            self._waiting
            + self.arrivals.running
            + current
            + sum(dispatch.in_flight for dispatch in self._retired)
        )

    def open(self) -> None:
        """Take messages from now on."""
        self._open, self._draining, self._ended = True, False, False
        self.forget_routes()

    def refuse(self) -> None:
        """Take no new conversation; what belongs to a message being handled still goes through."""
        self._open, self._draining = False, True
        self.forget_routes()

    def close(self) -> None:
        """Take nothing any more."""
        self._open, self._draining, self._ended = False, False, True
        self.forget_routes()

    def forget_routes(self) -> None:
        """Have every pipeline linked anew at its next message: after an override, or when the context is wanted."""
        for dispatch in self._dispatches.values():
            # Senders hold it, and coroutines of messages that have been sent and not yet begun.
            dispatch.redirect(self._resend)
        self._retired.extend(dispatch for dispatch in self._dispatches.values() if dispatch.in_flight)
        self._calls.clear()
        self._deliveries.clear()
        self.arrivals.forget()
        self._dispatches.clear()

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
        if not (self._open or self._draining):
            raise not_running(described, self._source.service_name, ended=self._ended)
        await self._deliver(described, event, context)

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
        refusal = self._refusal(described)
        if refusal is not None:
            return Failure(refusal)
        try:
            routes = await self._prepared(lambda: self._source.event_routes(described.cls))
        except Exception as error:  # noqa: BLE001 - an override's factory that fails is this message's failure
            return Failure(not_built(described, error))
        for route in routes:
            if route.pipeline.name == handler:
                try:
                    return await self._run(route, event, context)
                except asyncio.CancelledError:
                    if being_cancelled():
                        raise
                    return Failure(cancelled_itself(handler))
        text = f"{described.name} has no handler called {handler} in this process: replay it where it is registered"
        return Failure(CatgaError(text, code=ErrorCode.HANDLER_NOT_FOUND, details={"outcome": "not_started"}))

    # --- inside ---

    def _context(self, call: str, options: SendOptions) -> MessageContext:
        check_options(call, options, SEND)
        timeout = options.get("timeout")
        deadline = None if timeout is None else self._source.clock.time() + timeout
        headers = frozen(options.get("headers"))
        return begin_context(message_id=options.get("message_id"), deadline=deadline, headers=headers)

    async def _send_with(self, request: Request[Any], **options: Unpack[SendOptions]) -> CatgaResult[Any]:
        described = expect(type(request), REQUESTS, "send() takes a Command or a Query")
        context = self._context("send", options)
        refusal = self._refusal(described)
        if refusal is not None:
            return Failure(refusal)
        try:
            route = await self._route(described, self._source.request_route)
        except CatgaError as error:
            return Failure(error)
        left = None if context.deadline is None else context.deadline - self._source.clock.time()
        if left is not None and left <= 0:
            return Failure(deadline_passed(described.name))
        if route is not None:
            return await self._run_within(left, route, request, context)
        transport = self._source.transport
        if transport is None:
            return Failure(no_handler(described, self._source.service_name))
        # A transport keeps the deadline itself, and knows how far the request has come.
        return await transport.request(described, request, context)

    async def _run_within(
        self, left: float | None, route: Route, request: Request[Any], context: MessageContext
    ) -> CatgaResult[Any]:
        if left is None:
            return await self._run(route, request, context)
        limit = asyncio.timeout(left)
        try:
            async with limit:
                return await self._run(route, request, context)
        except TimeoutError:
            if not limit.expired():
                raise
            name = message_type(type(request)).name
            text = f"{name} was not answered within its {left:.3g} s; whether it took effect is unknown"
            return Failure(CatgaError(text, code=ErrorCode.TIMEOUT, details={"outcome": "unknown"}))

    async def _run(self, route: Route, request: Any, context: MessageContext) -> CatgaResult[Any]:
        self._waiting += 1
        try:
            return await run_in_context(route.pipeline.chain, request, context)
        finally:
            self._waiting -= 1

    async def _resend(self, request: Any) -> CatgaResult[Any]:
        return await self.send(request)

    def _find_call(self, request: object) -> Chain:
        return self._find_call_of(expect(type(request), REQUESTS, "send() takes a Command or a Query"))

    def _find_call_of(self, described: MessageType) -> Chain:
        refusal = self._refusal(described)
        if refusal is not None:
            return answer(lambda: refusal)
        source = self._source
        try:
            route = source.request_route(described.cls)
            transport = source.transport if route is None else None
        except NotPrepared:
            return self._prepare_and_send
        except Exception as error:  # noqa: BLE001 - an override's factory that fails is this message's failure
            failed = not_built(described, error)
            return answer(lambda: failed)
        if route is not None:
            dispatch = Dispatch(route.pipeline, context=route.context, now=source.clock.time)
            call: Chain = dispatch.call
            if self._open:
                self._dispatches[described.cls] = dispatch
        elif transport is not None:
            request_remote = transport.request

            def call_remote(request: Any) -> Coroutine[Any, Any, CatgaResult[Any]]:
                return request_remote(described, request, begin_context())

            call = call_remote
        else:
            call = answer(lambda: no_handler(described, source.service_name))
        if not self._open:
            # While stopping, each message has to be looked at: only those that belong to running work go through.
            return self._counting(call)
        self._calls[described.cls] = call
        return call

    async def _prepare_and_send(self, request: Request[Any]) -> CatgaResult[Any]:
        try:
            await self._source.prepare()
        except Exception as error:  # noqa: BLE001 - an override's factory that fails is this message's failure
            return Failure(not_built(message_type(type(request)), error))
        return await self.send(request)

    async def _route(
        self, described: MessageType, find: Callable[[type[Message]], Route | None]
    ) -> Route | None:
        """Return a pipeline, making first what has to be awaited.

        Raises:
            CatgaError: when something it needs cannot be made.
        """
        try:
            while True:
                try:
                    return find(described.cls)
                except NotPrepared:
                    await self._source.prepare()
        except Exception as error:
            raise not_built(described, error) from error

    def _find_delivery(self, event: object) -> Callable[[Any], Awaitable[None]]:
        described = expect(type(event), EVENTS, "publish() takes an Event")
        refusal = self._refusal(described)
        if refusal is not None:
            raise refusal
        source = self._source
        try:
            transport = source.transport
            routes = source.event_routes(described.cls) if transport is None else ()
            outbox, keep = source.outbox, source.keep_failed
        except NotPrepared:
            return self._prepare_and_publish
        except Exception as error:
            raise not_built(described, error) from error
        deliver: Deliver
        if transport is not None:
            publish_remote = transport.publish

            def deliver_remote(event: Any) -> Coroutine[Any, Any, None]:
                return publish_remote(described, event, begin_event_context())

            deliver = deliver_remote
        else:
            deliver = deliver_to(routes, self.failed_deliveries, keep)
            if keep is not None or any(route.context for route in routes):
                deliver = contextual(deliver)
            if any(route.pipeline.may_suspend for route in routes):
                deliver = self._counting(deliver)
        if outbox is not None:
            deliver = stored_in_unit_of_work(described, outbox, deliver)
        if self._open:
            self._deliveries[described.cls] = deliver
        return deliver

    async def _prepare_and_publish(self, event: Event) -> None:
        try:
            await self._source.prepare()
        except Exception as error:
            raise not_built(message_type(type(event)), error) from error
        await self.publish(event)

    def _counting(self, call: Callable[[Any], Awaitable[T]]) -> Callable[[Any], Coroutine[Any, Any, T]]:
        async def counted(message: Any) -> T:
            self._waiting += 1
            try:
                return await call(message)
            finally:
                self._waiting -= 1

        return counted

    async def _publish_with(self, event: Event, **options: Unpack[PublishOptions]) -> None:
        described = expect(type(event), EVENTS, "publish() takes an Event")
        check_options("publish", options, PUBLISH)
        headers = frozen(options.get("headers"))
        context = begin_event_context(message_id=options.get("message_id"), headers=headers)
        refusal = self._refusal(described)
        if refusal is not None:
            raise refusal
        outbox = await self._prepared(lambda: self._source.outbox)
        if outbox is not None and outbox.applies():
            await outbox.store(described, event, context)
            return
        await self._deliver(described, event, context)

    async def _deliver(self, described: MessageType, event: Event, context: MessageContext) -> None:
        transport = await self._prepared(lambda: self._source.transport)
        if transport is not None:
            await transport.publish(described, event, context)
        else:
            await self.arrivals.of(described).call(event, context)

    async def _prepared(self, find: Callable[[], T]) -> T:
        while True:
            try:
                return find()
            except NotPrepared:
                await self._source.prepare()

    def _refusal(self, described: MessageType) -> CatgaError | None:
        if self._open or (self._draining and active_context.get() is not None):
            return None
        return not_running(described, self._source.service_name, ended=self._ended)
