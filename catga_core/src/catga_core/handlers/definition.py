"""What is known of a handler when it is registered: its message, its result, whether they fit."""

from __future__ import annotations

import collections.abc
import dis
import inspect
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from catga_core.errors import ConfigurationError
from catga_core.handlers.bases import EventHandler, RequestHandler, StreamHandler
from catga_core.handlers.fitting import fits
from catga_core.handlers.hints import hints_of, shown, with_place
from catga_core.messages import MessageKind, MessageType, message_type, type_argument
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

    Parameters:
        target: the class or the function.
        function: what runs: the class's `handle`, or the function.
        message_type: what it handles.
        plain: whether it can only return the bare value, never a `CatgaResult`, so that no look is needed.
        may_suspend: whether handling may wait for anything.
        sends: whether it may send further messages, by a mediator it was not given: whatever it awaits might.
    """

    target: Any
    function: Any
    message_type: MessageType
    plain: bool
    may_suspend: bool
    sends: bool

    @property
    def name(self) -> str:
        """The handler's own name."""
        return str(self.target.__name__)

    @property
    def is_class(self) -> bool:
        """Whether the container makes objects of it."""
        return isinstance(self.target, type)


def define_handler(target: Any, names: Mapping[str, Any]) -> HandlerDefinition:
    """Work out what a handler handles and check that its result fits its message's.

    Parameters:
        target: a class with a `handle` method, or a function whose first parameter is the message.
        names: what is in sight where it is registered.

    Raises:
        ConfigurationError: naming the handler, the cause and the mend.
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
    if annotated is not None and declared is not None and annotated is not declared:
        msg = (
            f"{_named(target)} is declared for {shown(declared)}, but its handle takes {shown(annotated)}: "
            "write the same message in both places"
        )
        raise ConfigurationError(msg)
    try:
        handled = message_type(message_class)
    except TypeError as cause:
        msg = f"{_named(target)} cannot handle {shown(message_class)}: {cause}"
        raise ConfigurationError(msg) from None
    _check_kind(target, handled)
    _check_stream(target, function, handled)
    returned = hints.get("return", inspect.Parameter.empty)
    plain = _check_result(target, handled, declared_result, returned)
    suspends = may_suspend(function)
    sends = suspends or _sends(function)
    # Code that waits for nothing may still return a result, or what it forgot to await: then each value is looked at.
    plain = plain and not sends and not _names_results(function) and not _names_coroutines(target, function)
    return HandlerDefinition(target, function, handled, plain, suspends, sends)


def may_suspend(function: Any, *, besides: str | None = None) -> bool:
    """Tell whether running a coroutine function may wait; `False` only where its code shows that it cannot.

    A coroutine without any `await` ends at its first step, so it needs neither a task nor counting
    (docs/decisions/0002).

    Parameters:
        function: a function or method.
        besides: the name of a parameter whose calls may be awaited: a behavior's `next`, which is judged by itself.
    """
    plain = getattr(function, "__func__", function)
    code = getattr(plain, "__code__", None)
    if code is None or not code.co_flags & inspect.CO_COROUTINE:
        return True
    steps = [step for step in dis.get_instructions(code) if step.opname not in _SILENT]
    for number, step in enumerate(steps):
        if step.opname in {"GET_AITER", "GET_ANEXT", "BEFORE_ASYNC_WITH"}:
            return True
        if step.opname == "GET_AWAITABLE" and not _calls(besides, steps[max(0, number - 3) : number]):
            return True
    return False


_SILENT = {"CACHE", "PUSH_NULL", "PRECALL", "RESUME", "NOP", "EXTENDED_ARG"}


def _calls(name: str | None, before: list[dis.Instruction]) -> bool:
    """Tell whether three instructions are `name(something)`, with something a plain local name."""
    if name is None or len(before) != 3:
        return False
    callee, argument, call = before
    loads = {"LOAD_FAST", "LOAD_FAST_BORROW"}
    return (
        callee.opname in loads
        and callee.argval == name
        and argument.opname in loads
        and call.opname == "CALL"
        and call.arg == 1
    )


_SENDING = {"mediator", "send", "send_batch", "sender", "publish", "publish_batch", "stream", "enqueue"}


def _sends(function: Any) -> bool:
    """Tell whether code that awaits nothing names a way to send, for a task it starts say."""
    plain = getattr(inspect.unwrap(function), "__func__", inspect.unwrap(function))
    code = getattr(plain, "__code__", None)
    waiting: list[types.CodeType] = [] if code is None else [code]
    while waiting:
        looked_at = waiting.pop()
        if not _SENDING.isdisjoint(looked_at.co_names):
            return True
        waiting += [each for each in looked_at.co_consts if isinstance(each, types.CodeType)]
    return False


def _names_results(function: Any) -> bool:
    # An annotation may be wrong; code that neither awaits nor names a result has none to return.
    code = getattr(function, "__func__", function).__code__
    return not {"CatgaResult", "Success", "Failure", "success", "failure"}.isdisjoint(code.co_names)


def _names_coroutines(target: Any, function: Any) -> bool:
    # Code that names what has to be awaited, and awaits nothing, may return it: worth a look at each result.
    plain = getattr(function, "__func__", function)
    names = plain.__code__.co_names
    named = [plain.__globals__.get(name) for name in names]
    if isinstance(target, type):
        named += [getattr(target, name, None) for name in names]
    try:
        named += [cell.cell_contents for cell in plain.__closure__ or ()]
    except ValueError:
        # A name around the function that has no value yet: it may get one of them.
        return True
    return any(inspect.iscoroutinefunction(each) for each in named)


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
        several = isinstance(target, (list, tuple, set, frozenset))
        mend = (
            "give them one by one: add_handlers(*handlers)"
            if several
            else "give a class with a handle method, or a function"
        )
        msg = f"{type(target).__name__} object {target!r} is no handler: {mend}"
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
    if len(parameters) <= position:
        msg = f"{_named(target)} takes no message: its first parameter is the message it handles"
        raise ConfigurationError(msg)
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
            msg = (
                f"{_named(target)} derives from {base.__name__}, but {shown(handled.cls)} is a {handled.kind}: "
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


def _check_result(target: Any, handled: MessageType, declared: Any, returned: Any) -> bool:
    """Check both places where a result is declared; return whether only bare values are."""
    if handled.kind is MessageKind.EVENT:
        return True
    if declared is not None and not fits(declared, handled.result):
        raise ConfigurationError(_misfit(target, handled, declared))
    if returned is inspect.Parameter.empty:
        return False
    if handled.kind is MessageKind.STREAM:
        item = get_args(returned)[0] if get_origin(returned) in _ITERATORS and get_args(returned) else Any
        if not fits(item, handled.result):
            raise ConfigurationError(_misfit(target, handled, item))
        return True
    wrapped, bare = _split(returned)
    for part in (*wrapped, *bare):
        if not fits(part, handled.result):
            raise ConfigurationError(_misfit(target, handled, part))
    return not wrapped and not any(
        part is Any or isinstance(part, TypeVar) or part is object for part in bare
    )


def _split(annotation: Any) -> tuple[list[Any], list[Any]]:
    members = get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)
    wrapped: list[Any] = []
    bare: list[Any] = []
    for member in members:
        origin = get_origin(member) or member
        if isinstance(origin, type) and issubclass(origin, CatgaResult):
            wrapped.append((get_args(member) or (Any,))[0])
        else:
            bare.append(member)
    return wrapped, bare


def _misfit(target: Any, handled: MessageType, found: Any) -> str:
    expected = shown(handled.result)
    base = {"command": "Command", "query": "Query", "stream": "StreamQuery"}[handled.kind]
    return (
        f"{_named(target)} answers with {shown(found)}, but {with_place(handled.cls.__name__, handled.cls)} is a "
        f"{base}[{expected}]: return {expected}, or declare class {handled.cls.__name__}({base}[{shown(found)}])"
    )


def _named(target: Any) -> str:
    return with_place(getattr(target, "__qualname__", type(target).__name__).split("<locals>.")[-1], target)
