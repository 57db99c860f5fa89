"""The ways of events: to the handlers here, over the transport, or into the outbox of a unit of work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from catga_core.errors import CatgaError, ErrorCode
from catga_core.mediator.arrivals import Arrivals
from catga_core.mediator.delivery import (
    Deliver,
    FailedDeliveries,
    contextual,
    deliver_to,
    stored_in_unit_of_work,
)
from catga_core.mediator.gate import Gate
from catga_core.mediator.handing_over import handed_over
from catga_core.mediator.options import PUBLISH, PublishOptions, check_options, frozen
from catga_core.mediator.preparing import not_built, prepared
from catga_core.mediator.refusals import EVENTS, expect
from catga_core.mediator.routes import KeepFailed, NotPrepared, Route, RouteSource
from catga_core.messages import Event, MessageType, message_type
from catga_core.messages.context import begin_event_context
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure
from catga_core.runtime.cancellation import being_cancelled, cancelled_itself

Publish: TypeAlias = Callable[[Any], Awaitable[None]]


class Publishing:
    """Finds the way of each event type, once until something changes.

    `ways` is what has been found; whoever publishes looks there first.

    Parameters:
        source: knows the pipelines, the transport and the outbox.
        gate: tells whether events are taken.
        failed: told of each handler that fails.
        arrivals: handle the events whose context is given.
    """

    __slots__ = ("_arrivals", "_failed", "_gate", "_source", "ways")

    def __init__(self, source: RouteSource, gate: Gate, failed: FailedDeliveries, arrivals: Arrivals) -> None:
        self._source = source
        self._gate = gate
        self._failed = failed
        self._arrivals = arrivals
        self.ways: dict[type[Any], Publish] = {}

    def forget(self) -> None:
        """Find every way anew when it is next asked for."""
        self.ways.clear()

    def find(self, event: object) -> Publish:
        """Find the way of an event whose type has none yet.

        Raises:
            TypeError: for anything that is not an event.
            CatgaError: when events are not taken, or what a handler needs cannot be made.
        """
        described = expect(type(event), EVENTS, "publish() takes an Event")
        refusal = self._gate.refusal(described)
        if refusal is not None:
            raise refusal
        source = self._source
        try:
            transport = source.transport
            routes = source.event_routes(described.cls) if transport is None else ()
            outbox, keep = source.outbox, source.keep_failed
        except NotPrepared:
            return self._prepare_and_publish
        except CatgaError:
            raise
        except Exception as error:
            raise not_built(described, error) from error
        deliver: Deliver
        if transport is not None:
            publish_remote = transport.publish

            def deliver_remote(event: Any) -> Coroutine[Any, Any, None]:
                return publish_remote(described, event, begin_event_context())

            deliver = deliver_remote
        else:
            deliver = self._to_handlers(routes, keep)
        if outbox is not None:
            deliver = stored_in_unit_of_work(described, outbox, deliver)
        if self._gate.is_open:
            self.ways[described.cls] = deliver
        return deliver

    async def publish_with(self, event: Event, options: PublishOptions) -> None:
        """Publish an event with what the caller said beside it."""
        described = expect(type(event), EVENTS, "publish() takes an Event")
        check_options("publish", options, PUBLISH)
        headers = frozen(options.get("headers"))
        context = begin_event_context(message_id=options.get("message_id"), headers=headers)
        refusal = self._gate.refusal(described)
        if refusal is not None:
            raise refusal
        outbox = await prepared(self._source, lambda: self._source.outbox)
        if outbox is not None and outbox.applies():
            await outbox.store(described, event, context)
            return
        await self._deliver(described, event, context)

    async def hand_over(self, described: MessageType, event: Event, context: MessageContext) -> None:
        """Send an event that was stored: over the transport, or to the handlers here where there is none.

        Raises:
            CatgaError: when it could not be handed over.
        """
        refusal = self._gate.refusal_of_stored(described)
        if refusal is not None:
            raise refusal
        await handed_over(context.message_id, self._deliver(described, event, context))

    async def redeliver(
        self, described: MessageType, handler: str, event: Event, context: MessageContext
    ) -> CatgaResult[Any]:
        """Deliver an event to one handler here, through its whole pipeline."""
        refusal = self._gate.refusal(described)
        if refusal is not None:
            return Failure(refusal)
        try:
            routes = await prepared(self._source, lambda: self._source.event_routes(described.cls))
        except Exception as error:  # noqa: BLE001 - an override's factory that fails is this message's failure
            return Failure(not_built(described, error))
        for route in routes:
            if route.pipeline.name == handler:
                try:
                    return await self._gate.run(route, event, context)
                except asyncio.CancelledError:
                    if being_cancelled():
                        raise
                    return Failure(cancelled_itself(handler))
        text = f"{described.name} has no handler called {handler} in this process: replay it where it is registered"
        return Failure(CatgaError(text, code=ErrorCode.HANDLER_NOT_FOUND, details={"outcome": "not_started"}))

    def _to_handlers(self, routes: Sequence[Route], keep: KeepFailed | None) -> Deliver:
        deliver = deliver_to(routes, self._failed, keep)
        if keep is not None or any(route.context for route in routes):
            deliver = contextual(deliver)
        if any(route.pipeline.may_suspend for route in routes):
            deliver = self._gate.counting(deliver)
        return deliver

    async def _deliver(self, described: MessageType, event: Event, context: MessageContext) -> None:
        transport = await prepared(self._source, lambda: self._source.transport)
        if transport is not None:
            await transport.publish(described, event, context)
        else:
            await self._arrivals.of(described).call(event, context)

    async def _prepare_and_publish(self, event: Event) -> None:
        try:
            await self._source.prepare()
        except CatgaError:
            raise
        except Exception as error:
            raise not_built(message_type(type(event)), error) from error
        await (self.ways.get(type(event)) or self.find(event))(event)
