"""Methods chosen by the type of their event: found and checked when their class is made.

Aggregates (`@apply`) and projections (`@project`) share it.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar, Union, get_args, get_origin

import msgspec

from catga_core.errors import ConfigurationError
from catga_core.handlers.hints import caller_locals, hints_of, shown, with_place
from catga_core.interfaces.event_store import StoredEvent
from catga_core.messages import Event

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_MARK = "__catga_event_mark__"
_EVENTS = "__catga_events__"
_KNOWN = "__catga_event_method__"


class EventMethod(msgspec.Struct, frozen=True):
    """One method that handles events.

    Args:
        name: Its name in its class.
        function: The method, not bound to an object.
        events: The classes it is for; their subclasses too.
        takes_stored: Whether it takes the `StoredEvent` after the event.
        is_async: Whether it is a coroutine function.
    """

    name: str
    function: Callable[..., Any]
    events: tuple[type[Event], ...]
    takes_stored: bool
    is_async: bool


class ByEvent(dict[type[Any], T | None], Generic[T]):
    """Finds what is for an event's class: `table[type(event)]`, `None` where nothing is.

    What is for the class itself comes first, then what is for its nearest base. The answer for a class is worked out once.

    Args:
        declared: What is for which class.
    """

    def __init__(self, declared: Mapping[type[Any], T]) -> None:
        super().__init__(declared)
        self.declared: Mapping[type[Any], T] = dict(declared)

    def __missing__(self, cls: type[Any]) -> T | None:
        found = next((self.declared[base] for base in cls.__mro__ if base in self.declared), None)
        self[cls] = found
        return found


def marked(method: F, mark: str, events: tuple[type[Event], ...] = ()) -> F:
    """Mark a method as one that handles events; return it.

    Args:
        method: The method, whose first parameter is annotated with the class of the event, or with several (`A | B`).
        mark: The decorator's name.
        events: The classes it is for where its decorator says so; none for those of the annotation.

    Raises:
        ConfigurationError: The target is not a plain method.
    """
    plain: object = method
    if not inspect.isfunction(plain):
        msg = f"@{mark} is for methods, not for a {type(method).__name__}: put it above `def`, outside of other decorators"
        raise ConfigurationError(msg)
    setattr(method, _MARK, mark)
    setattr(method, _EVENTS, events)
    return method


def event_methods(cls: type[Any], mark: str, *, stored: bool, asynchronous: bool) -> list[EventMethod]:
    """Return the methods of a class that are marked, its bases' included, and check each.

    Call it in `__init_subclass__`, so that a mistake shows where the class is made.

    Args:
        cls: The class.
        mark: The decorator's name.
        stored: Whether a method may take a `StoredEvent` after the event.
        asynchronous: Whether a method may be a coroutine function.

    Raises:
        ConfigurationError: For a method that does not say which event it is for, or two for one event.
    """
    names = caller_locals()
    found: dict[str, EventMethod] = {}
    for name, function in _attributes(cls).items():
        if getattr(function, _MARK, None) == mark:
            found[name] = _described(cls, function, mark, names, stored=stored, asynchronous=asynchronous)
        elif any(getattr(vars(base).get(name), _MARK, None) == mark for base in cls.__mro__):
            msg = f"{_named(cls, function)} replaces a method with @{mark}: give it @{mark} too, or another name"
            raise ConfigurationError(msg)
    by_event(cls, mark, found.values())
    return list(found.values())


def by_event(cls: type[Any], mark: str, methods: Iterable[EventMethod]) -> ByEvent[EventMethod]:
    """Return the table that finds a method for an event's class.

    Raises:
        ConfigurationError: When two methods are for one class.
    """
    declared: dict[type[Any], EventMethod] = {}
    for method in methods:
        for event in method.events:
            other = declared.setdefault(event, method)
            if other is not method:
                msg = (
                    f"{with_place(cls.__name__, cls)} has two methods with @{mark} for {shown(event)}, "
                    f"{other.name} and {method.name}: keep one"
                )
                raise ConfigurationError(msg)
    return ByEvent(declared)


def _attributes(cls: type[Any]) -> dict[str, Any]:
    """Return what each name of a class stands for, its bases' first."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update(vars(base))
    return found


