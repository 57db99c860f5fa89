"""`Aggregate`: an object whose state is made of its events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

import msgspec

from catga_core.errors import CatgaError, ConfigurationError, ErrorCode
from catga_core.event_sourcing.methods import ByEvent, by_event, event_methods, marked
from catga_core.event_sourcing.progress import Progress
from catga_core.event_sourcing.shared_defaults import check_defaults
from catga_core.handlers.hints import caller_locals, shown, snake_case, with_place
from catga_core.identifiers import new_id
from catga_core.interfaces.event_store import EventData
from catga_core.messages import Event

A = TypeVar("A", bound="Aggregate")
F = TypeVar("F", bound=Callable[..., Any])

_FACTS = "__catga_aggregate__"


class AggregateFacts(msgspec.Struct, frozen=True):
    """What is worked out of an aggregate's class when it is made.

    Args:
        category: What its streams' names begin with.
        schema_version: The version of its state's shape, for snapshots.
        ignore_unknown_events: Whether events without an `@apply` method are passed over.
        events: The classes of events it applies.
        appliers: The method for an event's class.
        names: What was in sight where the class was made, for its annotations.
    """

    category: str
    schema_version: int
    ignore_unknown_events: bool
    events: tuple[type[Event], ...]
    appliers: ByEvent[Callable[[Any, Any], object]]
    names: Mapping[str, Any]


@overload
def apply(event: type[Event], /, *events: type[Event]) -> Callable[[F], F]: ...
@overload
def apply(method: F, /) -> F: ...
def apply(method: Any, /, *events: type[Event]) -> Any:
    """Mark a method of an aggregate as the one that applies an event: `@apply`, or `@apply(OrderPlaced)`.

    It changes the object's state and does nothing else: it runs when the event is raised, and each time it is loaded.

    Args:
        method: The method; the annotation of its parameter tells the event's class, or several (`A | B`).
        events: The classes, where the annotation does not tell.

    Raises:
        ConfigurationError: The target is not a plain method.
    """
    if isinstance(method, type):
        classes: tuple[Any, ...] = (method, *events)

        def mark(function: F) -> F:
            return marked(function, "apply", classes)

        return mark
    return marked(method, "apply")


@dataclass(eq=False, repr=False)
class Aggregate:
    """The base of objects that are kept as a stream of events.

    The state is in ordinary attributes, annotated in the class; the class may be a `@dataclass`. Its constructor needs the
    id only; a default that can change, such as a list, is refused, because all objects would share it. A method decides and
    calls `raise_event`; methods with `@apply` change the state, one for each class of event. They are checked when the class
    is made.

    Parameters (of the class, as in `class Order(Aggregate, schema_version=2)`):
        category: what its streams' names begin with (`order-17`); the class's name in snake_case by default.
        schema_version: raise it when the state's attributes or their meaning change, so that older snapshots are ignored.
        ignore_unknown_events: whether an event without an `@apply` method is passed over instead of being an error;
            inherited.

    Args:
        id: Which one it is.
    """

    __slots__ = ("__catga_progress__", "__weakref__", "id")

    id: str

    if TYPE_CHECKING:
        __catga_aggregate__: ClassVar[AggregateFacts]
        __catga_progress__: Progress = field(init=False)
    else:

        def __new__(cls, *_arguments: object, **_options: object) -> Self:  # noqa: D102 - the class's docstring is its
            # Here, because a constructor of the application's own need not call this one.
            self = object.__new__(cls)
            self.__catga_progress__ = Progress()
            return self

    def __init_subclass__(
        cls,
        *,
        category: str | None = None,
        schema_version: int = 1,
        ignore_unknown_events: bool | None = None,
        **options: Any,
    ) -> None:
        super().__init_subclass__(**options)
        made: AggregateFacts | None = cls.__dict__.get(_FACTS)
        if made is not None:
            # dataclass(slots=True) makes the class a second time, without the options it was given.
            category, schema_version = made.category, made.schema_version
            ignore_unknown_events = made.ignore_unknown_events
        if ignore_unknown_events is None:
            parent: AggregateFacts | None = getattr(cls, _FACTS, None)
            ignore_unknown_events = parent is not None and parent.ignore_unknown_events
        chosen = snake_case(cls.__name__) if category is None else category
        check_category(chosen, with_place(cls.__name__, cls))
        check_schema_version(schema_version, with_place(cls.__name__, cls))
        _check_hooks(cls)
        # With bases that add attributes and are not aggregates, which were not checked.
        check_defaults(cls, tuple(each for each in cls.__mro__ if each is cls or not hasattr(each, _FACTS)))
        methods = event_methods(cls, "apply", stored=False, asynchronous=False)
        table = by_event(cls, "apply", methods)
        appliers: ByEvent[Callable[[Any, Any], object]] = ByEvent(
            {event: method.function for event, method in table.declared.items()}
        )
        events = tuple(event for event in table.declared if event is not Event)
        # Only a class that was made inside a function has annotations that cannot be found later.
        names: Mapping[str, Any] = {}
        if made is not None:
            names = made.names
        elif "<locals>" in cls.__qualname__:
            names = caller_locals()
        cls.__catga_aggregate__ = AggregateFacts(
            chosen, schema_version, ignore_unknown_events, events, appliers, names
        )

    @property
    def version(self) -> int:
        """How many of its events are stored: the version of its stream when it was loaded or last saved."""
        return self.__catga_progress__.version

    @property
    def pending_events(self) -> tuple[Event, ...]:
        """The events that were raised and are not saved yet."""
        return tuple(each.event for each in self.__catga_progress__.pending)

    def raise_event(self, event: Event) -> None:
        """Apply an event and remember it for `save`; it has its own identity from now on.

        Args:
            event: What has happened.

        Raises:
            CatgaError: `INTERNAL_ERROR` when no `@apply` method is for it and its class does not ignore such.
            TypeError: The argument is not an event.
        """
        given: object = event  # a caller without a type checker may give anything
        if not isinstance(given, Event):
            msg = f"{type(self).__name__}.raise_event takes an event, not a {type(given).__name__}"
            raise TypeError(msg)
        apply_event(self, event)
        self.__catga_progress__.pending.append(EventData(event, new_id()))

    def snapshot(self) -> Any:
        """Return the state to keep in a snapshot: override it together with `restore`, and annotate what it returns.

        Left as it is, a snapshot holds every annotated attribute.
        """
        raise NotImplementedError

    def restore(self, state: Any) -> None:
        """Take the state back that `snapshot` gave: called on a new object.

        Args:
            state: Of the type that `snapshot` is annotated with.
        """
        raise NotImplementedError


def facts_of(cls: type[Aggregate]) -> AggregateFacts:
    """Return what was worked out of an aggregate's class.

    Raises:
        ConfigurationError: For any other class.
    """
    facts: AggregateFacts | None = getattr(cls, _FACTS, None)
    if facts is None:
        msg = f"{with_place(shown(cls), cls)} is not an aggregate. Derive it from Aggregate."
        raise ConfigurationError(msg)
    return facts


def apply_event(aggregate: A, event: Event) -> A:
    """Change an aggregate as an event says; return it."""
    facts = aggregate.__catga_aggregate__
    applier = facts.appliers[type(event)]
    if applier is not None:
        applier(aggregate, event)
    elif not facts.ignore_unknown_events:
        raise _unknown(aggregate, event)
    return aggregate


def new_aggregate(cls: type[A], id: str) -> A:
    """Return an aggregate without events.

    Raises:
        ConfigurationError: When its constructor wants more than the id, or does not keep it.
    """
    try:
        made = cls(id)
    except TypeError as cause:
        named = with_place(cls.__name__, cls)
        msg = f"{named} cannot be made of its id alone ({cause}): give every other parameter a default"
        raise ConfigurationError(msg) from cause
    if getattr(made, "id", None) != id:
        named = with_place(cls.__name__, cls)
        msg = f"{named} does not keep its id: call super().__init__(id) in its constructor"
        raise ConfigurationError(msg)
    return made


def has_hooks(cls: type[Aggregate]) -> bool:
    """Tell whether a class has a `snapshot` and a `restore` of its own."""
    return cls.snapshot is not Aggregate.snapshot


def check_category(category: str, named: str) -> None:
    """Refuse what cannot begin the names of streams.

    Args:
        category: As it is to be.
        named: Whose it is, for the error.

    Raises:
        ConfigurationError: Telling what can.
    """
    if not (category.isascii() and category.replace("_", "").replace(".", "").isalnum()):
        msg = (
            f"{named} has category={category!r}, and streams are called category-id: "
            "use ASCII letters, digits, '_' and '.'"
        )
        raise ConfigurationError(msg)


def check_schema_version(version: int, named: str) -> None:
    """Refuse an invalid version of a shape.

    Args:
        version: As it is to be.
        named: Whose it is, for the error.

    Raises:
        ConfigurationError: Telling what is.
    """
    if type(version) is not int or version < 1:
        msg = f"{named} has schema_version={version!r}: versions are whole numbers from 1"
        raise ConfigurationError(msg)


def _check_hooks(cls: type[Aggregate]) -> None:
    if (cls.snapshot is Aggregate.snapshot) != (cls.restore is Aggregate.restore):
        missing = "restore" if cls.restore is Aggregate.restore else "snapshot"
        msg = f"{with_place(cls.__name__, cls)} has only one of snapshot and restore: add {missing}"
        raise ConfigurationError(msg)


def _unknown(aggregate: Aggregate, event: Event) -> CatgaError:
    cls, name = type(aggregate), type(event).__name__
    return CatgaError(
        f"{with_place(cls.__name__, cls)} has no @apply method for {name}: add one, "
        f"or write class {cls.__name__}(Aggregate, ignore_unknown_events=True)",
        code=ErrorCode.INTERNAL_ERROR,
    )
