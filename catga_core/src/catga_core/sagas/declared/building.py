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
    """Declare a step: a command that is sent, here or to another process.

    A class is filled by the names of its fields, from those of the saga's data; one that compensates, from those of the
    step's result, the command that was sent and the data, the first that has a name first.

    Args:
        name: Its name, unique in the saga; its result is `values[name]` from then on.
        command: The command's class, or a function that returns the command, given the values.
        compensate: The class of the command that undoes it, or a function that returns that command, given the values and the
            step's result.
        retry: When it is tried again; default: the saga's.
        timeout: Seconds for one attempt; default: the saga's.

    Raises:
        DeclarationError: An argument is not possible.
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
    """Declare an event that is published as a step.

    Args:
        name: The step's name, unique in the saga.
        event: The event's class, filled as a command's, or a function that returns the event, given the values.

    Raises:
        DeclarationError: An argument is not possible.
    """
    check = _Checked(f"publish({name!r})")
    check.name(name)
    publishes = check.message("event", event, Event)
    fills = isinstance(event, type)
    make: Any = _of_data(filled(event)) if isinstance(event, type) else event
    return PublishPart(name=name, make=make, publishes=publishes, fills=fills)


def parallel(*branches: SagaPart[D], on_failure: Literal["wait", "cancel"] = "wait") -> SagaPart[D]:
    """Declare parts that run at the same time; each is a branch, and `sequence` makes one of several parts.

    Args:
        branches: The branches.
        on_failure: As in `SagaContext.gather`.

    Raises:
        DeclarationError: An argument is not possible.
    """
    check = _Checked("parallel()")
    if on_failure not in {"wait", "cancel"}:
        check.fail(f"on_failure must be 'wait' or 'cancel'; got {on_failure!r}.")
    return ParallelPart(branches=check.parts(branches), on_failure=on_failure)


def sequence(*parts: SagaPart[D]) -> SagaPart[D]:
    """Declare parts that run one after the other, as one branch of `parallel`.

    Args:
        parts: The parts.

    Raises:
        DeclarationError: An argument is not possible.
    """
    return SequencePart(parts=_Checked("sequence()").parts(parts))


def when(
    condition: Callable[[SagaValues[D]], bool], *parts: SagaPart[D], otherwise: Sequence[SagaPart[D]] = ()
) -> SagaPart[D]:
    """Declare parts that run on a condition.

    Args:
        condition: Returns whether they run, given the values; the same each time it is asked with the same values.
        parts: What runs where it returns `True`.
        otherwise: What runs where it returns `False`.

    Raises:
        DeclarationError: An argument is not possible.
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
    """Declare a pause, of seconds or months.

    Args:
        seconds: How long, in seconds or as a `timedelta`, or a function that returns that, given the values.
        until: In place of `seconds`, a function that returns the time at which it ends, timezone-aware, given the values.

    Raises:
        DeclarationError: An argument is not possible.
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
    """Declare a wait for an event, for seconds or months.

    Args:
        event: The event's class.
        key: The field of the saga's data that is the event's key, or a function that returns the key, given the values.
        event_key: The field of the event that is its key, or a function that returns it; default: the field that `key` names.
        timeout: Seconds, or a `timedelta`, after which the saga fails with `TIMEOUT`; `None` for no limit.
        name: What the event is known by in the values; default: the name of its class.

    Raises:
        DeclarationError: An argument is not possible.
    """
    given: Any = event
    check = _Checked(f"wait_for({getattr(given, '__name__', given)!r})")
    if not (isinstance(given, type) and issubclass(given, Event)):
        check.fail(f"it takes the class of an event; got {shown(given)}.")
    check.seconds("timeout", timeout)
    known = event.__name__ if name is None else name
    check.name(known)
    of: Any = event_key
    if of is None:
        if not isinstance(key, str):
            check.fail(
                "event_key is missing: how an event's key is found. Pass a field of the event, or a function."
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
    """Declare another saga as a step, under an id of its own.

    Args:
        name: The step's name, unique in the saga; the child's result is `values[name]` from then on.
        saga: The other saga's class or definition, registered with `add_sagas`.
        data: Returns what it begins with, given the values.
        compensate: Whether it is compensated when this saga fails later.

    Raises:
        DeclarationError: An argument is not possible.
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
    """Declare the point of no return: behind it, steps are retried until they succeed, and nothing is compensated."""
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
        """Return the message class that is sent, `None` where a function does not declare it."""
        kind = base.__name__
        if isinstance(given, type):
            if not issubclass(given, base):
                self.fail(
                    f"{name} must be a class that derives from {kind}, or a function; got {shown(given)}."
                )
            return given
        self.function(name, given)
        returns: Any = None
        # An annotation that cannot be read declares nothing, as no annotation.
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
    """Return what was given in place of a part, for errors."""
    return shown(given) if isinstance(given, type) else repr(given)


def _of_data(make: Callable[[Any], Any]) -> Callable[[SagaValues[Any]], Any]:
    return lambda values: make(values.data)


def _filled_undo(cls: type[Command[Any]]) -> Callable[[Any, Any, SagaValues[Any]], Any]:
    make = filled(cls)
    return lambda result, command, values: make(result, command, values.data)


def _called_undo(compensate: Callable[[Any, Any], Any]) -> Callable[[Any, Any, SagaValues[Any]], Any]:
    return lambda result, _command, values: compensate(values, result)
