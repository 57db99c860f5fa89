"""An aggregate seen as a fold: what its state consists of, for snapshots and comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, InitVar
from typing import Any, ClassVar, TypeVar, get_origin, get_type_hints

import msgspec

from catga_core.errors import ConfigurationError
from catga_core.event_sourcing.aggregates import Aggregate, apply_event, facts_of, has_hooks, new_aggregate
from catga_core.event_sourcing.folds import Fold, StateShape
from catga_core.handlers.hints import hints_of, with_place
from catga_core.messages import Event

A = TypeVar("A", bound=Aggregate)


def fold_of(cls: type[A]) -> Fold[A]:
    """Return how an aggregate is made of its events.

    Raises:
        ConfigurationError: The class is not an aggregate, or needs more than an id.
    """
    facts = facts_of(cls)

    def initial(id: str) -> A:
        return new_aggregate(cls, id)

    appliers = facts.appliers

    def evolve(aggregate: A, event: Event) -> A:
        # apply_event with what it looks up looked up once: it runs for every event that is loaded.
        applier = appliers[type(event)]
        if applier is None:
            return apply_event(aggregate, event)
        applier(aggregate, event)
        return aggregate

    initial("0")
    return Fold(
        name=cls.__name__,
        category=facts.category,
        schema_version=facts.schema_version,
        events=facts.events,
        initial=initial,
        evolve=evolve,
        shape=lambda: _shape_of(cls),
        fields=_fields_of,
    )


def _fields_of(aggregate: Aggregate) -> Mapping[str, Any]:
    names = (name for base in _own_bases(type(aggregate)) for name in vars(base).get("__annotations__", ()))
    annotated = {name: getattr(aggregate, name) for name in names if hasattr(aggregate, name)}
    return {**annotated, **getattr(aggregate, "__dict__", {})}


def _shape_of(cls: type[A]) -> StateShape[A]:
    return _hooked_shape(cls) if has_hooks(cls) else _attribute_shape(cls)


def _hooked_shape(cls: type[A]) -> StateShape[A]:
    named = with_place(cls.__name__, cls)
    try:
        state = hints_of(cls.snapshot, facts_of(cls).names).get("return")
    except NameError as cause:
        msg = f"{named}.snapshot is annotated with what cannot be found ({cause}): define the type in its module"
        raise ConfigurationError(msg) from None
    if state is None:
        msg = f"{named}.snapshot does not say what it returns: annotate it, a snapshot is read by that type"
        raise ConfigurationError(msg)

    def restore(id: str, state: Any) -> A:
        made = new_aggregate(cls, id)
        made.restore(state)
        return made

    return StateShape(state, lambda aggregate: aggregate.snapshot(), restore)


def _attribute_shape(cls: type[A]) -> StateShape[A]:
    types = _state_types(cls)
    names = tuple(types)
    # Every attribute is asked for and no other taken: a snapshot of a class that has changed since is not a state of it,
    # and the events are there to make it of.
    state: Any = msgspec.defstruct(f"{cls.__name__}State", list(types.items()), forbid_unknown_fields=True)
    _check_attributes(new_aggregate(cls, "0"), names)

    def capture(aggregate: A) -> Any:
        _check_attributes(aggregate, names)
        return state(*[getattr(aggregate, name) for name in names])

    def restore(id: str, value: Any) -> A:
        made = new_aggregate(cls, id)
        for name in names:
            setattr(made, name, getattr(value, name))
        return made

    return StateShape(state, capture, restore)


def _state_types(cls: type[Aggregate]) -> dict[str, Any]:
    names = {**facts_of(cls).names, cls.__name__: cls}
    named = with_place(cls.__name__, cls)
    try:
        hints = get_type_hints(cls, localns=names)
    except NameError as cause:
        msg = (
            f"{named} has an annotation that cannot be found ({cause}), so its state cannot be kept in a snapshot: "
            "import the type outside of TYPE_CHECKING"
        )
        raise ConfigurationError(msg) from None
    own = {name for base in _own_bases(cls) for name in vars(base).get("__annotations__", ())}
    return {
        name: type_
        for name, type_ in hints.items()
        if name in own and get_origin(type_) is not ClassVar and not isinstance(type_, InitVar)
    }


def _check_attributes(aggregate: Aggregate, names: tuple[str, ...]) -> None:
    cls = type(aggregate)
    kept: dict[str, Any] = getattr(aggregate, "__dict__", {})
    unknown = sorted(kept.keys() - set(names))
    unset = sorted(name for name in names if isinstance(getattr(aggregate, name, _NOTHING), Field | _Nothing))
    problem = ""
    if unknown:
        problem = f"{', '.join(unknown)} has no annotation in the class: write it there with its type"
    elif unset:
        problem = (
            f"{', '.join(unset)} has no value in a new one: give it a default, or make the class a @dataclass"
        )
    if problem:
        msg = f"the state of {with_place(cls.__name__, cls)} cannot be kept in a snapshot: {problem}"
        raise ConfigurationError(msg)


def _own_bases(cls: type[Aggregate]) -> list[type[Any]]:
    return [base for base in cls.__mro__ if issubclass(base, Aggregate) and base is not Aggregate]


class _Nothing:
    """Stands for an attribute that is not there."""


_NOTHING = _Nothing()
