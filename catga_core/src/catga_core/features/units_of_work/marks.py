"""`@own_units_of_work`: a handler that decides for itself what is one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

H = TypeVar("H", bound=Callable[..., Any])

_MARK = "__catga_own_units_of_work__"


def own_units_of_work(handler: H) -> H:
    """Have no unit of work put around a command's handler, whatever the options say; it opens those it needs itself.

    For a handler that asks other services in the middle, since a unit of work that has written may keep others from writing
    until it ends; and for one whose failed results are to be kept, since a failed result rolls a unit of work back. What it
    publishes outside of a unit of work is sent at once.

    Parameters:
        handler: the handler's class, whose derived classes are marked too, or the function. Where the command is done
            once for each key, its result is recorded after the handler, not together with what that has written.

    Raises:
        TypeError: for what is no handler.
    """
    given: object = handler  # a caller without a type checker may give anything
    if not callable(given):
        msg = (
            f"@own_units_of_work is for handlers, not for a {type(given).__name__}: put it above class or def"
        )
        raise TypeError(msg)
    setattr(handler, _MARK, True)
    return handler


def has_own_units_of_work(handler: Any) -> bool:
    """Tell whether a handler opens its units of work itself.

    Parameters:
        handler: a class or a function.
    """
    return getattr(handler, _MARK, False) is True
