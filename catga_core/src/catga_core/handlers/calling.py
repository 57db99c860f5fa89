"""Whether a method can be called with what Catga passes to it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from catga_core.errors import ConfigurationError
from catga_core.handlers.hints import with_place


def check_method(cls: type[Any], name: str, given: Sequence[str]) -> None:
    """Check that a method takes so many positional arguments, and requires no others.

    Args:
        cls: The class.
        name: The method's name.
        given: What it is called with besides `self`, for the error.

    Raises:
        ConfigurationError: Naming the class, its file and line, and the parameter that does not fit.
    """
    if inspect.isfunction(function := inspect.getattr_static(cls, name)):
        check_function(with_place(cls.__qualname__.split("<locals>.")[-1], cls), function, ("self", *given))


def check_function(named: str, function: Any, given: Sequence[str], *, partly: bool = False) -> None:
    """Check that a function takes so many positional arguments, and requires no others.

    Args:
        named: What the error says is wrong, with its file and line.
        function: The function. Of one in a decorator, the decorator's own function is what is called.
        given: What it is called with, for the error.
        partly: Whether it is given further arguments by name.

    Raises:
        ConfigurationError: Naming the parameter that does not fit.
    """
    signature = inspect.signature(function, follow_wrapped=False)
    try:
        (signature.bind_partial if partly else signature.bind)(*given)
    except TypeError as misfit:
        call = f"{function.__name__}({', '.join(given)})"
        needs = "" if partly else " Take services in __init__, and give other parameters a default."
        msg = f"{named} cannot be called as {call}: {misfit}. Write async def {call}.{needs}"
        raise ConfigurationError(msg) from None
