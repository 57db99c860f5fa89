"""Errors for messages that the mediator refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from catga_core.descriptions import with_module
from catga_core.errors import CatgaError, HandlerNotFoundError, InternalError, Outcome, TransportError
from catga_core.log import EVENT_NOT_MATCHED, logger
from catga_core.messages import MessageKind, MessageType, message_type
from catga_core.messages.results import CatgaResult, Failure
from catga_core.pipeline.call import Chain

REQUESTS = frozenset({MessageKind.COMMAND, MessageKind.QUERY})
EVENTS = frozenset({MessageKind.EVENT})
STREAMS = frozenset({MessageKind.STREAM})


def expect(cls: type[Any], kinds: frozenset[MessageKind], expectation: str) -> MessageType:
    """Return a message class's description.

    Args:
        cls: The class of the argument.
        kinds: The kinds of message that the call accepts.
        expectation: The first clause of the error's text, as `publish() takes an Event`.

    Raises:
        TypeError: The argument is not a message of one of these kinds.
    """
    if issubclass(cls, type):
        msg = f"{expectation}; got a class. Pass a message, such as CreateOrder(...)."
        raise TypeError(msg)
    described = message_type(cls)
    if described.kind not in kinds:
        call = {"event": "publish()", "stream": "stream()"}.get(described.kind, "send()")
        kind = {"event": "an event", "stream": "a stream query"}.get(described.kind, f"a {described.kind}")
        msg = f"{expectation}; got {described.name}, which is {kind}. Use {call}."
        raise TypeError(msg)
    return described


def answer(fail: Callable[[], CatgaError]) -> Chain:
    """Return a chain that answers every message with an error.

    Args:
        fail: Creates the error of one message; a shared error would collect the tracebacks of every `unwrap()`.
    """

    async def refused(_message: Any) -> CatgaResult[Any]:
        return Failure(fail())

    return refused


def not_running(described: MessageType, service: str, *, ended: bool) -> CatgaError:
    """Return the error for a message to a container that is not running."""
    state, fix = (
        ("has stopped", "Send before the running() block ends.")
        if ended
        else ("is not running", "Send inside `async with catga.running()`.")
    )
    return InternalError(f"{described.name} was not sent: {service} {state}. {fix}", outcome=Outcome.NOT_SENT)


def elsewhere(described: MessageType, service: str, problem: str) -> CatgaError:
    """Return the error for a message that is sent in another event loop than the container's."""
    return InternalError(f"{described.name} was not sent: {service} {problem}", outcome=Outcome.NOT_SENT)


def stopped(described: MessageType, service: str) -> CatgaError:
    """Return the error for a message that is delivered to a container that has stopped."""
    return TransportError(
        f"{described.name} was not handled: {service} has stopped. Retry; another replica may handle it.",
        outcome=Outcome.NOT_STARTED,
    )


def no_handler(described: MessageType, service: str, namesake: type[Any] | None = None) -> CatgaError:
    """Return the error for a request or stream query without a handler in a container without a transport that carries it.

    Args:
        described: The request or stream query.
        service: The container's service name.
        namesake: Another class of the same name that has a handler, `None` for none.
    """
    carrier = "transport that carries streams" if described.kind is MessageKind.STREAM else "transport"
    text = (
        f"No handler is registered for {described.name} in {service} and no {carrier} is configured. Register one with "
        f"add_handlers(...), or add a {carrier}."
    )
    if namesake is not None:
        text = (
            f"No handler is registered for {with_module(described.cls)} in {service}, but one is for another class of that "
            f"name, {with_module(namesake)}. Within one process messages are matched by class: send the handled class, or "
            "register a handler for the other one."
        )
    return HandlerNotFoundError(
        text,
        outcome=Outcome.NOT_STARTED,
        details={"message": described.name, "version": described.version},
    )


def warn_of_namesake(described: MessageType, namesake: type[Any] | None) -> None:
    """Log that an event reaches no handler, because these are registered for another class of its name.

    Args:
        described: The event.
        namesake: The other class, `None` for none.
    """
    if namesake is not None:
        logger().warning(
            EVENT_NOT_MATCHED, published=with_module(described.cls), handled=with_module(namesake)
        )
