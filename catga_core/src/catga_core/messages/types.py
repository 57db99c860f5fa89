"""What is said: commands, queries, stream queries and events, and the wire name and version of each."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from types import SimpleNamespace
from typing import Any, Generic, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

import msgspec

from catga_core.descriptions import with_place
from catga_core.errors import DeclarationError
from catga_core.messages.class_changes import class_changes
from catga_core.messages.delivery import Delivery
from catga_core.option_checks import MOST_COUNT, check_count

R = TypeVar("R")
T = TypeVar("T")
M = TypeVar("M", bound="Message")


# For type checkers: what derives from it is frozen as well, without saying so, as it is at run time.
@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Message(msgspec.Struct, frozen=True):
    """The base of everything that is sent or published; derive from one of its four kinds."""

    def __init_subclass__(cls) -> None:
        """Note that there is a new message class. An override must call `super().__init_subclass__()`."""
        super().__init_subclass__()
        class_changes.note()


class Request(Message, Generic[R], frozen=True):
    """A message with exactly one handler and one result of type `R`: a `Command` or a `Query`."""


class Command(Request[R], Generic[R], frozen=True):
    """A request to change something; its handler answers with an `R`."""


class Query(Request[R], Generic[R], frozen=True):
    """A request to read something; its handler answers with an `R` and changes nothing."""


class StreamQuery(Message, Generic[T], frozen=True):
    """A question that is answered with many `T`, one after the other, as they are asked for."""


class Event(Message, frozen=True):
    """A fact that has happened; any number of handlers may react to it."""


class MessageKind(StrEnum):
    """What sort of message a class is."""

    COMMAND = "command"
    QUERY = "query"
    STREAM = "stream"
    EVENT = "event"


class MessageType(msgspec.Struct, frozen=True):
    """The facts of one message class.

    Args:
        cls: The class.
        name: Its stable name on the wire.
        version: Its version on the wire, from 1.
        kind: Command, query, stream or event.
        result: The type its handler answers with (each item's type for a stream, `None` for an event).
        context: Whether a `MessageContext` is bound while it is handled.
        delivery: How often it takes effect, `None` where the class does not declare it.
    """

    cls: type[Message]
    name: str
    version: int
    kind: MessageKind
    result: Any
    context: bool = True
    delivery: Delivery | None = None

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


_KINDS: dict[type[Message], MessageKind] = {
    Command: MessageKind.COMMAND,
    Query: MessageKind.QUERY,
    StreamQuery: MessageKind.STREAM,
    Event: MessageKind.EVENT,
}
_NAMED = "__catga_name__"
_TYPE = "__catga_type__"


def message(
    *,
    name: str | None = None,
    version: int = 1,
    context: bool = True,
    delivery: Delivery | str | None = None,
) -> Callable[[type[M]], type[M]]:
    """Give a message class a stable wire name and version.

    Without it a class is known by its own name and version 1. The name is what travels and what is stored,
    never the Python path, so a class can move and be renamed.

    Args:
        name: Letters, digits, `_`, `-` and `.` (dots divide words); `None` keeps the class's name.
        version: From 1; raise it when old readers can no longer read what new writers send.
        context: `False` handles messages of this type without a `MessageContext`, which saves about a quarter of a
            microsecond each: messages sent by its handler then begin conversations of their own, and
            `current_context()` raises `LookupError` in it. A subclass has the default again.
        delivery: How often the message takes effect, such as `Delivery.AT_LEAST_ONCE` or `"at_least_once"`; `None` leaves it to
            the container (`QueueOptions.delivery`). For events and commands; a subclass has the default again.

    Raises:
        DeclarationError: For a name or a version that cannot travel, a `context` that is not a bool, a class that is not a
            message, and an array_like class of a version above 1, which nothing could be upcast to. An error of the name or
            the class names the class with its file and line.
    """
    try:
        check_count("version", version, most=MOST_COUNT)
        _check_context(context)
    except (TypeError, ValueError) as error:
        raise DeclarationError(str(error)) from None

    chosen = None if delivery is None else _delivery(delivery)

    def mark(cls: type[M]) -> type[M]:
        if name is not None:
            try:
                check_wire_name(name)
            except DeclarationError as error:
                msg = f"{_placed(cls)}: {error}"
                raise DeclarationError(msg) from None
        if not _is_message(cls):
            raise DeclarationError(_not_a_message(cls))
        if version > 1 and cls.__struct_config__.array_like:
            raise DeclarationError(no_upcasting(cls, version))
        setattr(cls, _NAMED, (name or cls.__name__, version, context, chosen))
        if _TYPE in cls.__dict__:
            delattr(cls, _TYPE)
        class_changes.note()
        return cls

    return mark


def _placed(cls: Any) -> str:
    return with_place(getattr(cls, "__name__", repr(cls)), cls)


def _is_message(cls: object) -> bool:
    return isinstance(cls, type) and issubclass(cls, Message)


def _check_context(context: object) -> None:
    if not isinstance(context, bool):
        msg = f"context must be True or False; got {context!r}."
        raise TypeError(msg)


def _check_delivery(cls: type[Any], kind: MessageKind, delivery: Delivery | None) -> None:
    if delivery is None or kind is MessageKind.EVENT:
        return
    if kind is MessageKind.COMMAND and delivery is not Delivery.AT_MOST_ONCE:
        return
    accepted = "at_least_once or exactly_once" if kind is MessageKind.COMMAND else "no delivery"
    msg = f"{cls.__name__} is a {kind} with delivery={delivery.value!r}; a {kind} takes {accepted}. Remove delivery=."
    raise DeclarationError(msg)


def _delivery(delivery: object) -> Delivery:
    try:
        return Delivery(delivery)  # type: ignore[arg-type]  # refused below where it is not one
    except ValueError:
        known = ", ".join(f"Delivery.{each.name}" for each in Delivery)
        msg = f"delivery must be one of {known}, or None; got {delivery!r}."
        raise DeclarationError(msg) from None


def no_upcasting(cls: type[Any], version: int) -> str:
    """Return the error text for an array_like message class that older messages would have to be converted to."""
    return (
        f"{with_place(cls.__name__, cls)} is array_like, so its bytes have no field names, and no upcaster could convert older "
        f"messages to v{version}. Remove array_like=True, or give the new class another name and keep the old one."
    )


def message_type(cls: type[Any]) -> MessageType:
    """Return the facts of a message class; they are worked out once.

    Args:
        cls: A class derived from `Command[R]`, `Query[R]`, `StreamQuery[T]` or `Event`.

    Raises:
        TypeError: For any other class, or one whose result type is missing.
    """
    known: MessageType | None = cls.__dict__.get(_TYPE)
    if known is None:
        known = _describe(cls)
        setattr(cls, _TYPE, known)
    return known


def wire_name(cls: type[Any]) -> tuple[str, int]:
    """Return the wire name and version of a message class."""
    # Only the class's own mark counts: a subclass is another message and must not share its parent's name.
    name, version, *_ = cls.__dict__.get(_NAMED, (cls.__name__, 1, True, None))
    return name, version


def _describe(cls: Any) -> MessageType:
    bases = cls.__mro__[1:] if isinstance(cls, type) else ()
    base = next((base for base in _KINDS if base in bases), None)
    if base is None:
        raise TypeError(_not_a_message(cls))
    if "__dataclass_fields__" in cls.__dict__:
        msg = (
            f"{cls.__name__} is a message, which needs no @dataclass: its fields are those of a msgspec.Struct. Remove "
            "@dataclass."
        )
        raise TypeError(msg)
    # Only the class's own mark counts: a subclass is another message.
    name, version = wire_name(cls)
    _, _, context, delivery = cls.__dict__.get(_NAMED, (None, 1, True, None))
    kind = _KINDS[base]
    _check_delivery(cls, kind, delivery)
    result = None if kind is MessageKind.EVENT else _result_of(cls, base, kind)
    return MessageType(cls, name, version, kind, result, context, delivery)


def _not_a_message(cls: Any) -> str:
    name = getattr(cls, "__name__", cls)
    text = f"{name} is not a message: derive it from Command[R], Query[R], StreamQuery[T] or Event"
    foreign = ""
    if isinstance(cls, type):
        if "__dataclass_fields__" in cls.__dict__:
            foreign = "a dataclass"
        elif hasattr(cls, "__pydantic_fields__"):
            foreign = "a pydantic model"
    if not foreign:
        return text
    return f"{text}. It is {foreign}: write class {name}(Command[R]) with the same fields, or make it a field of a message"


def _result_of(cls: type[Any], kind_base: type[Any], kind: MessageKind) -> Any:
    found = type_argument(cls, kind_base)
    if found is None or isinstance(found, TypeVar):
        base = kind_base.__name__
        letter = "T" if kind is MessageKind.STREAM else "R"
        msg = (
            f"{cls.__name__} does not say what it is answered with: "
            f"write class {cls.__name__}({base}[YourResult]) instead of {base} without [{letter}]"
        )
        raise TypeError(msg)
    return _resolved(cls, found)


def _resolved(cls: type[Any], found: Any) -> Any:
    """Return a type argument with the names in it replaced by the types of the class's module, as far as it has them."""
    holder: Any = SimpleNamespace(__annotations__={"it": found})
    names = vars(sys.modules.get(cls.__module__, SimpleNamespace()))
    try:
        return get_type_hints(holder, names, include_extras=True)["it"]
    except Exception:  # noqa: BLE001 - unresolvable names are reported when the class is registered
        return found


def type_argument(cls: type[Any], base: type[Any], index: int = 0) -> Any:
    """Return what a class puts in for a type parameter of one of its generic bases.

    Args:
        cls: The class to look at; parameters are followed through generic classes in between.
        base: The generic base.
        index: Which of the base's parameters, from 0.

    Returns:
        The argument, a `TypeVar` where it was left open, or `None` where the base is not parameterised.
    """
    # Only its own: inherited, the bases of one parent would hide the others.
    for entry in cls.__dict__.get("__orig_bases__", cls.__bases__):
        origin = get_origin(entry) or entry
        if not (isinstance(origin, type) and issubclass(origin, base)):
            continue
        arguments = get_args(entry)
        if origin is base:
            return arguments[index] if index < len(arguments) else None
        inner = type_argument(origin, base, index)
        parameters: tuple[Any, ...] = getattr(origin, "__parameters__", ())
        if arguments:
            inner = _filled(inner, dict(zip(parameters, arguments, strict=False)))
        if inner is not None:
            return inner
    return None


def _filled(type_: Any, arguments: dict[Any, Any]) -> Any:
    """Put arguments in for the type parameters of a type, also within one such as `list[T]`."""
    if isinstance(type_, TypeVar):
        return arguments.get(type_, type_)
    if isinstance(type_, type):
        return type_
    inner: tuple[Any, ...] = getattr(type_, "__parameters__", ())
    return type_[tuple(arguments.get(each, each) for each in inner)] if inner else type_


def check_wire_name(name: str) -> None:
    """Refuse what cannot be a message's wire name.

    Raises:
        DeclarationError: Telling what can.
    """
    given: object = name
    if not isinstance(given, str):
        msg = f"a message's wire name must be a str, such as 'orders.create'; got {given!r}."
        raise DeclarationError(msg)
    words = name.split(".")
    if not all(
        word and word.replace("_", "").replace("-", "").isalnum() and word.isascii() for word in words
    ):
        msg = (
            f"{name!r} cannot be a message's wire name: use ASCII letters, digits, '_' and '-', "
            "with single dots between words, such as 'orders.create'"
        )
        raise DeclarationError(msg)
