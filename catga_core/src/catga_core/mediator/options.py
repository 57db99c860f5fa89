"""What may be said beside a message, and the check of what is said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypedDict

from catga_core.clock import Clock
from catga_core.messages.context import begin_context
from catga_core.messages.message_context import MessageContext


class SendOptions(TypedDict, total=False):
    """What may be said beside a request.

    Args:
        timeout: Seconds after which nobody waits for the answer any more; never later than the surrounding deadline.
        message_id: The message's identity; the same for every try of the same request.
        headers: Travel with this message and no further.
    """

    timeout: float | None
    message_id: str | None
    headers: Mapping[str, str] | None


class PublishOptions(TypedDict, total=False):
    """What may be said beside an event.

    Args:
        message_id: The event's identity; the same for every try of the same event.
        headers: Travel with this event and no further.
    """

    message_id: str | None
    headers: Mapping[str, str] | None


def check_options(call: str, options: Mapping[str, Any], allowed: frozenset[str]) -> None:
    """Refuse what would be ignored, or would fail only where the message travels.

    Args:
        call: What the caller called, for the error.
        options: As given.
        allowed: The names the call knows.

    Raises:
        TypeError: For an unknown name or a value of the wrong type.
        ValueError: For a timeout that is no time to wait.
    """
    for name in options:
        if name not in allowed:
            msg = f"{call}() has no option {name!r}: it takes {', '.join(sorted(allowed))}"
            raise TypeError(msg)
    timeout = options.get("timeout")
    if timeout is not None:
        if not isinstance(timeout, (int, float)) or isinstance(timeout, bool):
            msg = f"timeout={timeout!r} is no number of seconds: use a number, or None"
            raise TypeError(msg)
        if not (math.isfinite(timeout) and timeout >= 0):
            msg = f"timeout={timeout} is no time to wait: use seconds from now, or None for no limit"
            raise ValueError(msg)
    message_id = options.get("message_id")
    if message_id is not None and not (isinstance(message_id, str) and message_id):
        msg = (
            f"message_id={message_id!r} is no identity: use a string that is not empty, or None for a new one"
        )
        raise TypeError(msg)
    headers = options.get("headers")
    if headers is not None:
        _check_headers(headers)


def begin_context_with(call: str, options: SendOptions, clock: Clock) -> MessageContext:
    """Return the context of a request that is sent with options.

    Args:
        call: What the caller called, for the error.
        options: As given.
        clock: The timeout begins now by it.

    Raises:
        TypeError: For an unknown name or a value of the wrong type.
        ValueError: For a timeout that is no time to wait.
    """
    check_options(call, options, SEND)
    timeout = options.get("timeout")
    deadline = None if timeout is None else clock.time() + timeout
    headers = frozen(options.get("headers"))
    return begin_context(message_id=options.get("message_id"), deadline=deadline, headers=headers)


def frozen(headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Return headers as they are now, which neither the caller nor a handler can change any more."""
    return MappingProxyType(dict(headers)) if headers else None


def _check_headers(headers: object) -> None:
    if not isinstance(headers, Mapping):
        msg = f"headers are given as a mapping of strings, not as a {type(headers).__name__}"
        raise TypeError(msg)
    given: Mapping[Any, Any] = headers  # pyright: ignore[reportUnknownVariableType]
    for name, value in given.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            msg = f"the header {name!r} is a {type(value).__name__}: names and values of headers are strings"
            raise TypeError(msg)


SEND = frozenset(SendOptions.__annotations__)
PUBLISH = frozenset(PublishOptions.__annotations__)
BATCH = SEND - {"message_id"}
