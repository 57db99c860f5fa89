"""What the options of durable state put into a container's pipelines, and beside them.

Nothing of `catga_core.reliability` is imported before an option or a mark asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from catga_core.clock import Clock
from catga_core.container.app.options import CatgaOptions
from catga_core.container.app.stores import is_in_memory, same_storage, told_storage
from catga_core.container.di.registration import Lifetime, Parameter, Registration, SourceKind
from catga_core.container.di.resolver import Resolver
from catga_core.features.idempotency.marks import IdempotencyRule, idempotency_rule
from catga_core.features.units_of_work.marks import has_own_units_of_work
from catga_core.handlers import HandlerDefinition
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.event_log import EventLog
from catga_core.interfaces.idempotency import IdempotencyStore
from catga_core.interfaces.inbox import InboxStore
from catga_core.interfaces.outbox import OutboxStore
from catga_core.interfaces.storage import Storage
from catga_core.mediator import Dispatcher, EventOutbox, FailureSink
from catga_core.messages import Message, MessageKind, MessageType
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.serializer import Serializer
from catga_core.pipeline.behavior import AnyBehavior
from catga_core.runtime.retry import RetryPolicy

C = TypeVar("C")


class Reliability:
    """Makes what the options of durable state ask for, of the stores as they are now.

    Parameters:
        resolver: gives the stores.
    """

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._counters: dict[type[Any], Any] = {}

    # --- what the pipelines get ---

    def behaviors(self, handler: HandlerDefinition) -> list[AnyBehavior]:
        """Return the behaviors for a handler, from the outside in.

        Parameters:
            handler: the handler.

        Raises:
            ConfigurationError: for a result that could not be given a second time.
        """
        options, described = self._options, handler.message_type
        commands_in_units = options.enable_outbox and not has_own_units_of_work(handler.target)
        rule = self._rule(described)
        if rule is not None:
            return [self._idempotency(described, rule, in_unit=commands_in_units)]
        command_in_unit = described.kind is MessageKind.COMMAND and commands_in_units
        event_in_unit = described.kind is MessageKind.EVENT and (
            options.enable_outbox or options.enable_inbox
        )
        if not (command_in_unit or event_in_unit):
            return []
        from catga_core.features.inbox.behavior import InboxBehavior
        from catga_core.features.inbox.counters import InboxCounters
        from catga_core.features.units_of_work.behavior import UnitOfWorkBehavior

        found: list[AnyBehavior] = [UnitOfWorkBehavior(self._get(Storage))]
        if described.kind is MessageKind.EVENT and options.enable_inbox:
            found.append(InboxBehavior(self._get(InboxStore), handler.name, self._counter(InboxCounters)))
        return found

    def outbox(self) -> EventOutbox | None:
        """Return where events go that are published in a unit of work, `None` for out at once."""
        if not self._options.enable_outbox:
            return None
        from catga_core.features.outbox.writer import OutboxWriter

        return OutboxWriter(
            self._get(OutboxStore),
            self._get(Storage),
            self._get(Serializer),
            self._get(Clock),
            self._get(MessageRegistry),
        )

    def failure_sink(self) -> FailureSink | None:
        """Return where events go that handlers failed for, `None` for nowhere."""
        if not self._options.enable_dead_letter_queue:
            return None
        from catga_core.features.dead_letters.counters import DeadLetterCounters
        from catga_core.features.dead_letters.recorder import FailedEvents

        def letters() -> DeadLetterStore:
            return self._get(DeadLetterStore)  # type: ignore[no-any-return]

        # Asked for with each letter: a store that stands in for it may be there by then.
        return FailedEvents(
            letters, self._get(Serializer), self._get(Clock), self._counter(DeadLetterCounters)
        )

    # --- what stands beside them ---

    def needs(self, requests: Iterable[type[Message]]) -> list[Any]:
        """Return the ports that are used by the pipelines as they are now.

        Parameters:
            requests: the requests that have handlers.
        """
        options = self._options
        found: list[Any] = []
        marked = any(idempotency_rule(cls) is not None for cls in requests)
        if options.enable_idempotency or marked:
            found.append(IdempotencyStore)
        if options.enable_outbox:
            found += [Storage, OutboxStore, DeadLetterStore]
        if options.enable_inbox:
            found += [Storage, InboxStore]
        if options.enable_dead_letter_queue:
            found.append(DeadLetterStore)
        return list(dict.fromkeys(found))

    def roots(self, requests: Iterable[type[Message]]) -> list[Registration]:
        """Return what stands for the built-in behaviors where the container looks after what is needed."""
        needs = self.needs(requests)
        if not needs:
            return []
        parameters = tuple(
            Parameter(f"port_{number}", port, optional=False) for number, port in enumerate(needs)
        )
        return [Registration(Reliability, Lifetime.TRANSIENT, SourceKind.FACTORY, Reliability, parameters)]

    def problems(self, handlers: Sequence[HandlerDefinition]) -> list[str]:
        """Return a text for each thing that cannot work.

        Parameters:
            handlers: every handler.
        """
        options = self._options
        problems = [
            f"{option}: {what} is kept in {told_storage(self._resolver, port)}, and units of work are of "
            f"{told_storage(self._resolver, Storage)}, so that it could not be written together with a handler's own "
            "data: take both from one storage"
            for enabled, option, what, port in (
                (options.enable_outbox, "enable_outbox", "the outbox", OutboxStore),
                (options.enable_inbox, "enable_inbox", "the inbox", InboxStore),
            )
            if enabled and same_storage(self._resolver, port, Storage) is False
        ]
        log = self._resolver.effective(EventLog)
        # Where nobody has said where events are kept, there may well be none.
        if (
            options.enable_outbox
            and not is_in_memory(log)
            and same_storage(self._resolver, EventLog, Storage) is False
        ):
            problems.append(
                f"enable_outbox: the event log is kept in {told_storage(self._resolver, EventLog)}, and units of work "
                f"are of {told_storage(self._resolver, Storage)}, so that a handler that fails would leave the events "
                "that it has appended: take both from one storage"
            )
        problems += [
            f"{handler.name} has @own_units_of_work, which is for handlers of commands, and handles "
            f"{handler.message_type.cls.__name__}, which is none: leave it out"
            for handler in handlers
            if has_own_units_of_work(handler.target) and handler.message_type.kind is not MessageKind.COMMAND
        ]
        for handler in handlers:
            described = handler.message_type
            if described.context:
                continue
            rule = self._rule(described)
            by_message_id = rule is not None and rule.key is None
            if by_message_id or (options.enable_inbox and described.kind is MessageKind.EVENT):
                what = "Idempotency without a key" if by_message_id else "The inbox"
                problems.append(
                    f"{what} identifies {described.name} by its message id, but {described.name} is declared with "
                    "@message(context=False) and has none. Remove context=False."
                )
        if options.enable_inbox or options.enable_dead_letter_queue:
            seen: set[tuple[type[Message], str]] = set()
            for handler in handlers:
                described, name = handler.message_type, handler.name
                if described.kind is MessageKind.EVENT and (described.cls, name) in seen:
                    problems.append(
                        f"{described.cls.__name__} has two handlers called {name}, and the inbox and the dead letters "
                        "know a handler by its name: give one of them another"
                    )
                seen.add((described.cls, name))
        return problems

    def told(self) -> dict[str, int]:
        """Return the counts for `health()`, none where nothing is configured."""
        counts: dict[str, int] = {}
        for counters in self._counters.values():
            counts.update(msgspec.structs.asdict(counters))
        return counts

    # --- inside ---

    def _counter(self, cls: type[C]) -> C:
        """Return the container's counters of one feature."""
        counters: C = self._counters.setdefault(cls, cls())
        return counters

    @property
    def _options(self) -> CatgaOptions:
        return self._resolver.resolve(CatgaOptions)  # type: ignore[no-any-return]

    def _get(self, service: Any) -> Any:
        return self._resolver.resolve(service)

    def _rule(self, described: MessageType) -> IdempotencyRule | None:
        if described.kind is not MessageKind.COMMAND:
            return None
        rule = idempotency_rule(described.cls)
        return IdempotencyRule() if rule is None and self._options.enable_idempotency else rule

    def _idempotency(self, described: MessageType, rule: IdempotencyRule, *, in_unit: bool) -> AnyBehavior:
        from catga_core.features.idempotency.behavior import IdempotencyBehavior, IdempotencySettings
        from catga_core.features.idempotency.counters import IdempotencyCounters
        from catga_core.features.idempotency.results import ResultCodec

        options = self._options
        storage: Storage | None = self._get(Storage) if in_unit else None
        together = storage is not None and same_storage(self._resolver, IdempotencyStore, Storage) is True
        return IdempotencyBehavior(
            described,
            rule,
            self._get(IdempotencyStore),
            ResultCodec(described, self._get(Serializer)),
            IdempotencySettings(
                options.idempotency_ttl_seconds,
                options.idempotency_lease_seconds,
                options.idempotency_wait_seconds,
            ),
            self._get(Clock),
            self._counter(IdempotencyCounters),
            storage,
            together=together,
        )


