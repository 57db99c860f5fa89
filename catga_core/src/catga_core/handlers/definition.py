"""What is known of a handler when it is registered: its message, its result, whether they fit."""

from __future__ import annotations

import collections.abc
import inspect
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from catga_core.errors import ConfigurationError
from catga_core.handlers.bases import EventHandler, RequestHandler, StreamHandler
from catga_core.handlers.calling import check_function, check_method
from catga_core.handlers.fitting import fits
from catga_core.handlers.handled import handled_by, members_of, with_article
from catga_core.handlers.hints import hints_of, shown, with_place
from catga_core.messages import MessageKind, MessageType, type_argument
from catga_core.messages.encodable import make_all_readable
from catga_core.messages.results import CatgaResult

_BASES: dict[type[Any], frozenset[MessageKind]] = {
    RequestHandler: frozenset({MessageKind.COMMAND, MessageKind.QUERY}),
    EventHandler: frozenset({MessageKind.EVENT}),
    StreamHandler: frozenset({MessageKind.STREAM}),
}
_ITERATORS = (
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
)


class HandlerDefinition(msgspec.Struct, frozen=True):
    """One registered handler.

    Args:
        target: The class or the function.
        function: What runs: the class's `handle`, or the function.
        message_type: What it handles.
        consumer: The consumer of the log that it belongs to, by kind and name, such as `projection:totals`; empty for a
            handler that messages are sent to.
    """

    target: Any
    function: Any
    message_type: MessageType
    consumer: str = ""

    @property
    def name(self) -> str:
        """The handler's own name."""
        return str(self.target.__name__)

    @property
    def is_class(self) -> bool:
        """Whether the container makes objects of it."""
        return isinstance(self.target, type)


def define_handlers(target: Any, names: Mapping[str, Any]) -> list[HandlerDefinition]:
    """Work out what a handler handles and check that its result fits its message's.

    Args:
        target: A class with a `handle` method, or a function whose first parameter is the message.
        names: What is in sight where it is registered.

    Returns:
        One definition for each message class that it names, several for a union.

    Raises:
        ConfigurationError: Naming the handler, the cause and the fix.
    """
    function = _function_of(target)
    try:
        hints = hints_of(function, names)
    except NameError as cause:
        hints = {}
        unresolved: NameError | None = cause
    else:
        unresolved = None
    declared, declared_result = _from_base(target)
    parameter = _message_parameter(target, function)
    annotated = hints.get(parameter)
    message_class = declared if declared is not None else annotated
    if message_class is None:
        raise ConfigurationError(_unknown_message(target, parameter, unresolved))
    if declared is not None and not _takes(annotated, declared):
        msg = (
            f"{_named(target)} is declared for {shown(declared)}, but its handle takes {shown(annotated)}: "
            "write the same message in both places"
        )
        raise ConfigurationError(msg)
    try:
        several = handled_by(message_class)
    except TypeError as cause:
        msg = f"{_named(target)} cannot handle {shown(message_class)}: {cause}"
        raise ConfigurationError(msg) from None
    make_all_readable([each.cls for each in several], names)
    returned = hints.get("return", inspect.Parameter.empty)
    for handled in several:
        _check_kind(target, handled)
        _check_stream(target, function, handled)
        _check_result(target, handled, declared_result, returned)
    return [HandlerDefinition(target, function, handled) for handled in several]


def _takes(annotated: Any, declared: Any) -> bool:
    """Tell whether a `handle` with this annotation takes all that its class is declared for."""
    if annotated is None or annotated is Any or isinstance(annotated, TypeVar):
        return True
    taken = tuple(each for each in members_of(annotated) if isinstance(each, type))
    return annotated == declared or all(
        isinstance(each, type) and issubclass(each, taken) for each in members_of(declared)
    )


def _function_of(target: Any) -> Any:
    if isinstance(target, type):
        function = getattr(target, "handle", None)
        if function is None or not callable(function):
            msg = (
                f"{_named(target)} has no handle method: derive it from RequestHandler[Message, Result], "
                "EventHandler[Event] or StreamHandler[Query, Item]"
            )
            raise ConfigurationError(msg)
        if getattr(function, "__isabstractmethod__", False):
            msg = f"{_named(target)} does not implement handle: write async def handle(self, message)"
            raise ConfigurationError(msg)
    elif inspect.isfunction(target):
        function = target
    else:
        kind = type(target).__name__
        if issubclass(type(target), (list, tuple, set, frozenset)):
            fix = "give them one by one: add_handlers(*handlers)"
        elif isinstance(get_origin(target), type):
            fix = f"derive a class, class My{get_origin(target).__name__}({shown(target)}), and give that"
        else:
            fix = "give a class with a handle method, or a function"
        msg = f"{kind} object {target!r} is not a handler: {fix}"
        raise ConfigurationError(msg)
    if not inspect.iscoroutinefunction(function) and not inspect.isasyncgenfunction(function):
        # A wrapper may hide what it wraps; only what is plainly synchronous is refused.
        plain = inspect.unwrap(function)
        if inspect.isfunction(plain) and plain is function and not _returns_iterator(plain):
            msg = f"{_named(target)} is not asynchronous: write async def"
            raise ConfigurationError(msg)
    return function


