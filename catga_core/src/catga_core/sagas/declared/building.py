"""The functions that make the parts of a declared saga."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_type_hints

from catga_core.descriptions import shown
from catga_core.errors import DeclarationError
from catga_core.messages import Command, Event
from catga_core.option_checks import check_name, check_seconds
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas.declared.filling import filled
from catga_core.sagas.declared.parts import (
    ChildPart,
    CommitPart,
    ParallelPart,
    PublishPart,
    SagaPart,
    SequencePart,
    SleepPart,
    StepPart,
    WaitPart,
    WhenPart,
)
from catga_core.sagas.declared.values import SagaValues
from catga_core.sagas.saga import Saga

if TYPE_CHECKING:
    from catga_core.sagas.declared.definition import SagaDefinition

D = TypeVar("D")
T = TypeVar("T")
C = TypeVar("C")
E = TypeVar("E", bound=Event)


def step(
    name: str,
    command: type[Command[T]] | Callable[[SagaValues[D]], Command[T]],
    *,
    compensate: type[Command[Any]] | Callable[[SagaValues[D], T], Command[Any]] | None = None,
    retry: RetryPolicy | None = None,
    timeout: float | None = None,
) -> SagaPart[D]:
    """Declare a step that sends a command, locally or to another process.

    A command class is filled by field name from the saga's data; a compensating command class is filled from the
    step's result, the command that was sent and the data, in this order of precedence.

    Args:
        name: Its name, unique in the saga; its result is `values[name]` from then on.
        command: The command's class, or a function that returns the command, given the values.
        compensate: The class of the command that undoes it, or a function that returns that command, given the values and the
            step's result.
        retry: The retry policy; default: the saga's.
        timeout: Seconds for one attempt; default: the saga's.

    Raises:
        DeclarationError: An argument is invalid.
    """
    check = _Checked(f"step({name!r})")
    check.name(name)
    check.seconds("timeout", timeout)
    sends = check.message("command", command, Command)
    undoes = None if compensate is None else check.message("compensate", compensate, Command)
    make: Any = filled(command) if isinstance(command, type) else command
    undo: Any = None
    if compensate is not None:
        undo = _filled_undo(compensate) if isinstance(compensate, type) else _called_undo(compensate)
    return StepPart(
        name=name,
        make=_of_data(make) if isinstance(command, type) else make,
        undo=undo,
        sends=sends,
        undoes=undoes,
        fills=isinstance(command, type),
        fills_undo=isinstance(compensate, type),
        retry=retry,
        timeout=timeout,
    )


def publish(name: str, event: type[Event] | Callable[[SagaValues[D]], Event]) -> SagaPart[D]:
    """Declare a step that publishes an event.

    Args:
        name: The step's name, unique in the saga.
        event: The event's class, filled like a command class, or a function that returns the event, given the values.

    Raises:
        DeclarationError: An argument is invalid.
    """
    check = _Checked(f"publish({name!r})")
    check.name(name)
    publishes = check.message("event", event, Event)
    fills = isinstance(event, type)
    make: Any = _of_data(filled(event)) if isinstance(event, type) else event
    return PublishPart(name=name, make=make, publishes=publishes, fills=fills)


def parallel(*branches: SagaPart[D], on_failure: Literal["wait", "cancel"] = "wait") -> SagaPart[D]:
    """Declare branches that run concurrently.

    Args:
        branches: The branches; `sequence` combines several parts into one branch.
        on_failure: As in `SagaContext.gather`.

    Raises:
        DeclarationError: An argument is invalid.
    """
    check = _Checked("parallel()")
    if on_failure not in {"wait", "cancel"}:
        check.fail(f"on_failure must be 'wait' or 'cancel'; got {on_failure!r}.")
    return ParallelPart(branches=check.parts(branches), on_failure=on_failure)


def sequence(*parts: SagaPart[D]) -> SagaPart[D]:
    """Declare sequential parts, as one branch of `parallel`.

    Args:
        parts: The parts.

    Raises:
        DeclarationError: An argument is invalid.
    """
    return SequencePart(parts=_Checked("sequence()").parts(parts))


def when(
    condition: Callable[[SagaValues[D]], bool], *parts: SagaPart[D], otherwise: Sequence[SagaPart[D]] = ()
) -> SagaPart[D]:
    """Declare conditional parts.

    Args:
        condition: Returns whether `parts` run, given the values; must return the same for the same values.
        parts: The parts that run if it returns `True`.
        otherwise: The parts that run if it returns `False`.

    Raises:
        DeclarationError: An argument is invalid.
    """
    check = _Checked("when()")
    check.function("condition", condition)
    then = check.parts(parts)
    return WhenPart(condition=condition, then=then, otherwise=check.parts(otherwise, least=0))


def sleep(
    seconds: float | timedelta | Callable[[SagaValues[D]], float | timedelta] | None = None,
    *,
    until: Callable[[SagaValues[D]], datetime] | None = None,
) -> SagaPart[D]:
    """Declare a sleep that survives process restarts.

    Args:
        seconds: The duration, in seconds or as a `timedelta`, or a function that returns the duration, given the values.
        until: Instead of `seconds`, a function that returns the end, timezone-aware, given the values.

    Raises:
        DeclarationError: An argument is invalid.
    """
    check = _Checked("sleep()")
    if (seconds is None) is (until is None):
        check.fail(
            "it takes seconds or until=, one of the two. Pass sleep(60), or sleep(until=lambda values: ...)."
        )
    if until is not None:
        check.function("until", until)
    elif callable(seconds):
        check.function("seconds", seconds)
    else:
        check.seconds("seconds", seconds)
    return SleepPart(seconds=seconds, until=until)


def wait_for(
    event: type[E],
    *,
    key: str | Callable[[SagaValues[D]], object],
    event_key: str | Callable[[E], object] | None = None,
    timeout: float | timedelta | None = None,
    name: str | None = None,
) -> SagaPart[D]:
    """Declare a wait for an event that survives process restarts.

    Args:
        event: The event's class.
        key: The field of the saga's data that is the event's key, or a function that returns the key, given the values.
        event_key: The field of the event that is its key, or a function that returns it; default: the field that `key` names.
        timeout: The longest wait, in seconds or as a `timedelta`, before the saga fails with `TIMEOUT`; `None` for no limit.
        name: The key of the event in the values; default: the name of its class.

    Raises:
        DeclarationError: An argument is invalid.
    """
    given: Any = event
    check = _Checked(f"wait_for({getattr(given, '__name__', given)!r})")
    if not (isinstance(given, type) and issubclass(given, Event)):
        check.fail(
            f"event must be the class of an event; got {shown(given)}. Pass a class that derives from Event."
        )
    check.seconds("timeout", timeout)
    known = event.__name__ if name is None else name
    check.name(known)
    of: Any = event_key
    if of is None:
        if not isinstance(key, str):
            check.fail(
                "event_key is missing: it gives the key of an event. Pass a field of the event, or a function."
            )
        of = key
    for what, each in (("key", key), ("event_key", of)):
        if not isinstance(each, str):
            check.function(what, each)
    if isinstance(of, str) and of not in event.__struct_fields__:
        check.fail(
            f"{event.__name__} has no field {of!r}. Pass event_key=, a field of the event or a function."
        )
    return WaitPart(
        name=known,
        event=event,
        key=_of_data(attrgetter(key)) if isinstance(key, str) else key,
        event_key=attrgetter(of) if isinstance(of, str) else of,
        timeout=timeout,
        key_field=key if isinstance(key, str) else None,
        event_field=of if isinstance(of, str) else None,
    )


def child(
    name: str,
    saga: type[Saga[C, Any]] | SagaDefinition[C, Any],
    data: Callable[[SagaValues[D]], C],
    *,
    compensate: bool = True,
) -> SagaPart[D]:
    """Declare a child saga as a step.

    Args:
        name: The step's name, unique in the saga; the child's result is `values[name]` from then on.
        saga: The other saga's class or definition, registered with `add_sagas`.
        data: Returns its data, given the values.
        compensate: Whether the child is compensated when this saga fails later.

    Raises:
        DeclarationError: An argument is invalid.
    """
    from catga_core.sagas.declared.definition import SagaDefinition

    check = _Checked(f"child({name!r})")
    check.name(name)
    given: Any = saga
    is_class = isinstance(given, type) and issubclass(given, Saga)
    if not is_class and not isinstance(given, SagaDefinition):
        check.fail(f"it takes a class that derives from Saga, or a SagaDefinition; got {shown(given)}.")
    check.function("data", data)
    return ChildPart(name=name, saga=saga, data=data, compensate=compensate)


def commit_point() -> SagaPart[Any]:
    """Declare the commit point: later steps are retried until they succeed."""
    return CommitPart()


class _Checked:
    """Checks the arguments of one part.

    Args:
        where: The call, for errors.
    """

    def __init__(self, where: str) -> None:
        self._where = where

    def fail(self, text: str) -> None:
        msg = f"{self._where}: {text}"
        raise DeclarationError(msg) from None

    def name(self, name: object) -> None:
        try:
            check_name("name", name)
        except (ValueError, TypeError) as error:
            self.fail(str(error))

    def seconds(self, name: str, given: float | timedelta | None) -> None:
        try:
            seconds = given.total_seconds() if isinstance(given, timedelta) else given
            check_seconds(name, seconds, least=0, optional=True)
        except (ValueError, TypeError) as error:
            self.fail(str(error))

    def function(self, name: str, given: object) -> None:
        if not callable(given) or isinstance(given, type):
            self.fail(f"{name} must be a function; got {given!r}. Pass one, such as lambda values: ...")
        if inspect.iscoroutinefunction(given):
            self.fail(
                f"{name} must be a plain function, because it runs again after a crash; got an async one. Use a step."
            )

    def message(self, name: str, given: Any, base: type[Any]) -> Any:
        """Return the class of the message, `None` if a function does not declare it."""
        kind = base.__name__
        if isinstance(given, type):
            if not issubclass(given, base):
                self.fail(
                    f"{name} must be a class that derives from {kind}, or a function; got {shown(given)}."
                )
            return given
        self.function(name, given)
        returns: Any = None
        # An unreadable annotation counts as none.
        with suppress(Exception):
            returns = get_type_hints(given).get("return")
        return returns if isinstance(returns, type) and issubclass(returns, base) else None

    def parts(self, given: Sequence[Any], least: int = 1) -> tuple[Any, ...]:
        for each in given:
            if not isinstance(each, SagaPart):
                self.fail(
                    f"{shown_part(each)} is not a part of a saga. Make one with step(...), parallel(...) or when(...)."
                )
        if len(given) < least:
            self.fail("it has no parts. Pass one or more, such as step(...).")
        return tuple(given)


def shown_part(given: object) -> str:
    """Return the text of an invalid part, for errors."""
    return shown(given) if isinstance(given, type) else repr(given)


def _of_data(make: Callable[[Any], Any]) -> Callable[[SagaValues[Any]], Any]:
    return lambda values: make(values.data)


def _filled_undo(cls: type[Command[Any]]) -> Callable[[Any, Any, SagaValues[Any]], Any]:
    make = filled(cls)
    return lambda result, command, values: make(result, command, values.data)


def _called_undo(compensate: Callable[[Any, Any], Any]) -> Callable[[Any, Any, SagaValues[Any]], Any]:
    return lambda result, _command, values: compensate(values, result)
