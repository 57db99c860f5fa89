"""`@idempotent`: a command that is done once, however often it comes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, overload

import msgspec

from catga_core.messages import Command

C = TypeVar("C", bound="Command[Any]")

_MARK = "__catga_idempotent__"


class IdempotencyRule(msgspec.Struct, frozen=True):
    """How a command is recognised when it comes again.

    Parameters:
        key: gives what the same command has in common; `None` for its message id.
        ttl: seconds its result is remembered; `None` for the container's `idempotency_ttl_seconds`.
        compare: whether the same key with another content is refused.
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
    """Have a command done once for each key; who sends it again gets the result of the first time.

    Written bare, `@idempotent`, or with options, `@idempotent(ttl=60)`. It holds for the classes derived from it too, each of which has keys of its own.

    Parameters:
        cls: the command, where there are no options.
        key: gives the command's key, not empty, such as `lambda command: command.order_id`; `None` takes the message id,
            which the sender keeps the same with `message_id=`.
        ttl: seconds the result is remembered; `None` for the container's `idempotency_ttl_seconds`.
        compare: refuse the same key with another content (`CONFLICT`, not retryable). With `False` what else is in the
            command does not matter.

    Raises:
        TypeError: for what is no command.
        ValueError: for a ttl that is no time.
    """
    # `Any` in the key: a type checker sees the lambda before the class that it will be given objects of.
    if ttl is not None and not (_is_number(ttl) and ttl > 0 and math.isfinite(ttl)):
        msg = f"ttl={ttl!r} is no time to remember a result: use seconds above 0, or None"
        raise ValueError(msg)

    def mark(cls: type[C]) -> type[C]:
        given: object = cls
        if not (isinstance(given, type) and issubclass(given, Command)):
            msg = (
                f"{getattr(given, '__name__', given)} is no command: only what changes something is done once, "
                "so derive it from Command[R]"
            )
            raise TypeError(msg)
        setattr(cls, _MARK, IdempotencyRule(key, ttl, compare))
        return cls

    return mark if cls is None else mark(cls)


def _is_number(given: object) -> bool:
    return isinstance(given, int | float)


def idempotency_rule(cls: type[Any]) -> IdempotencyRule | None:
    """Return how a command class is recognised, `None` where it is not marked.

    Parameters:
        cls: a message class.
    """
    return getattr(cls, _MARK, None)