def _returns_iterator(function: Any) -> bool:
    annotation = function.__annotations__.get("return", "")
    return "Async" in annotation if isinstance(annotation, str) else get_origin(annotation) in _ITERATORS


def _from_base(target: Any) -> tuple[Any, Any]:
    if isinstance(target, type):
        for base in _BASES:
            if issubclass(target, base):
                found = type_argument(target, base, 0)
                result = type_argument(target, base, 1)
                return (
                    None if isinstance(found, TypeVar) else found,
                    None if isinstance(result, TypeVar) else result,
                )
    return None, None


def _message_parameter(target: Any, function: Any) -> str:
    parameters = list(inspect.signature(inspect.unwrap(function)).parameters)
    position = 1 if isinstance(target, type) else 0
    if position and isinstance(inspect.getattr_static(target, "handle"), (staticmethod, classmethod)):
        msg = f"{_named(target)} has a handle without self: write async def handle(self, message)"
        raise ConfigurationError(msg)
    if len(parameters) <= position:
        msg = f"{_named(target)} takes no message: its first parameter is the message it handles"
        raise ConfigurationError(msg)
    if isinstance(target, type):
        check_method(target, "handle", ("message",))
    else:
        # Its other parameters are services.
        check_function(_named(target), function, ("message",), partly=True)
    return parameters[position]


def _unknown_message(target: Any, parameter: str, unresolved: NameError | None) -> str:
    if unresolved is not None:
        return (
            f"{_named(target)} has an annotation that cannot be resolved ({unresolved}): "
            "define the type before the handler is registered"
        )
    return (
        f"{_named(target)} does not say what it handles: annotate {parameter!r} with the message's class, "
        "or derive from RequestHandler[Message, Result]"
    )


def _check_kind(target: Any, handled: MessageType) -> None:
    if not isinstance(target, type):
        return
    for base, kinds in _BASES.items():
        if issubclass(target, base) and handled.kind not in kinds:
            right = next(other for other, fitting in _BASES.items() if handled.kind in fitting)
            kind = "a stream query" if handled.kind is MessageKind.STREAM else with_article(handled.kind)
            msg = (
                f"{_named(target)} derives from {base.__name__}, but {with_place(shown(handled.cls), handled.cls)} is {kind}: "
                f"derive from {right.__name__}"
            )
            raise ConfigurationError(msg)


def _check_stream(target: Any, function: Any, handled: MessageType) -> None:
    if handled.kind is MessageKind.STREAM and inspect.iscoroutinefunction(function):
        msg = (
            f"{_named(target)} has to be awaited before it gives any item: yield the items in it, "
            "or write def instead of async def and return an async iterator"
        )
        raise ConfigurationError(msg)
    if handled.kind is not MessageKind.STREAM and inspect.isasyncgenfunction(function):
        msg = (
            f"{_named(target)} yields, but {shown(handled.cls)} is {with_article(handled.kind)}, which has one result: "
            "return it, or derive the message from StreamQuery"
        )
        raise ConfigurationError(msg)


def _check_result(target: Any, handled: MessageType, declared: Any, returned: Any) -> None:
    """Check both places where a result is declared."""
    if handled.kind is MessageKind.EVENT:
        return
    if declared is not None and not fits(declared, handled.result):
        raise ConfigurationError(_misfit(target, handled, declared))
    if returned is inspect.Parameter.empty:
        return
    if handled.kind is MessageKind.STREAM:
        item = get_args(returned)[0] if get_origin(returned) in _ITERATORS and get_args(returned) else Any
        if not fits(item, handled.result):
            raise ConfigurationError(_misfit(target, handled, item))
        return
    parts = _results(returned)
    if not all(fits(part, handled.result) for part in parts):
        raise ConfigurationError(_misfit(target, handled, Union[tuple(parts)]))  # noqa: UP007 - made at run time


def _results(annotation: Any) -> list[Any]:
    """Return the types of result that a handler's return annotation names, each out of its `CatgaResult`."""
    members = get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)
    found: list[Any] = []
    for member in members:
        origin = get_origin(member) or member
        wrapped = isinstance(origin, type) and issubclass(origin, CatgaResult)
        found.append((get_args(member) or (Any,))[0] if wrapped else member)
    return found


def _misfit(target: Any, handled: MessageType, found: Any) -> str:
    expected = shown(handled.result)
    base = {"command": "Command", "query": "Query", "stream": "StreamQuery"}[handled.kind]
    return (
        f"{_named(target)} answers with {shown(found)}, but {with_place(handled.cls.__name__, handled.cls)} is a "
        f"{base}[{expected}]: return {expected}, or declare class {handled.cls.__name__}({base}[{shown(found)}])"
    )


def _named(target: Any) -> str:
    return with_place(getattr(target, "__qualname__", type(target).__name__).split("<locals>.")[-1], target)
