"""The mediator that an application under test is given: the real one, with a record of everything it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import aclosing, contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar, Unpack

from catga_core.clock import Clock
from catga_core.errors import CatgaError
from catga_core.mediator import CatgaMediator, Enqueued, PublishOptions, SendOptions
from catga_core.messages import Command, Event, Request, StreamQuery
from catga_core.messages.context import active_context, begin_context, begin_event_context
from catga_core.messages.delivery import Priority
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.messages.scheduled import ScheduledId
from catga_testing.recording.network import Network
from catga_testing.recording.records import EnqueuedCommand, Journal, Outcome, Published, Sent
from catga_testing.recording.stored import StoredEvents

R = TypeVar("R")
T = TypeVar("T")


class RecordingMediator(CatgaMediator):
    """Passes everything on to a mediator and writes it down.

    Args:
        inner: What does the work.
        journal: Where to write.
        network: Where to count.
        service: This application's name, for errors.
        clock: Gives the application's clock as it is now.
        stores: Tells whether what the running task publishes is stored in the outbox.
        stored: Follows what is in the outbox.
        keeps: Tells whether an event is kept in a queue by the commit of the running task's unit of work.
    """

    def __init__(
        self,
        inner: CatgaMediator,
        journal: Journal,
        network: Network,
        service: str,
        clock: Callable[[], Clock],
        stores: Callable[[], bool],
        stored: StoredEvents,
        keeps: Callable[[Event], bool],
    ) -> None:
        # Not the base's: what it would set up is the inner one's.
        self._inner = inner
        self._journal = journal
        self._network = network
        self._service = service
        self._clock = clock
        self._stores = stores
        self._stored = stored
        self._keeps = keeps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def send(
        self, request: Request[R], /, **options: Unpack[SendOptions]
    ) -> Coroutine[Any, Any, CatgaResult[R]]:
        """Send, and record the request with its result."""
        return self._send(request, options)

    def sender(
        self, request_type: type[Request[R]]
    ) -> Callable[[Request[R]], Coroutine[Any, Any, CatgaResult[R]]]:
        """Return a sender that records."""
        self._inner.sender(request_type)
        return self.send

    def publish(self, event: Event, /, **options: Unpack[PublishOptions]) -> Coroutine[Any, Any, None]:
        """Publish, and record the event."""
        return self._publish(event, options)

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
        """Enqueue, and record the command; one in a unit of work that is rolled back was not enqueued."""
        with self._network.working(f"{self._service} enqueues {type(command).__name__}"):
            scheduled = await self._inner.enqueue(
                command, delay=delay, at=at, key=key, priority=priority, message_id=message_id
            )
        record = EnqueuedCommand(command, scheduled, delay, at, key, priority)
        self._journal.enqueued.append(record)
        self._stored.enqueued(record)
        return scheduled

    async def cancel(self, scheduled: ScheduledId, /) -> bool:
        """Cancel an enqueued command."""
        return await self._inner.cancel(scheduled)

    async def enqueued(self, scheduled: ScheduledId, /) -> Enqueued | None:
        """Return the state of an enqueued command."""
        return await self._inner.enqueued(scheduled)

    async def stream(
        self, query: StreamQuery[T], /, **options: Unpack[SendOptions]
    ) -> AsyncGenerator[T, None]:
        """Give the stream, and record the query with the items that were read."""
        context = self._begin(options)
        sent: Sent[Any] = Sent(query, context, active_context.get() is not None)
        self._journal.messages.append(sent)
        options["message_id"] = context.message_id
        items: list[T] = []
        with self._ending(sent, "streams"):
            async with aclosing(self._inner.stream(query, **options)) as stream:
                try:
                    async for item in stream:
                        items.append(item)
                        yield item
                except CatgaError as error:
                    sent.end(Failure(error))
                    raise
                except GeneratorExit:
                    sent.end(Success(items))
                    raise
            sent.end(Success(items))

    async def _send(self, request: Request[R], options: SendOptions) -> CatgaResult[R]:
        context = self._begin(options)
        sent: Sent[Any] = Sent(request, context, active_context.get() is not None)
        self._journal.messages.append(sent)
        options["message_id"] = context.message_id
        with self._ending(sent, "waits for"):
            result = await self._inner.send(request, **options)
            sent.end(result)
            return result

    async def _publish(self, event: Event, options: PublishOptions) -> None:
        context = begin_event_context(message_id=options.get("message_id"), headers=options.get("headers"))
        published: Published[Any] = Published(event, context, active_context.get() is not None)
        self._journal.messages.append(published)
        options["message_id"] = context.message_id
        with self._ending(published, "publishes"):
            try:
                await self._inner.publish(event, **options)
                if self._stores():
                    # It succeeds with the commit.
                    self._stored.published(published)
                    return
                if self._keeps(event):
                    self._stored.published(published, relayed=False)
                    return
            except CatgaError as error:
                published.error, published.outcome = error, Outcome.FAILED
                raise
            published.outcome = Outcome.SUCCEEDED

    def _begin(self, options: SendOptions) -> MessageContext:
        timeout = options.get("timeout")
        headers = options.get("headers")
        deadline = None if timeout is None else self._clock().time() + timeout
        return begin_context(message_id=options.get("message_id"), deadline=deadline, headers=headers)

    @contextmanager
    def _ending(self, record: Sent[Any] | Published[Any], does: str) -> Generator[None]:
        what = f"{self._service} {does} {type(record.message).__name__} ({record.context.message_id})"
        with self._network.working(what):
            try:
                yield
            except asyncio.CancelledError:
                record.outcome = Outcome.CANCELLED
                raise
            except BaseException:
                if record.outcome is Outcome.RUNNING:
                    record.outcome = Outcome.FAILED
                raise
