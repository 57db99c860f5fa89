"""Delivers one event to every handler of this process, each independent of the others."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from catga_core.log import EVENT_HANDLER_FAILED, logger, traceback_of
from catga_core.mediator.routes import EventOutbox, KeepFailed, Route
from catga_core.messages import MessageType
from catga_core.messages.context import active_context, begin_event_context
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure
from catga_core.pipeline import as_result, failure_of
from catga_core.runtime.cancellation import being_cancelled, cancelled_itself

Deliver: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]
_EAGER = sys.version_info >= (3, 12)


class FailedDeliveries:
    """Counts the handlers that failed and writes a line for each; a payload is never written.

    Whoever wants to know more of each failure than the log says (a test host does) puts a function into `watchers`.
    """

    __slots__ = ("count", "watchers")

    def __init__(self) -> None:
        self.count: int = 0
        self.watchers: list[Callable[[Any, str, CatgaResult[Any]], None]] = []

    def record(
        self, event: Any, handler: str, failure: CatgaResult[Any], context: MessageContext | None = None
    ) -> None:
        """Note that a handler failed for an event.

        Parameters:
            event: the event; only its type is written.
            handler: the handler's name.
            failure: what it ended with.
            context: the event's, `None` for the one that surrounds the call.
        """
        self.count += 1
        for watch in self.watchers:
            watch(event, handler, failure)
        error = failure.error
        context = context or active_context.get()
        cause = error.__cause__
        logger().error(
            EVENT_HANDLER_FAILED,
            event_type=type(event).__name__,
            handler=handler,
            code=error.code,
            error=error.message,
            message_id=None if context is None else context.message_id,
            correlation_id=None if context is None else context.correlation_id,
            stack=traceback_of(cause),
        )


def deliver_to(routes: Sequence[Route], failed: FailedDeliveries, keep: KeepFailed | None = None) -> Deliver:
    """Link an event's handlers into one call that returns when all have ended.

    Handlers that cannot wait run one after the other; if two or more can, those run at the same time.

    Parameters:
        routes: one for each handler.
        failed: told of each handler that fails.
        keep: keeps the event for each handler that fails.
    """
    quick = [_quietly(route, failed, keep) for route in routes if not route.pipeline.may_suspend]
    waiting = [_quietly(route, failed, keep) for route in routes if route.pipeline.may_suspend]
    # What may answer with a failed result instead of raising is looked at.
    silent = all(route.pipeline.bare is not None and route.pipeline.wrap is not as_result for route in routes)
    if not waiting and silent and keep is None:
        return _one_by_one(routes, failed)
    alone = waiting[0] if len(waiting) == 1 else None

    async def deliver(event: Any) -> None:
        for handle in quick:
            await handle(event)
        if alone is not None:
            await alone(event)
        elif waiting:
            await _together([handle(event) for handle in waiting])

    return deliver


def _one_by_one(routes: Sequence[Route], failed: FailedDeliveries) -> Deliver:
    calls = tuple((route.pipeline.bare, route.pipeline.name) for route in routes)

    async def deliver(event: Any) -> None:
        for handle, name in calls:
            try:
                await handle(event)  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001 - handlers are independent
                failed.record(event, name, failure_of(error, name))
            except asyncio.CancelledError:
                if being_cancelled():
                    raise
                failed.record(event, name, Failure(cancelled_itself(name)))

    return deliver


def deliver_arrived(
    routes: Sequence[Route], failed: FailedDeliveries
) -> Callable[[Any, MessageContext], Coroutine[Any, Any, None]] | None:
    """Link handlers that neither wait nor ask for the context into one call; `None` where any does.

    The context is bound for none of them and only named where one fails: half the cost of an event that arrives.
    """
    pipelines = [route.pipeline for route in routes]
    if any(route.context for route in routes) or any(
        each.may_suspend or each.bare is None or each.wrap is as_result for each in pipelines
    ):
        return None
    calls = tuple((route.pipeline.bare, route.pipeline.name) for route in routes)

    async def deliver(event: Any, context: MessageContext) -> None:
        for handle, name in calls:
            try:
                await handle(event)  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001 - handlers are independent
                failed.record(event, name, failure_of(error, name), context)
            except asyncio.CancelledError:
                if being_cancelled():
                    raise
                failed.record(event, name, Failure(cancelled_itself(name)), context)

    return deliver


def _quietly(route: Route, failed: FailedDeliveries, keep: KeepFailed | None) -> Deliver:
    chain, name = route.pipeline.chain, route.pipeline.name

    async def handle(event: Any) -> None:
        result: CatgaResult[Any]
        try:
            result = await chain(event)
        except asyncio.CancelledError:
            if being_cancelled():
                raise
            result = Failure(cancelled_itself(name))
        if isinstance(result, Failure):
            failed.record(event, name, result)
            if keep is not None:
                await keep(event, name, result)

    return handle


async def _together(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]]
    if _EAGER:
        # An eager task costs a third where the handler turns out not to wait.
        tasks = [asyncio.Task(each, loop=loop, eager_start=True) for each in work]  # type: ignore[call-arg, unused-ignore]
    else:
        tasks = [loop.create_task(each) for each in work]
    pending = [task for task in tasks if not task.done()]
    try:
        if pending:
            await asyncio.wait(pending)
    except asyncio.CancelledError:
        for task in pending:
            task.cancel()
        # Also a publisher that is cancelled again leaves no handler running behind its back.
        while left := [task for task in pending if not task.done()]:
            with suppress(asyncio.CancelledError):
                await asyncio.wait(left)
        raise
    for task in tasks:
        task.result()


def contextual(deliver: Deliver) -> Deliver:
    """Have an event delivered in a context of its own."""
    enter, leave = active_context.set, active_context.reset

    async def delivered(event: Any) -> None:
        token = enter(begin_event_context())
        try:
            await deliver(event)
        finally:
            leave(token)

    return delivered


def stored_in_unit_of_work(
    described: MessageType, outbox: EventOutbox, deliver: Callable[[Any], Awaitable[None]]
) -> Deliver:
    """Have an event stored when it is published in a unit of work, else delivered.

    Parameters:
        described: the event's type.
        outbox: where it is stored.
        deliver: delivers it.
    """
    applies, store = outbox.applies, outbox.store

    async def publish(event: Any) -> None:
        if applies():
            await store(described, event, begin_event_context())
        else:
            await deliver(event)

    return publish
