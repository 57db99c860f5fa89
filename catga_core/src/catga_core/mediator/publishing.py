"""The ways of events out of the publisher: to the handlers here, over the transport, or into the outbox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

from catga_core.errors import CatgaError, ConfigurationError
from catga_core.identifiers import new_id
from catga_core.interfaces.transport import EventTransport
from catga_core.mediator.dispatcher import Dispatcher
from catga_core.mediator.durable import DurableMessages
from catga_core.mediator.event_deliveries import PublishHere
from catga_core.mediator.keeping import publisher_keeps, refuse_in_unit_of_work
from catga_core.mediator.options import PUBLISH, PublishOptions, check_options, frozen
from catga_core.mediator.preparing import not_built, prepared
from catga_core.mediator.recording import Outgoing, current_recording
from catga_core.mediator.refusals import EVENTS, expect
from catga_core.mediator.routes import EventOutbox, NotPrepared, RouteSource
from catga_core.messages import Event, MessageType, message_type
from catga_core.messages.context import active_context, begin_event_context
from catga_core.messages.message_context import MessageContext

Publish: TypeAlias = Callable[[Any], Awaitable[None]]


class Publishing:
    """Finds how each event type is published, once until something changes.

    Args:
        source: Knows the transport and the outbox.
        dispatcher: Delivers to the handlers here.

    Attributes:
        calls: How each type is published without options; looked up first.
    """

    __slots__ = ("_dispatcher", "_gate", "_known", "_source", "calls")

    def __init__(self, source: RouteSource, dispatcher: Dispatcher) -> None:
        self._source = source
        self._dispatcher = dispatcher
        self._gate = dispatcher.gate
        self._known: dict[type[Any], tuple[PublishHere, EventOutbox | None]] = {}
        self.calls: dict[type[Any], Publish] = {}

    def forget(self) -> None:
        """Find everything again when it is next needed."""
        self._known.clear()
        self.calls.clear()

    def find(self, event: object) -> Publish:
        """Find how an event is published whose type was not published yet.

        Raises:
            TypeError: For anything that is not an event.
            CatgaError: When events are not accepted, or a service that a handler needs cannot be created.
        """
        described = self._expect(event)
        if self._gate.elsewhere(described) is not None:
            return self._publish_in_running_loop
        try:
            publish_in, outbox = self._ways(described)
        except NotPrepared:
            return self._prepare_and_publish
        except (CatgaError, ConfigurationError):
            raise
        except Exception as error:
            raise not_built(described, error) from error
        publish = publish_in if outbox is None else _storing(described, outbox, publish_in)
        if self._dispatcher.recordings:
            publish = _recording(publish)
        if self._gate.is_open:
            self.calls[described.cls] = publish
        return publish

    async def publish_with(self, event: Event, options: PublishOptions) -> None:
        """Publish an event with options."""
        check_options("publish", options, PUBLISH)
        headers = frozen(options.get("headers"))
        context = begin_event_context(message_id=options.get("message_id"), headers=headers)
        described = self._expect(event)
        recording = current_recording()
        if recording is not None:
            recording.published.append(Outgoing(event, context))
            return
        refusal = self._gate.elsewhere(described)
        if refusal is not None:
            raise refusal
        publish_in, outbox = await prepared(self._source, lambda: self._ways(described))
        if outbox is not None and outbox.applies():
            await outbox.store(described, event, context)
        else:
            await publish_in(event, context)

    def _expect(self, event: object) -> MessageType:
        described = expect(type(event), EVENTS, "publish() takes an Event")
        refusal = self._gate.refusal(described)
        if refusal is not None:
            raise refusal
        return described

    def _ways(self, described: MessageType) -> tuple[PublishHere, EventOutbox | None]:
        known = self._known.get(described.cls)
        if known is None:
            source = self._source
            durable, transport = publisher_keeps(source, described), source.event_transport
            outbox = source.outbox
            if durable is not None:
                publish_in = _durable(described, durable, alone=not durable.transactional and outbox is None)
                # It is part of the unit of work by itself.
                outbox = None if durable.transactional else outbox
            elif transport is None:
                publish_in = self._dispatcher.event_publication(described)
            else:
                publish_in = _remote(described, transport)
            known = publish_in, outbox
            if self._gate.is_open:
                self._known[described.cls] = known
        return known

    async def _publish_in_running_loop(self, event: Event) -> None:
        # A coroutine may be created in one event loop and run in another.
        refusal = self._gate.elsewhere(message_type(type(event)))
        if refusal is not None:
            raise refusal
        await (self.calls.get(type(event)) or self.find(event))(event)

    async def _prepare_and_publish(self, event: Event) -> None:
        try:
            await self._source.prepare()
        except (CatgaError, ConfigurationError):
            raise
        except Exception as error:
            raise not_built(message_type(type(event)), error) from error
        await (self.calls.get(type(event)) or self.find(event))(event)


def _remote(described: MessageType, transport: EventTransport) -> PublishHere:
    publish_remote = transport.publish

    peek = active_context.peek

    def publish(event: Any, context: MessageContext | None = None) -> Coroutine[Any, Any, None]:
        if context is None:
            # What `begin_event_context` does outside of a handler, without the call.
            if peek() is None:
                identity = new_id()
                context = MessageContext(identity, identity)
            else:
                context = begin_event_context()
        return publish_remote(described, event, context)

    return publish


def _durable(described: MessageType, durable: DurableMessages, *, alone: bool) -> PublishHere:
    publish_durable = durable.publish

    def publish(event: Any, context: MessageContext | None = None) -> Coroutine[Any, Any, None]:
        if alone:
            refuse_in_unit_of_work(described)
        return publish_durable(described, event, context or begin_event_context())

    return publish


def _storing(described: MessageType, outbox: EventOutbox, publish_in: PublishHere) -> Publish:
    applies, store = outbox.applies, outbox.store

    async def publish(event: Any) -> None:
        if applies():
            await store(described, event, begin_event_context())
        else:
            await publish_in(event)

    return publish


def _recording(publish: Publish) -> Publish:
    async def record_or_publish(event: Any) -> None:
        recording = current_recording()
        if recording is None:
            await publish(event)
        else:
            recording.published.append(Outgoing(event, begin_event_context()))

    return record_or_publish
