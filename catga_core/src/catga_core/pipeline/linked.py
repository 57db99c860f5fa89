"""Links behaviors and handler by writing out, once for each message type, the code one would write by hand.

The names of the text are the globals of what it defines; as closures the same functions cost a twentieth more, and that
is what keeps three behaviors within 1.5 times three hand-nested awaits (docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from catga_core.handlers.hints import class_of
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.pipeline.behavior import Behavior
from catga_core.pipeline.failures import no_result
from catga_core.pipeline.way import Call, Chain, Fail, Way

Behave: TypeAlias = Callable[[Any, Any], Awaitable[CatgaResult[Any]]]

_CORE = """
async def rest_{last}(message):
    try:
        return wrap(await call(message))
    except Exception as error:
        return fail(error, handler)
"""
_LINK = """
def rest_{number}(message):
    return behavior_{number}(message, rest_{next})
"""
_DISPATCH = """
async def dispatch(message):
    try:
        result = await behavior_0(message, rest_1)
        if result.__class__ is Success or result.__class__ is Failure:
            return result
        return no_result(result, behaviors)
    except Exception as error:
        return fail(error, raised_by(error, outermost))
"""


def link(
    behaviors: Sequence[tuple[str, Behave]],
    call: Call,
    wrap: Callable[[Any], CatgaResult[Any]],
    handler: str,
    fail: Fail,
) -> Way:
    """Return the call that runs behaviors around a handler.

    Parameters:
        behaviors: each one's name and its `handle`, from the outside in; at least one.
        call: the handler.
        wrap: makes what the handler returns into a result.
        handler: its name, for errors.
        fail: makes what is raised into a result.
    """
    last = len(behaviors)
    text = _CORE.format(last=last)
    text += "".join(_LINK.format(number=number, next=number + 1) for number in range(1, last))
    text += _DISPATCH
    names: dict[str, Any] = {
        "wrap": wrap,
        "call": call,
        "fail": fail,
        "no_result": no_result,
        "Success": Success,
        "Failure": Failure,
        "behaviors": " or ".join(dict.fromkeys(name for name, _ in behaviors)),
        "raised_by": _raised_by,
        "handler": handler,
        "outermost": behaviors[0][0],
    }
    names |= {f"behavior_{number}": behave for number, (_, behave) in enumerate(behaviors)}
    # Nothing of the application is in the text: it is made of numbers alone.
    exec(compile(text, f"<pipeline of {handler}>", "exec"), names)  # noqa: S102

    def lay(target: Chain) -> None:
        def moved(message: Any, _rest: Chain) -> Awaitable[CatgaResult[Any]]:
            return target(message)

        names["behavior_0"] = moved

    return Way(names["dispatch"], lay, _none)


def _raised_by(error: Exception, outermost: str) -> str:
    """Return the name of the behavior that raised: the innermost one the error has come through."""
    name = outermost
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        owner: Any = frame.f_locals.get("self") if frame.f_code.co_name == "handle" else None
        cls: Any = class_of(owner)
        if issubclass(cls, Behavior):
            name = cls.__qualname__.split("<locals>.")[-1]
        trace = trace.tb_next
    return name


def _none() -> int:
    return 0
