"""`Decider`: pure functions in place of an aggregate: what follows from a command, and what an event makes of a state."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from catga_core.errors import CatgaError, ConfigurationError, ErrorCode
from catga_core.event_sourcing.aggregates import check_category, check_schema_version
from catga_core.event_sourcing.folds import Fold, StateShape
from catga_core.event_sourcing.methods import ByEvent, events_of
from catga_core.handlers.hints import caller_locals, hints_of, shown, with_place
from catga_core.messages import Event

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E", bound=Event)


class Decider(Generic[C, S, E]):
    """What a stream of events means, and what may be added to it, as three pure functions.

    Args:
        category: What the names of its streams begin with (`account-17`).
        initial: Gives the state before the first event: a class, or a function.
        decide: Gives the events that follow from a command in a state, none for nothing to do; it raises to refuse.
        evolve: Gives the next state of a state and an event, and changes neither. The annotation of its second parameter
            tells the classes of events (`Opened | Deposited`); what it returns tells the type of the state.
        schema_version: Raise it when the state's shape or its meaning changes, so that older snapshots are ignored.
        ignore_unknown_events: Whether an event of another class is passed over instead of being an error.

    Raises:
        ConfigurationError: For a category that cannot name streams, a version below 1, functions that are asynchronous, or
            an `evolve` that does not tell its events.
    """

    __slots__ = (
        "category",
        "decide",
        "events",
        "evolve",
        "ignore_unknown_events",
        "initial",
        "schema_version",
        "state",
    )

    def __init__(
        self,
        *,
        category: str,
        initial: Callable[[], S],
        decide: Callable[[C, S], Sequence[E]],
        evolve: Callable[[S, E], S],
        schema_version: int = 1,
        ignore_unknown_events: bool = False,
    ) -> None:
        check_category(category, "a decider")
        check_schema_version(schema_version, f"the decider {category!r}")
        for function in (initial, decide, evolve):
            if inspect.iscoroutinefunction(function):
                named = with_place(getattr(function, "__name__", "it"), function)
                msg = f"{named} is asynchronous, and a decider only thinks: write def, and do the rest around it"
                raise ConfigurationError(msg)
        self.category: str = category
        self.initial: Callable[[], S] = initial
        self.decide: Callable[[C, S], Sequence[E]] = decide
        self.evolve: Callable[[S, E], S] = evolve
        self.schema_version: int = schema_version
        self.ignore_unknown_events: bool = ignore_unknown_events
        self.events: tuple[type[Event], ...]
        self.state: Any
        self.events, self.state = _types_of(evolve, caller_locals())


def fold_of(decider: Decider[Any, S, Any]) -> Fold[S]:
    """Return how a decider's state is made of events."""
    known: ByEvent[type[Event]] = ByEvent({event: event for event in decider.events})
    evolve, ignore = decider.evolve, decider.ignore_unknown_events

    def evolved(state: S, event: Event) -> S:
        if known[type(event)] is not None:
            return evolve(state, event)
        if ignore:
            return state
        named = with_place(getattr(evolve, "__name__", "evolve"), evolve)
        classes = ", ".join(shown(each) for each in decider.events)
        msg = (
            f"{named} is for {classes}, and not for {type(event).__name__}: add it to the annotation, "
            "or make the Decider with ignore_unknown_events=True"
        )
        raise CatgaError(msg, code=ErrorCode.INTERNAL_ERROR)

    def shape() -> StateShape[S]:
        if decider.state is None:
            named = with_place(getattr(evolve, "__name__", "evolve"), evolve)
            msg = f"{named} does not say what it returns: annotate it, a snapshot is read by that type"
            raise ConfigurationError(msg)
        return StateShape(decider.state, _itself, lambda _id, state: state)

    return Fold(
        name=decider.category,
        category=decider.category,
        schema_version=decider.schema_version,
        events=tuple(event for event in decider.events if event is not Event),
        initial=lambda _id: decider.initial(),
        evolve=evolved,
        shape=shape,
        fields=_fields_of,
    )


def _types_of(evolve: Callable[..., Any], names: Mapping[str, Any]) -> tuple[tuple[type[Event], ...], Any]:
    named = with_place(getattr(evolve, "__name__", "evolve"), evolve)
    try:
        hints = hints_of(evolve, names)
        parameters = list(inspect.signature(evolve).parameters)
    except NameError as cause:
        msg = f"{named} has an annotation that cannot be found ({cause}): define the type before the decider"
        raise ConfigurationError(msg) from None
    if len(parameters) < 2:
        msg = (
            f"{named} cannot be an evolve: write def evolve(state: YourState, event: YourEvents) -> YourState"
        )
        raise ConfigurationError(msg)
    return events_of(hints.get(parameters[1]), named, parameters[1]), hints.get("return")


def _itself(state: S) -> S:
    return state


def _fields_of(state: object) -> Mapping[str, Any]:
    if isinstance(state, msgspec.Struct):
        return msgspec.structs.asdict(state)
    if dataclasses.is_dataclass(state):
        return {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    if isinstance(state, Mapping):
        given: Mapping[Any, Any] = state  # pyright: ignore[reportUnknownVariableType] - its keys become texts
        return {str(name): value for name, value in given.items()}
    return {"state": state}