def _described(
    cls: type[Any], function: Any, mark: str, names: Mapping[str, Any], *, stored: bool, asynchronous: bool
) -> EventMethod:
    known: EventMethod | None = getattr(function, _KNOWN, None)
    if known is not None:
        # As its own class has seen it: a subclass elsewhere need not have its annotations in sight.
        return known
    plain = inspect.unwrap(function)
    named = _named(cls, function)
    parameters = list(inspect.signature(plain).parameters.values())[1:]
    try:
        hints = hints_of(function, names)
    except NameError as cause:
        msg = (
            f"{named} has an annotation that cannot be resolved ({cause}): define the event before the class"
        )
        raise ConfigurationError(msg) from None
    if not parameters:
        msg = f"{named} takes no event: write def {function.__name__}(self, event: YourEvent)"
        raise ConfigurationError(msg)
    said: tuple[Any, ...] = getattr(function, _EVENTS)
    annotations = said or (hints.get(parameters[0].name),)
    about = f"{named} with @{mark}"
    events = tuple(event for each in annotations for event in events_of(each, about, parameters[0].name))
    is_async = inspect.iscoroutinefunction(plain)
    if is_async and not asynchronous:
        msg = f"{named} is asynchronous, and @{mark} is for what only changes the object: write def"
        raise ConfigurationError(msg)
    takes_stored = takes_stored_event(parameters[1:], hints, named, allowed=stored)
    method = EventMethod(function.__name__, function, events, takes_stored, is_async)
    setattr(function, _KNOWN, method)
    return method


def events_of(annotation: Any, named: str, parameter: str) -> tuple[type[Event], ...]:
    """Return the event classes that an annotation names.

    Args:
        annotation: A class derived from `Event`, `Event` itself for all, or a union of such; `None` for none.
        named: What has it, for the error.
        parameter: The parameter's name, for the error.

    Raises:
        ConfigurationError: For anything else.
    """
    if annotation is None:
        msg = f"{named} does not say which event it is for: annotate {parameter!r} with its class"
        raise ConfigurationError(msg)
    several = get_origin(annotation) in {Union, types.UnionType}
    members: tuple[Any, ...] = get_args(annotation) if several else (annotation,)
    for member in members:
        if not (isinstance(member, type) and issubclass(member, Event)):
            msg = f"{named} is for {shown(member)}, which is not an event: derive it from Event"
            raise ConfigurationError(msg)
    return members


def takes_stored_event(
    parameters: list[inspect.Parameter], hints: Mapping[str, Any], named: str, *, allowed: bool
) -> bool:
    """Tell whether a `StoredEvent` is taken after the event.

    Args:
        parameters: Those after the event's.
        hints: The annotations.
        named: What has them, for the error.
        allowed: Whether one may be taken.

    Raises:
        ConfigurationError: For any other parameter without a default.
    """
    if allowed and parameters and hints.get(parameters[0].name) is StoredEvent:
        return not _refuse_others(parameters[1:], named, "(self, event, stored: StoredEvent)")
    wanted = "(self, event) or (self, event, stored: StoredEvent)" if allowed else "(self, event)"
    return _refuse_others(parameters, named, wanted)


def _refuse_others(parameters: list[inspect.Parameter], named: str, wanted: str) -> bool:
    variadic = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    for parameter in parameters:
        if parameter.default is parameter.empty and parameter.kind not in variadic:
            msg = f"{named} takes {parameter.name!r}, which is not provided: write it as {wanted}"
            raise ConfigurationError(msg)
    return False


def _named(cls: type[Any], function: Any) -> str:
    name = getattr(function, "__name__", "it")
    return with_place(f"{cls.__name__}.{name}", function)
