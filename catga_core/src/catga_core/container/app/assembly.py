"""Puts pipelines together from what is registered: the container, as its mediator sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from catga_core.clock import Clock
from catga_core.container.app.consumer_handlers import ConsumerEntry, adapted
from catga_core.container.app.contributions import Contributions
from catga_core.container.app.entries import BehaviorEntry, HandlerEntry, ValidatorEntry
from catga_core.container.app.handler_table import HandlerTable
from catga_core.container.app.options import CatgaOptions
from catga_core.container.app.placing import (
    Placed,
    code_of,
    constant,
    in_scope,
    is_bare,
    placed,
    placed_validation,
    with_make,
)
from catga_core.container.di.products import AsyncNeeded
from catga_core.container.di.registration import Lifetime, Registration, SourceKind
from catga_core.container.di.resolver import Resolver
from catga_core.handlers import HandlerDefinition
from catga_core.handlers.hints import with_place
from catga_core.interfaces.transport import EventTransport, RequestTransport, StreamTransport
from catga_core.mediator import DurableMessages, EventOutbox, FailureSink, NotPrepared, Route
from catga_core.mediator.keeping import not_kept
from catga_core.messages import Message, MessageKind, MessageType, message_type
from catga_core.messages.bodies import BodyCodec
from catga_core.messages.delivery import Delivery
from catga_core.messages.message_context import MessageContext
from catga_core.messages.older import Conversion, conversion
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.serializer import Serializer
from catga_core.pipeline import (
    BoundBehavior,
    BoundHandler,
    Fail,
    Supply,
    compile_pipeline,
    failure_of,
    reported_failure_of,
)
from catga_core.pipeline.logging import LoggingBehavior
from catga_core.pipeline.timeout import TimeoutBehavior
from catga_core.validation.behavior import has_constraints
from catga_core.validation.returned import item_check, returned_for


class Assembly:
    """Compiles the pipelines of a container, each once until an override changes them.

    Args:
        resolver: Makes what is in the pipelines.
        contributions: What features put into them.
    """

    def __init__(self, resolver: Resolver, contributions: Contributions) -> None:
        self._contributions = contributions
        self._resolver = resolver
        self.handlers: HandlerTable = HandlerTable()
        self.consumers: dict[str, ConsumerEntry] = {}
        self.behaviors: list[BehaviorEntry] = []
        self.validators: list[ValidatorEntry] = []
        self.opaque = False
        self._routes: dict[Any, Any] = {}
        resolver.changed.append(self.forget)

    # --- what the mediator asks ---

    @property
    def service_name(self) -> str:
        """The name of this service."""
        return self._options.service_name

    @property
    def shutdown_timeout(self) -> float:
        """Seconds within which messages in flight are to be finished when the container stops."""
        return self._options.shutdown_timeout_seconds

    @property
    def _options(self) -> CatgaOptions:
        return self._resolver.resolve(CatgaOptions)  # type: ignore[no-any-return]

    @property
    def clock(self) -> Clock:
        """The container's clock."""
        return self._resolver.resolve(Clock)  # type: ignore[no-any-return]

    @property
    def request_transport(self) -> RequestTransport | None:
        """What carries requests to other processes, `None` when they are all handled in this one."""
        return self._optional(RequestTransport)  # type: ignore[no-any-return]

    @property
    def event_transport(self) -> EventTransport | None:
        """What carries events to every service, `None` when they are all handled in this one."""
        return self._optional(EventTransport)  # type: ignore[no-any-return]

    @property
    def stream_transport(self) -> StreamTransport | None:
        """What carries stream queries to other processes, `None` where they are all handled in this one."""
        found = self._optional(StreamTransport)
        return found if found is not None and found.capabilities.streams else None

    @property
    def outbox(self) -> EventOutbox | None:
        """Where events published in a unit of work are stored, `None` where they go out at once."""
        try:
            make = self._contributions.outbox
            return None if make is None else make()
        except AsyncNeeded:
            raise NotPrepared from None

    @property
    def durable(self) -> DurableMessages | None:
        """What keeps events and enqueued commands in queues, `None` where nothing does."""
        try:
            make = self._contributions.durable
            return None if make is None else make()
        except AsyncNeeded:
            raise NotPrepared from None

    @property
    def failure_sink(self) -> FailureSink | None:
        """Where events go that handlers failed for, `None` for nowhere."""
        try:
            make = self._contributions.failure_sink
            return None if make is None else make()
        except AsyncNeeded:
            raise NotPrepared from None

    def request_route(self, cls: type[Message]) -> Route | None:
        """Return the pipeline of a request handled here, `None` for any other."""
        return self._one(cls, self.handlers.request)

    def namesake(self, described: MessageType) -> type[Message] | None:
        """Return another class of a message's wire name, or else of its class name, that has a handler here."""
        return self.handlers.namesake(described)

    def newer_request(self, older: MessageType) -> Conversion | None:
        """Return the way of a request or stream query to the handler of a newer version here, `None` where there is none."""
        find = self.handlers.stream if older.kind is MessageKind.STREAM else self.handlers.request
        registry, serializer = self._optional(MessageRegistry), self._optional(Serializer)
        if registry is None or serializer is None or not registry.chain(older.name, older.version)[0]:
            return None
        newer = registry.newest(older.name, older.version)[1]
        if newer is None or newer.cls is older.cls or find(newer.cls) is None:
            return None
        return conversion(older, newer, BodyCodec(serializer, registry))

    def stream_route(self, cls: type[Message]) -> Route | None:
        """Return the pipeline of a stream query handled here, `None` for any other."""
        return self._one(cls, self.handlers.stream)

    def event_routes(self, cls: type[Message]) -> Sequence[Route]:
        """Return one pipeline for each handler of an event, in the order of registration."""
        known: tuple[Route, ...] | None = self._routes.get(cls)
        if known is None:
            known = tuple(self._compile(entry, message_type(cls)) for entry in self.handlers.events(cls))
            self._routes[cls] = known
        return known

    def consumer_route(self, consumer: str, cls: type[Message]) -> Route | None:
        """Return the pipeline of a consumer's handler for an event, `None` for an unknown consumer."""
        key = (consumer, cls)
        known: Route | None = self._routes.get(key)
        entry = self.consumers.get(consumer)
        if known is None and entry is not None:
            try:
                known = self._routes[key] = self._consumer(entry, message_type(cls))
            except AsyncNeeded:
                raise NotPrepared from None
        return known

    async def prepare(self) -> None:
        """Make the singletons that have to be awaited, for every handler and behavior as it is now."""
        for port in (RequestTransport, EventTransport, StreamTransport, Serializer):
            await self._resolver.build(port)
        for registration in self.roots():
            await self._resolver.build_needs(registration)

    # --- what the container asks ---

    def forget(self) -> None:
        """Compile every pipeline again when it is next used."""
        self._routes.clear()

    def declared(self) -> list[Registration]:
        """Return how every handler, behavior and validator is made, as registered."""
        registrations = list({id(each.registration): each.registration for each in self.handlers}.values())
        registrations += [consumer.registration for consumer in self.consumers.values()]
        registrations += [behavior.registration for behavior in self.behaviors]
        root = self._contributions.root()
        registrations += [] if root is None else [root]
        return registrations + [validator.registration for validator in self.validators]

    def problems(self) -> list[str]:
        """Return a text for each handler that cannot work."""
        problems: list[str] = []
        for entry in self.handlers:
            described = entry.definition.message_type
            kept = described.delivery not in {None, Delivery.AT_MOST_ONCE}
            if kept and described.kind is MessageKind.EVENT and self._contributions.durable is None:
                problems.append(not_kept(described))
            if not described.context and MessageContext in self._resolver.reach_of(entry.registration):
                named = with_place(entry.definition.name, entry.definition.target)
                problems.append(
                    f"{named} asks for MessageContext, but handles {described.name}, which is declared with "
                    "@message(context=False). Remove context=False, or do not ask for the context."
                )
        return problems

    def handled_by(self, target: Any) -> Sequence[MessageType]:
        """Return the messages of a registered handler, none for other targets."""
        return [each.definition.message_type for each in self.handlers if each.definition.target is target]

    def handled_events(self) -> Sequence[type[Message]]:
        """Return the events that have handlers here; not all events where a handler takes them all."""
        return self.handlers.served_events(below_event=False)

    def definitions(self) -> list[HandlerDefinition]:
        """Return what is known of each handler."""
        return [entry.definition for entry in self.handlers]

    def handlers_of(self, cls: type[Message]) -> list[str]:
        """Return the names of a message's handlers."""
        return [entry.definition.name for entry in self.handlers.of(cls)]

    def roots(self) -> list[Registration]:
        """Return how every handler, behavior and validator is made now; each may be overridden by its class."""
        return [self._resolver.effective(each.service) or each for each in self.declared()]

    # --- inside ---

    def _optional(self, service: Any) -> Any:
        if self._resolver.effective(service) is None:
            return None
        try:
            return self._resolver.resolve(service)
        except AsyncNeeded:
            raise NotPrepared from None

    def _one(self, cls: type[Message], find: Callable[[type[Message]], HandlerEntry | None]) -> Route | None:
        known: Route | None = self._routes.get(cls)
        if known is None:
            entry = find(cls)
            if entry is None:
                return None
            known = self._routes[cls] = self._compile(entry, message_type(cls))
        return known

    def _compile(self, entry: HandlerEntry, described: MessageType) -> Route:
        try:
            return self._compiled(entry, described)
        except AsyncNeeded:
            raise NotPrepared from None

    def _compiled(self, entry: HandlerEntry, described: MessageType) -> Route:
        # A handler of a base class, a union or all events is compiled once for each class.
        definition = msgspec.structs.replace(entry.definition, message_type=described)
        handler = self._injected(self._handler(entry))
        is_event = described.kind is MessageKind.EVENT
        pipeline = compile_pipeline(
            BoundHandler(definition.name, handler),
            self._behaviors(definition),
            stream=described.kind is MessageKind.STREAM,
            returned=returned_for(described, definition.name, self._resolver.resolve(Serializer)),
            fail=self._fail(described),
            fail_outside=failure_of if is_event else reported_failure_of,
        )
        check = None
        if described.kind is MessageKind.STREAM:
            check = item_check(described, definition.name, self._resolver.resolve(Serializer))
        return Route(pipeline, described.context, check)

    def _fail(self, described: MessageType) -> Fail:
        """Return what makes a failure of an exception, with one line of log in all for each failure."""
        # An event's is written by its delivery or its consumer, a logged message's by the behavior.
        logged = described.kind is MessageKind.EVENT or self._options.enable_logging
        return failure_of if logged else reported_failure_of

    def _consumer(self, entry: ConsumerEntry, described: MessageType) -> Route:
        # Its context is always that of the stored event.
        if entry.is_class:
            handler = adapted(self._resolver.supply(entry.registration.service), entry.adapt)
        else:
            handler = self._function(entry.registration)
        bound = BoundHandler(entry.name, self._injected(handler))
        # The consumer logs what it could not handle.
        target = entry.registration.source
        definition = HandlerDefinition(target, target, described, consumer=entry.key)
        pipeline = compile_pipeline(
            bound, self._behaviors(definition), fail=failure_of, fail_outside=failure_of
        )
        return Route(pipeline)

    def _injected(self, handler: Supply) -> Supply:
        if self.opaque and not handler.scoped and self._resolver.has_scoped:
            # Services injected into the handler's body find the message's scope by its variable.
            return in_scope(handler)
        return handler

    def _handler(self, entry: HandlerEntry) -> Supply:
        layer = self._resolver.overrides.top(entry.registration.service)
        registration = entry.registration if layer is None else layer.registration
        if registration.skip:
            return self._function(registration)
        supply = self._object(registration, entry.lifetime)
        make = supply.make
        if supply.constant:
            handle = make(None)
            bare = layer is not None and is_bare(handle)
            return constant(handle if bare else handle.handle)
        if registration.kind is SourceKind.CLASS:
            return self._resolver.supply_for(registration, method="handle")
        return with_make(supply, lambda scope: make(scope).handle)

    def _function(self, registration: Registration) -> Supply:
        resolver = self._resolver
        needed = list(resolver.needs(registration))
        supply = resolver.supply_for(registration)
        if not registration.parameters:
            return constant(registration.source)
        if all(each.lifetime is Lifetime.SINGLETON for _, each in needed) and not supply.scoped:
            return constant(supply.make(None))
        return with_make(supply, supply.make)

    def _object(self, registration: Registration, lifetime: Lifetime | None) -> Supply:
        """Return a supply of a handler or behavior, kept for good where all it holds lives as long."""
        resolver = self._resolver
        supply = resolver.supply_for(registration)
        if supply.constant or supply.scoped or lifetime is Lifetime.TRANSIENT:
            return supply
        lasting = all(needed.lifetime is Lifetime.SINGLETON for _, needed in resolver.needs(registration))
        if lifetime is Lifetime.SINGLETON or (lifetime is None and lasting):
            return constant(resolver.kept(registration))
        return supply

    def _behaviors(self, definition: HandlerDefinition) -> list[BoundBehavior]:
        described = definition.message_type
        found = self._built_in(described)
        found += [placed(each) for each in self._contributions.behaviors(definition)]
        for entry in self.behaviors:
            if entry.fits(described):
                layer = self._resolver.overrides.top(entry.registration.service)
                registration = entry.registration if layer is None else layer.registration
                supply = self._object(registration, entry.lifetime)
                bound = BoundBehavior(entry.registration.name, supply, code_of(registration.source))
                found.append(((entry.stage, entry.order), bound))
        return [bound for _, bound in sorted(found, key=lambda each: each[0])]

    def _built_in(self, described: MessageType) -> list[Placed]:
        options, clock = self._options, self.clock
        found: list[Placed] = []
        if options.enable_logging:
            found.append(placed(LoggingBehavior(clock)))
        if options.timeout_seconds is not None and described.kind in {MessageKind.COMMAND, MessageKind.QUERY}:
            found.append(placed(TimeoutBehavior(options.timeout_seconds, clock)))
        validators = [each for each in self.validators if issubclass(described.cls, each.applies_to)]
        wanted = options.enable_validation
        if wanted is not False and (wanted or validators or has_constraints(described.cls)):
            supplies = [
                self._object(self._resolver.effective(each.registration.service) or each.registration, None)
                for each in validators
            ]
            found.append(placed_validation(described.cls, supplies, self._fail(described)))
        return found
