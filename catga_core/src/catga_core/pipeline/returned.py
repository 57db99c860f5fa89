"""How what a handler returned becomes a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from catga_core.codecs.checks import INLINE_NAMES, Steps, compiled
from catga_core.messages.results import CatgaResult, Success
from catga_core.pipeline.failures import as_result


class Returned(msgspec.Struct, frozen=True):
    """What a handler may return.

    Args:
        finish: Makes a result of any value.
        steps: What a right value passes, to be written out where it is returned; `None` where every value is right.
    """

    finish: Callable[[Any], CatgaResult[Any]]
    steps: Steps | None = None

    @property
    def names(self) -> dict[str, Any]:
        """What the statements of `returning` use."""
        steps = {} if self.steps is None else {**INLINE_NAMES, **self.steps.names}
        return {**steps, "finish": self.finish}


def returning(returned: Returned) -> list[str]:
    """Return the statements, for code that is written out, that make a result of `v`."""
    if returned.steps is None:
        return ["return as_result(v) if v.__class__ in NOT_BARE_VALUES else Success(v)"]
    return [
        *(line.replace("{fail}", "return finish(v)") for line in returned.steps.lines),
        "return Success(v)",
    ]


def finishing(returned: Returned) -> Callable[[Any], CatgaResult[Any]]:
    """Return a function that does what the statements of `returning` do; a right value costs no other call.

    Args:
        returned: What the handler may return.
    """
    if returned.steps is None:
        return returned.finish
    made: Any = compiled("v", returning(returned), {**returned.names, "Success": Success})
    return made  # type: ignore[no-any-return]  # it returns what Success and finish do


UNCHECKED = Returned(as_result)
"""Every value is a success, and a result stays as it is."""
