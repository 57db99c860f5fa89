"""What may be said beside a message, and the check of what is said."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypedDict

from catga_core.clock import Clock
from catga_core.messages.context import begin_context
from catga_core.messages.message_context import MessageContext
from catga_core.messages.peer_texts import text_problem
from catga_core.option_checks import check_name, check_seconds, is_text


class SendOptions(TypedDict, total=False):
    """What may be said beside a request.

    Args:
        timeout: Seconds after which the sender no longer waits for the answer; never later than the surrounding deadline.
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
        ValueError: `timeout` is not a finite number >= 0.
    """
    for name in options:
        if name not in allowed:
            msg = f"{call}() got the unknown option {name!r}. Use one of {', '.join(sorted(allowed))}."
            raise TypeError(msg)
    timeout = options.get("timeout")
    if timeout is not None:
        if not isinstance(timeout, (int, float)) or isinstance(timeout, bool):
            msg = f"timeout must be a number of seconds or None; got {timeout!r}. Pass None for no limit."
            raise TypeError(msg)
        check_seconds("timeout", timeout, least=0, optional=True)
    message_id = options.get("message_id")
    if message_id is not None:
        if not (isinstance(message_id, str) and message_id):
            msg = f"message_id must be a non-empty str or None; got {message_id!r}. Pass None for a new id."
            raise TypeError(msg)
        check_name("message_id", message_id)
        problem = text_problem(message_id)
        if problem is not None:
            msg = f"message_id {problem}"
            raise ValueError(msg)
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
        ValueError: `timeout` is not a finite number >= 0.
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
        msg = f"headers must be a mapping of str to str; got a {type(headers).__name__}. Pass a dict."
        raise TypeError(msg)
    given: Mapping[Any, Any] = headers  # pyright: ignore[reportUnknownVariableType]
    for name, value in given.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            msg = f"The header {name!r} must be a str; got a {type(value).__name__}. Convert names and values to str."
            raise TypeError(msg)
        if not (is_text(name) and is_text(value)):
            msg = f"The header {name!r} must be text that can be encoded; got {value!r}. Remove the lone surrogate."
            raise ValueError(msg)


SEND = frozenset(SendOptions.__annotations__)
PUBLISH = frozenset(PublishOptions.__annotations__)
BATCH = SEND - {"message_id"}
