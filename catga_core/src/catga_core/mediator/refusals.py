"""What the mediator says to messages it does not pass on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from catga_core.errors import CatgaError, ErrorCode
from catga_core.messages import MessageKind, MessageType, message_type
from catga_core.messages.results import CatgaResult, Failure
from catga_core.pipeline.call import Chain

REQUESTS = frozenset({MessageKind.COMMAND, MessageKind.QUERY})
EVENTS = frozenset({MessageKind.EVENT})
STREAMS = frozenset({MessageKind.STREAM})


def expect(cls: type[Any], kinds: frozenset[MessageKind], expectation: str) -> MessageType:
    """Return the facts of a message's class.

    Args:
        cls: The class of what was given.
        kinds: What is possible here.
        expectation: The beginning of the error's text.

    Raises:
        TypeError: For anything else, saying what to do with it.
    """
    if issubclass(cls, type):
        msg = f"{expectation}, and a class was given instead of a message: make one, such as CreateOrder(...)"
        raise TypeError(msg)
    described = message_type(cls)
    if described.kind not in kinds:
        mend = {"event": "publish() it", "stream": "stream() it"}.get(described.kind, "send() it")
        kind = {"event": "an event", "stream": "a stream query"}.get(described.kind, f"a {described.kind}")
        msg = f"{expectation}, and {described.name} is {kind}: {mend}"
        raise TypeError(msg)
    return described


def answer(fail: Callable[[], CatgaError]) -> Chain:
    """Return a call that answers every message with an error.

    Args:
        fail: Makes the error, one of its own for each message: raised by unwrap(), a shared one would gather their
            tracebacks.
    """

    async def refused(_message: Any) -> CatgaResult[Any]:
        return Failure(fail())

    return refused


def not_running(described: MessageType, service: str, *, ended: bool) -> CatgaError:
    """Return the error for a message to a container that takes none."""
    state, mend = (
        ("has stopped", "send before the running() block is left")
        if ended
        else ("is not running", "send inside of `async with catga.running()`")
    )
    return CatgaError(
        f"{described.name} was not sent: {service} {state} and takes no messages; {mend}",
        code=ErrorCode.INTERNAL_ERROR,
        details={"outcome": "not_sent"},
    )


def stopped(described: MessageType, service: str) -> CatgaError:
    """Return the error for a message that is delivered to a container that has stopped."""
    return CatgaError(
        f"{described.name} was not handled: {service} has stopped; another replica may handle it",
        code=ErrorCode.TRANSPORT_FAILED,
        details={"outcome": "not_started"},
    )


def no_handler(described: MessageType, service: str) -> CatgaError:
    """Return the error for a request that nobody handles, where there is nobody else to ask."""
    return CatgaError(
        f"nobody handles {described.name} in {service}, and there is no transport to ask elsewhere: "
        "register a handler with add_handlers(...)",
        code=ErrorCode.HANDLER_NOT_FOUND,
        details={"message": described.name, "version": described.version, "outcome": "not_started"},
    )


def no_stream_handler(described: MessageType, service: str) -> CatgaError:
    """Return the error for a stream query that nobody answers."""
    return CatgaError(
        f"nobody answers {described.name} in {service}, and a stream is answered in the process that asks: "
        "register its handler here with add_handlers(...)",
        code=ErrorCode.HANDLER_NOT_FOUND,
        details={"message": described.name, "version": described.version},
    )
