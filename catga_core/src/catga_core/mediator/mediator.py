"""`CatgaMediator`: the one way from a message to its handlers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar, Unpack

from catga_core.errors import CatgaError
from catga_core.mediator.batch import Batch
from catga_core.mediator.dispatcher import Dispatcher
from catga_core.mediator.durable import Enqueued
from catga_core.mediator.enqueueing import Enqueueing
from catga_core.mediator.options import (
    BATCH,
    PublishOptions,
    SendOptions,
    begin_context_with,
    check_options,
)
from catga_core.mediator.publishing import Publishing
from catga_core.mediator.refusals import REQUESTS, STREAMS, expect
from catga_core.mediator.routes import RouteSource
from catga_core.mediator.sending import Sending
from catga_core.mediator.streaming import way_of_stream
from catga_core.messages import Command, Event, Request, StreamQuery
from catga_core.messages.delivery import Priority
from catga_core.messages.results import CatgaResult
from catga_core.messages.scheduled import ScheduledId
from catga_core.option_checks import check_count

R = TypeVar("R")
T = TypeVar("T")


class CatgaMediator:
    """Sends requests to their handler, events to all of theirs, and gives streams of answers.

    Get it from the running application (`app.mediator`), by type in a constructor, or by `Provide["mediator"]`.
    It is safe to use from any task of its loop. It never raises for what a handler does: a request's outcome is a
    `CatgaResult`.
    """

    def __init__(self, source: RouteSource, dispatcher: Dispatcher) -> None:
        self._source = source
        self._gate = dispatcher.gate
        self._sending = Sending(source, dispatcher)
        self._publishing = Publishing(source, dispatcher)
        self._enqueueing = Enqueueing(source, dispatcher)
        dispatcher.attach(self._forget, self._sending.send_again)
        # The same dictionaries: one step less for every message.
        self._calls = self._sending.calls
        self._deliveries = self._publishing.calls

    def _forget(self) -> None:
        self._sending.forget()
        self._publishing.forget()
        self._enqueueing.forget()

    # The options are **options, not three keywords: empty they cost a fifth of a bare send less (docs/benchmarks.md).
    def send(
        self, request: Request[R], /, **options: Unpack[SendOptions]
    ) -> Coroutine[Any, Any, CatgaResult[R]]:
        """Have a command or query handled by its one handler, here or in another process.

        Args:
            request: The message.
            timeout: Seconds to wait, never beyond the surrounding deadline; `None` for no limit of its own.
            message_id: The request's identity, the same on every try; `None` for a new one.
            headers: Strings that travel with this message and no further.

        Returns:
            The handler's result, or a failure: `HANDLER_NOT_FOUND` at once when nobody handles it, `TIMEOUT` when the
            outcome is unknown, `TRANSPORT_FAILED` when it could not be asked.

        Raises:
            TypeError: For anything that is not a command or a query, and for an option that is unknown or of a wrong type.
            ValueError: For a timeout that is negative or not finite.
            asyncio.CancelledError: Always passes through.
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

        Args:
            request_type: The class whose messages will be sent.
        """
        expect(request_type, REQUESTS, "sender() takes the class of a Command or a Query")
        calls, find = self._calls, self._sending.find

        def send(request: Request[R]) -> Coroutine[Any, Any, CatgaResult[R]]:
            try:
                return calls[type(request)](request)
            except KeyError:
                return find(request)(request)

        return send

    async def send_batch(
        self, requests: Iterable[Request[R]], /, *, max_concurrent: int = 64, **options: Unpack[SendOptions]
    ) -> list[CatgaResult[R]]:
        """Send many requests and return their results in the same order.

        A handler that cancels the task that it runs in has the result `HANDLER_FAILED`; the other requests are sent all the same.

        Args:
            requests: Taken one by one as room becomes free.
            max_concurrent: How many are under way at the same time.
            timeout: Seconds for each of them.
            headers: For each of them.

        Raises:
            TypeError: As `send`, and for a `message_id`: every request has its own.
            ValueError: As `send`, and when `max_concurrent` is not an int >= 1.
        """
        check_options("send_batch", options, BATCH)
        check_count("max_concurrent", max_concurrent)
        send = partial(self.send, **options) if self._gate.home.is_here else self._sending.send_here
        return await Batch(send, requests, max_concurrent).results()

    def publish(self, event: Event, /, **options: Unpack[PublishOptions]) -> Awaitable[None]:
        """Tell an event to every handler: of this process, or of every service that listens.

        In one process it returns when all handlers have ended; over a transport, when the event is handed over; in a unit of
        work with `enable_outbox`, when it is stored there, to be sent after the commit.
        A failing handler is recorded, stops no other and does not fail the publisher.

        Args:
            event: The fact.
            message_id: The event's identity, the same on every try; `None` for a new one.
            headers: Strings that travel with this event and no further.

        Raises:
            TypeError: For anything that is not an event, and for an option that is unknown or of a wrong type.
            CatgaError: When the event could not be handed over, or stored.
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
            CatgaError: For the first that could not be handed over; `details["published"]` tells how many were.
        """
        for published, event in enumerate(events):
            try:
                await self.publish(event)
            except CatgaError as error:
                details = {**error.details, "published": published}
                raise CatgaError(
                    error.message, code=error.code, retryable=error.retryable, details=details
                ) from error

    async def enqueue(
        self,
        command: Command[Any],
        /,
        *,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
        key: str | None = None,
        priority: Priority | None = None,
        message_id: str | None = None,
    ) -> ScheduledId:
        """Enqueue a command, to be handled once by some process, now or later.

        It is kept until its handler succeeds, is retried after failures and crashes, and goes to the dead letters after the
        last attempt (`QueueOptions`). In a unit of work of the storage that keeps it, it is enqueued by the commit.

        Args:
            command: The command. Its result is dropped, unless `QueueOptions(keep_results=True)`.
            delay: Seconds from now, or a `timedelta`; `None` for at once.
            at: A timezone-aware time; one that is over is due at once.
            key: Commands of one key are handled one after the other, in the order in which they became due.
            priority: Which of the due commands is handled first; `None` for `Priority.NORMAL`.
            message_id: The command's identity. A repetition of it within `retention_seconds` is not enqueued again. `None` for
                a new one.

        Returns:
            The id by which it is cancelled or asked for.

        Raises:
            TypeError: It is not a command, or an argument is of a wrong type.
            ValueError: An argument is out of range.
            ConfigurationError: The container has no queues.
            CatgaError: It is not known to be kept; repeat it with the same `message_id`. `CONFLICT` when the id belongs to
                another command.
        """
        return await self._enqueueing.enqueue(command, delay, at, key, priority, message_id)

    async def cancel(self, scheduled: ScheduledId, /) -> bool:
        """Cancel an enqueued command.

        Args:
            scheduled: As `enqueue` returned it, or `scheduled_id(Command, message_id)`.

        Returns:
            Whether it was cancelled: `False` when its handler runs, has ended, or it is not known any more.
        """
        return await self._enqueueing.cancel(scheduled)

    async def enqueued(self, scheduled: ScheduledId, /) -> Enqueued | None:
        """Return the state of an enqueued command, and its result where results are kept.

        Args:
            scheduled: As `enqueue` returned it, or `scheduled_id(Command, message_id)`.

        Returns:
            Its state; `None` where it was cancelled, went to the dead letters, or is not known any more.
        """
        return await self._enqueueing.enqueued(scheduled)

    async def stream(
        self, query: StreamQuery[T], /, **options: Unpack[SendOptions]
    ) -> AsyncGenerator[T, None]:
        """Ask a stream query, here or of another process, and return its items as they come.

        Leaving the loop early closes the handler's generator and the message's scope; use `contextlib.aclosing` to have
        it closed at once. Over a transport the handler runs ahead of the loop by a bounded number of items.

        Args:
            query: The question.
            timeout: Seconds for the whole stream.
            message_id: The query's identity.
            headers: The sender's own headers.

        Raises:
            CatgaError: When it cannot be answered, also between items: `HANDLER_NOT_FOUND` at once when nobody handles it,
                `TIMEOUT` at the deadline, `TRANSPORT_FAILED` when the process that handles it, or the connection, is lost.
        """
        described = expect(type(query), STREAMS, "stream() takes a StreamQuery")
        refusal = self._gate.refusal(described) or self._gate.elsewhere(described)
        if refusal is not None:
            raise refusal
        opened = await way_of_stream(self._source, described)
        context = begin_context_with("stream", options, self._source.clock)
        self._gate.waiting += 1
        try:
            # Left early, the inner generator would otherwise be closed some time later, by the garbage collector.
            async with aclosing(opened(query, context)) as items:
                async for item in items:
                    yield item
        finally:
            self._gate.waiting -= 1
