"""How what a handler returned becomes a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from catga_core.messages.results import CatgaResult
from catga_core.pipeline.failures import as_result


class Returned(msgspec.Struct, frozen=True):
    """What a handler may return.

    Args:
        good: The classes whose values are a success as they are: one look-up is all that a right value costs.
        finish: Makes a result of any other value.
    """

    good: frozenset[type[Any]]
    finish: Callable[[Any], CatgaResult[Any]]


def returning(returned: Returned) -> str:
    """Return the statement, for code that is written out, that makes a result of `value`."""
    if returned is UNCHECKED:
        return "return as_result(value) if value.__class__ in NOT_BARE_VALUES else Success(value)"
    return "return Success(value) if value.__class__ in good else finish(value)"


UNCHECKED = Returned(frozenset(), as_result)
"""Every value is a success, and a result stays as it is."""
