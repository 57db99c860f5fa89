"""`@idempotent`: deduplicate a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

import msgspec

from catga_core.descriptions import with_place
from catga_core.errors import DeclarationError
from catga_core.messages import Command
from catga_core.option_checks import MOST_SECONDS, check_seconds

C = TypeVar("C", bound="Command[Any]")

_MARK = "__catga_idempotent__"


class IdempotencyRule(msgspec.Struct, frozen=True):
    """How a duplicate of a command is recognized.

    Args:
        key: Returns the idempotency key; `None` for the message id.
        ttl: Seconds that the result is kept; `None` for the container's `idempotency_ttl_seconds`.
        compare: Whether the same key with other content is refused.
    """

    key: Callable[[Any], str] | None = None
    ttl: float | None = None
    compare: bool = True


@overload
def idempotent(cls: type[C], /) -> type[C]: ...
@overload
def idempotent(
    *, key: Callable[[Any], str] | None = None, ttl: float | None = None, compare: bool = True
) -> Callable[[type[C]], type[C]]: ...
def idempotent(
    cls: type[C] | None = None,
    /,
    *,
    key: Callable[[Any], str] | None = None,
    ttl: float | None = None,
    compare: bool = True,
) -> type[C] | Callable[[type[C]], type[C]]:
    """Deduplicate a command by its key; duplicates receive the recorded result.

    Written without options, `@idempotent`, or with options, `@idempotent(ttl=60)`. Derived classes inherit the mark; each
    class has its own keys.

    Args:
        cls: The command's class, where there are no options.
        key: Returns the idempotency key, not empty, such as `lambda command: command.order_id`; `None` uses the message
            id, which the sender repeats with `message_id=`.
        ttl: Seconds that the result is kept; `None` for the container's `idempotency_ttl_seconds`.
        compare: Whether to refuse the same key with other content (`CONFLICT`, not retryable).

    Returns:
        The marked class, or a decorator.

    Raises:
        DeclarationError: The class is not a command, `key` is not a function, or `ttl` is out of range.
    """
    try:
        check_seconds("ttl", ttl, most=MOST_SECONDS, optional=True)
    except (TypeError, ValueError) as error:
        raise DeclarationError(str(error)) from None

    # `Any` in the key: a type checker sees the lambda before the class that it will be given objects of.
    def mark(cls: type[C]) -> type[C]:
        given: object = cls
        if not (isinstance(given, type) and issubclass(given, Command)):
            msg = (
                f"@idempotent requires a command class; got {_placed(given)}. "
                "Derive the class from Command[R], or remove the decorator."
            )
            raise DeclarationError(msg)
        function: object = key  # a caller without a type checker may give anything
        if function is not None and not callable(function):
            msg = f"{_placed(cls)}: key of @idempotent must be a function of the command; got {key!r}. Pass a lambda."
            raise DeclarationError(msg)
        setattr(cls, _MARK, IdempotencyRule(key, ttl, compare))
        return cls

    return mark if cls is None else mark(cls)


def _placed(cls: Any) -> str:
    return with_place(getattr(cls, "__name__", repr(cls)), cls)


def idempotency_rule(cls: type[Any]) -> IdempotencyRule | None:
    """Return the rule of a command class, `None` where it is not marked.

    Args:
        cls: A message class.
    """
    return getattr(cls, _MARK, None)