_PRUNED = {OutboxStore: "outbox", InboxStore: "inbox", IdempotencyStore: "idempotency"}


def workers(
    options: CatgaOptions, resolver: Resolver, needs: Sequence[Any]
) -> list[tuple[str, Registration]]:
    """Return the hosted services that the options ask for, with their providers' names.

    Parameters:
        options: the container's.
        resolver: gives the stores as they are at each use, so that what stands in for one is used at once.
        needs: the ports that are used.
    """
    found: list[tuple[str, Registration]] = []
    if options.enable_outbox:
        found.append(("outbox_monitor", _monitor(options, resolver)))
        if options.enable_outbox_relay:
            found.append(("outbox_relay", _relay(options, resolver)))
    pruned = [(name, port) for port, name in _PRUNED.items() if port in needs]
    if pruned:
        found.append(("pruning", _pruning(options, resolver, pruned)))
    return found


def _monitor(options: CatgaOptions, resolver: Resolver) -> Registration:
    from catga_core.features.outbox.monitor import OutboxMonitor

    def make(clock: Clock, **_stores: object) -> OutboxMonitor:
        return OutboxMonitor(_now(resolver, OutboxStore), clock, options.outbox_alarm_seconds)

    return _hosted(OutboxMonitor, make, {"clock": Clock, "outbox": OutboxStore})


