"""`given(...).events(...).when(...).then(...)`: tests of aggregates and deciders that read as sentences."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, Generic, NoReturn, Self, TypeVar, overload

from catga_core import CatgaError, ConfigurationError, Event
from catga_core.event_sourcing import Aggregate, Decider, EventTypes
from catga_core.event_sourcing.aggregate_folds import fold_of as fold_of_aggregate
from catga_core.event_sourcing.deciders import fold_of as fold_of_decider
from catga_core.event_sourcing.folds import Fold
from catga_core.interfaces import EventRecord

A = TypeVar("A", bound=Aggregate)
C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E", bound=Event)
X = TypeVar("X", bound=BaseException)


@overload
def given(subject: type[A], /, id: str = ...) -> GivenAggregate[A]: ...
@overload
def given(subject: Decider[C, S, E], /, id: str = ...) -> GivenDecider[C, S]: ...
def given(subject: Any, /, id: str = "test") -> Any:
    """Begin a test of an aggregate or a decider, which needs no store and no loop.

    Every event in it is stored as bytes and read again, so that one which cannot be is found.

    Args:
        subject: A class derived from `Aggregate`, or a `Decider`.
        id: The id of the aggregate.

    Raises:
        ConfigurationError: For what is not an aggregate, or one that cannot be made of its id.
    """
    make: Any = GivenDecider if isinstance(subject, Decider) else GivenAggregate
    if isinstance(subject, Aggregate):
        cls = type(subject).__name__
        msg = f"given() takes the aggregate's class; got an object of it. Write given({cls}, id=...).events(...)."
        raise ConfigurationError(msg)
    return make(subject, id)


class _Given(Generic[S]):
    """What has happened before.

    Args:
        fold: How the state is made of it.
        id: Whose state it is.
    """

    def __init__(self, fold: Fold[S], id: str) -> None:
        self._fold = fold
        self._id = id
        self._history: tuple[Event, ...] = ()

    def events(self, *events: Event) -> Self:
        """Say what has happened before; nothing where this is left out.

        Args:
            events: In their order, after those that were given already.
        """
        self._history += _stored(events)
        return self

    def _state(self) -> S:
        state = self._fold.initial(self._id)
        for event in self._history:
            state = self._fold.evolve(state, event)
        return state


class GivenAggregate(_Given[A]):
    """What has happened to an aggregate before."""

    def __init__(self, cls: type[A], id: str) -> None:
        super().__init__(fold_of_aggregate(cls), id)

    def when(self, change: Callable[[A], object]) -> Then[A]:
        """Do something to the aggregate; what it raises is for `then_raises`.

        Args:
            change: Calls its methods, as `lambda order: order.ship()`.

        Raises:
            TypeError: For what is not a function, and for a coroutine function: an aggregate only thinks.
        """
        given: object = change
        if not callable(given):
            msg = (
                f"when() takes a function that calls the aggregate's methods; got {type(given).__name__}. "
                "Write when(lambda order: order.ship())."
            )
            raise TypeError(msg)
        aggregate = self._state()
        try:
            result = change(aggregate)
        except Exception as error:  # noqa: BLE001 - then() and then_raises() tell it
            return Then(aggregate, (), error)
        if inspect.isawaitable(result):
            getattr(result, "close", lambda: None)()
            msg = "when() takes a plain function: an aggregate awaits nothing"
            raise TypeError(msg)
        return Then(aggregate, aggregate.pending_events, None)


class GivenDecider(_Given[S], Generic[C, S]):
    """What has happened before to the state of a decider."""

    def __init__(self, decider: Decider[C, S, Any], id: str) -> None:
        super().__init__(fold_of_decider(decider), id)
        self._decider = decider

    def when(self, command: C) -> Then[S]:
        """Have it decide what follows from a command; what it raises is for `then_raises`.

        Args:
            command: What `decide` is given.
        """
        state = self._state()
        try:
            events: tuple[Event, ...] = tuple(self._decider.decide(command, state))
            for event in events:
                state = self._fold.evolve(state, event)
        except Exception as error:  # noqa: BLE001 - then() and then_raises() tell it
            return Then(state, (), error)
        return Then(state, events, None)


class Then(Generic[S]):
    """What has come of it.

    Args:
        state: The state after it.
        events: What has happened.
        error: What was raised, `None` for nothing.
    """

    def __init__(self, state: S, events: tuple[Event, ...], error: Exception | None) -> None:
        self._state = state
        self._events = _stored(events)
        self._error = error

    @property
    def state(self) -> S:
        """The state after it.

        Raises:
            Exception: What was raised instead.
        """
        self._refuse_error()
        return self._state

    def then(self, *events: Event) -> Self:
        """Expect exactly these events, in this order; none at all means that nothing has happened.

        Args:
            events: Compared by their values.

        Raises:
            AssertionError: Showing both, when it was otherwise.
            Exception: What was raised instead.
        """
        self._refuse_error()
        if self._events != events:
            msg = f"expected {_listed(events)}\nand there was {_listed(self._events)}"
            raise AssertionError(msg)
        return self

    def then_raises(self, error: type[X], *, code: str | None = None, match: str | None = None) -> X:
        """Expect that it was refused; return the error.

        Args:
            error: Its class.
            code: The code of a `CatgaError`, `None` for any.
            match: A regular expression that its text contains, `None` for any.

        Raises:
            AssertionError: When it was not refused so.
        """
        found = self._error
        if found is None:
            _fail(f"expected {error.__name__}\nand there was {_listed(self._events)}", None)
        if not isinstance(found, error):
            _fail(f"expected {error.__name__}\nand {type(found).__name__} was raised: {found}", found)
        if code is not None and (not isinstance(found, CatgaError) or found.code != code):
            _fail(f"expected the code {code}\nand {type(found).__name__} was raised: {found}", found)
        if match is not None and not re.search(match, str(found)):
            _fail(f"expected a text with {match!r}\nand there was {str(found)!r}", found)
        return found

    def _refuse_error(self) -> None:
        if self._error is not None:
            raise self._error


def _fail(message: str, cause: Exception | None) -> NoReturn:
    raise AssertionError(message) from cause


def _listed(events: tuple[Event, ...]) -> str:
    return "".join(f"\n  {event!r}" for event in events) or "no event"


def _stored(events: tuple[Event, ...]) -> tuple[Event, ...]:
    types = EventTypes()
    return tuple(types.decode(EventRecord("test", *types.encode(event), recorded_at=0)) for event in events)
