"""How event classes, aggregates and deciders get into a container."""

from __future__ import annotations

from typing import Any, TypeVar, get_origin

from catga_core.clock import Clock
from catga_core.errors import ConfigurationError
from catga_core.event_sourcing.aggregate_folds import fold_of
from catga_core.event_sourcing.aggregates import Aggregate
from catga_core.event_sourcing.categories import claim_category
from catga_core.event_sourcing.decider_repositories import DeciderRepository
from catga_core.event_sourcing.deciders import Decider
from catga_core.event_sourcing.policies import SnapshotPolicy
from catga_core.event_sourcing.repositories import AggregateRepository
from catga_core.event_sourcing.snapshots import Snapshots, check_keep, check_policy
from catga_core.handlers.hints import caller_locals, shown
from catga_core.host import Host
from catga_core.interfaces.event_store import EventStore
from catga_core.interfaces.snapshots import SnapshotStore
from catga_core.messages import Event
from catga_core.messages.catalog import MessageCatalog
from catga_core.messages.encodable import make_all_readable
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.serializer import Serializer
from catga_core.messages.upcasting import Upcaster

A = TypeVar("A", bound=Aggregate)
C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E", bound=Event)


def add_events(container: Host, *events: type[Event], closed: bool = False) -> None:
    """Register event classes, or close the set of known classes.

    Every imported event class is known without it. Registered classes win over merely imported ones of the same name
    and version.

    Args:
        container: The container.
        events: Classes derived from `Event`.
        closed: Whether only registered classes are known from now on: those given here by any call, those of aggregates,
            deciders, projections and subscriptions, those with handlers, and those this process has stored. Stored
            events of other classes are foreign: projections and subscriptions ignore them without a warning, and
            reading one raises an error.

    Raises:
        ConfigurationError: When the container runs already; when it starts, for anything that is not an event class, and
            for two classes with one name and version.
    """
    catalog = _catalog_of(container)
    make_all_readable(events, caller_locals())
    catalog.classes.extend(events)
    catalog.closed = catalog.closed or closed


def add_upcasters(container: Host, *upcasters: Upcaster) -> None:
    """Register upcasters, which convert old events to a newer version before they are decoded.

    They apply wherever an event is decoded: streams, the outbox, dead letters.

    Args:
        container: The container.
        upcasters: Made with `@upcaster(...)`.

    Raises:
        ConfigurationError: When the container runs already; when it starts, for two upcasters of one step, and for a
            chain that does not end with a known class.
    """
    _catalog_of(container).upcasters.extend(upcasters)


def add_aggregate(
    container: Host,
    aggregate: type[A],
    *,
    snapshots: SnapshotPolicy | None = None,
    keep: int = 1,
) -> None:
    """Register the repository of an aggregate: ask for `AggregateRepository[Order]` in a constructor.

    Args:
        container: The container; the repository uses its event store, and its snapshot store where it wants one.
        aggregate: The class.
        snapshots: When a snapshot is due, such as `every(100)`; `None` for never.
        keep: How many snapshots of each stream stay.

    Raises:
        ConfigurationError: The class is not an aggregate or needs more than an id, another aggregate or decider has its category, the
            policy is not one, `keep` is below 1, or the container runs already; at start: the state cannot be kept in a snapshot.
    """
    fold = fold_of(aggregate)
    make_all_readable(fold.events, caller_locals())
    policy = _checked(snapshots, keep)
    claim_category(container, fold.category, aggregate, aggregate)

    def plain(store: EventStore) -> AggregateRepository[A]:
        return AggregateRepository(aggregate, store)

    def with_snapshots(
        store: EventStore, kept: SnapshotStore, serializer: Serializer, clock: Clock
    ) -> AggregateRepository[A]:
        options = Snapshots(kept, policy, keep=keep, serializer=serializer, clock=clock)
        return AggregateRepository(aggregate, store, snapshots=options)

    service: Any = AggregateRepository[aggregate]  # type: ignore[valid-type]  # the class it is asked for by, at run time
    container.add_singleton(service, plain if snapshots is None else with_snapshots)


def add_decider(
    container: Host,
    service: type[DeciderRepository[C, S, E]],
    decider: Decider[C, S, E],
    *,
    snapshots: SnapshotPolicy | None = None,
    keep: int = 1,
) -> None:
    """Register the repository of a decider: ask for it in a constructor by the type that is given here.

    Args:
        container: The container; the repository uses its event store, and its snapshot store where it wants one.
        service: `DeciderRepository[Command, State, Event]`, or a class derived from that.
        decider: Its functions.
        snapshots: When a snapshot is due, such as `every(100)`; `None` for never.
        keep: How many snapshots of each stream stay.

    Raises:
        ConfigurationError: The decider or the type is not one, another aggregate or decider has its category, `keep` is below 1, or the
            container runs already; at start: the state cannot be kept in a snapshot.
    """
    given: Any = service
    made: object = decider  # a caller without a type checker may give anything
    repository: Any = get_origin(given) or given
    if not _is_repository(repository):
        msg = f"{shown(given)} is not a decider repository. Pass DeciderRepository[Command, State, Event]."
        raise ConfigurationError(msg)
    if not isinstance(made, Decider):
        msg = f"decider must be a Decider; got a {type(made).__name__}. Pass Decider(category=..., ...)."
        raise ConfigurationError(msg)
    policy = _checked(snapshots, keep)
    claim_category(container, decider.category, given, decider.decide)
    make_all_readable(decider.events, caller_locals())

    # Any, because the class may be one that is derived from the repository.
    def plain(store: EventStore) -> Any:
        return repository(decider, store)

    def with_snapshots(store: EventStore, kept: SnapshotStore, serializer: Serializer, clock: Clock) -> Any:
        options = Snapshots(kept, policy, keep=keep, serializer=serializer, clock=clock)
        return repository(decider, store, snapshots=options)

    container.add_singleton(given, plain if snapshots is None else with_snapshots)


class _RegistryCheck:
    """Checks the message registry when a container starts: all classes are registered by then."""

    def __init__(self, registry: MessageRegistry) -> None:
        self._registry = registry

    async def start(self) -> None:
        """Check.

        Raises:
            ConfigurationError: Listing every problem.
        """
        self._registry.check()

    async def stop(self) -> None:
        """Do nothing."""


def _catalog_of(container: Host) -> MessageCatalog:
    known = container.registered(MessageCatalog)
    if known is None:
        container.add_singleton(MessageCatalog, MessageCatalog(), instance=True)
        container.add_hosted(_RegistryCheck)
        return _catalog_of(container)
    catalog: MessageCatalog = known.source
    return catalog


def _is_repository(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, DeciderRepository)


def _never(_since: object) -> bool:
    return False


def _checked(policy: SnapshotPolicy | None, keep: int) -> SnapshotPolicy:
    check_keep(keep)
    if policy is None:
        return _never
    check_policy(policy)
    return policy