def _relay(options: CatgaOptions, resolver: Resolver) -> Registration:
    from catga_core.features.outbox.relay import OutboxRelay, RelaySettings
    from catga_core.features.outbox.sending import OutboxSender

    def make(
        dispatcher: Dispatcher,
        serializer: Serializer,
        clock: Clock,
        registry: MessageRegistry,
        **_stores: object,
    ) -> OutboxRelay:
        storage = _now(resolver, Storage)
        sender = OutboxSender(
            dispatcher.hand_over,
            registry,
            serializer,
            clock,
            RetryPolicy(
                max_attempts=options.outbox_max_attempts,
                delay_seconds=options.outbox_retry_delay_seconds,
                max_delay_seconds=options.outbox_retry_max_delay_seconds,
            ),
            _now(resolver, DeadLetterStore),
            storage,
        )
        settings = RelaySettings(
            options.outbox_batch_size, options.outbox_lease_seconds, options.outbox_poll_seconds
        )
        return OutboxRelay(
            _now(resolver, OutboxStore), sender, clock, settings, lambda: storage().capabilities.durable
        )

    # The stores are named so that they start before it and stop after it.
    needs = {"dispatcher": Dispatcher, "serializer": Serializer, "clock": Clock, "registry": MessageRegistry}
    return _hosted(
        OutboxRelay, make, {**needs, "outbox": OutboxStore, "storage": Storage, "letters": DeadLetterStore}
    )


def _pruning(options: CatgaOptions, resolver: Resolver, pruned: Sequence[tuple[str, Any]]) -> Registration:
    from catga_core.features.retention.pruning import Prune, Pruning

    def pruner(port: Any) -> Prune:
        async def prune() -> int:
            store = resolver.resolve(port)
            if port is OutboxStore:
                return await store.prune(older_than=options.outbox_retention_seconds)  # type: ignore[no-any-return]
            if port is InboxStore:
                return await store.prune(older_than=options.inbox_retention_seconds)  # type: ignore[no-any-return]
            return await store.prune()  # type: ignore[no-any-return]

        return prune

    def make(clock: Clock, **_stores: object) -> Pruning:
        stores = {name: pruner(port) for name, port in pruned}
        return Pruning(stores, clock, options.prune_interval_seconds)

    return _hosted(Pruning, make, {"clock": Clock, **dict(pruned)})


def _hosted(service: Any, make: Callable[..., Any], needs: dict[str, Any]) -> Registration:
    parameters = tuple(
        Parameter(name, needed, optional=False, keyword=True) for name, needed in needs.items()
    )
    return Registration(service, Lifetime.SINGLETON, SourceKind.FACTORY, make, parameters)


def _now(resolver: Resolver, port: Any) -> Callable[[], Any]:
    return lambda: resolver.resolve(port)
