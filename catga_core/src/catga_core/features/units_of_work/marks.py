"""`@own_units_of_work`: opt a handler out of the automatic unit of work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from catga_core.errors import DeclarationError

H = TypeVar("H", bound=Callable[..., Any])

_MARK = "__catga_own_units_of_work__"


def own_units_of_work(handler: H) -> H:
    """Opt this command handler out of the automatic unit of work; it opens its own.

    For a handler that calls other services between writes, because a unit of work that has written may block other
    writers until it ends; and for one whose writes must survive a failed result, which would roll a unit of work back.
    Events that it publishes outside of a unit of work are sent at once.

    Args:
        handler: The handler's class, whose derived classes are marked too, or the function. The result of an idempotent
            command is then recorded after the handler, not in the same transaction.

    Returns:
        The handler.

    Raises:
        DeclarationError: The object is not a handler.
    """
    given: object = handler  # a caller without a type checker may pass anything
    if not callable(given):
        msg = (
            f"@own_units_of_work requires a handler class or function; got a {type(given).__name__}. "
            "Put it above class or def."
        )
        raise DeclarationError(msg)
    setattr(handler, _MARK, True)
    return handler


def has_own_units_of_work(handler: Any) -> bool:
    """Return whether a handler opens its own units of work.

    Args:
        handler: A class or a function.
    """
    return getattr(handler, _MARK, False) is True
