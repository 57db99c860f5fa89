"""Links behaviors and handler by writing out, once for each message type, the code one would write by hand.

The names of the text are the globals of what it defines; as closures the same functions cost a twentieth more, and that
is what keeps three behaviors without a context within 1.8 times three hand-nested awaits (docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import CO_VARARGS, CO_VARKEYWORDS
from types import FunctionType, MethodType
from typing import Any, TypeAlias

import msgspec

from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.pipeline.call import Call, Chain, Fail
from catga_core.pipeline.failures import NOT_BARE_VALUES, as_result, no_result
from catga_core.pipeline.returned import UNCHECKED, Returned, returning
from catga_core.runtime.cancellation import passes_through

Behave: TypeAlias = Callable[[Any, Any], Awaitable[CatgaResult[Any]]]

_PARAMETERS = 3  # of a method `handle(self, message, next)`
_VARIADIC = CO_VARARGS | CO_VARKEYWORDS

_CORE = """
async def rest_{last}(message):
    try:
        v = await call(message)
        {returned}
    except Exception as error:
        return fail(error, handler)
    except BaseException as error:
        if passes_through(error):
            raise
        return fail(error, handler)
"""
_LINK = """
def rest_{number}(message):
    return behavior_{number}(message, rest_{next})
"""
_CHAIN = """
async def chain(message):
    try:
        result = await behavior_0(message, rest_1)
        return result if result.__class__ is Success or result.__class__ is Failure else wrong(result)
    except Exception as error:
        return failed(error)
    except BaseException as error:
        if passes_through(error):
            raise
        return failed(error)
"""


class Linked(msgspec.Struct, frozen=True):
    """Behaviors around a handler, whole and in the parts of which a dispatch makes one frame.

    Args:
        chain: The whole: it gives a result and raises nothing but cancellation.
        first: The `handle` of the outermost behavior; what it gives may be no result, and it may raise.
        rest: What it is given to go on.
        wrong: Gives the failure for a value that is not a result.
        fail: Gives the failure for what was raised.
    """

    chain: Chain
    first: Behave
    rest: Call
    wrong: Callable[[Any], CatgaResult[Any]]
    fail: Callable[[BaseException], CatgaResult[Any]]


def link(
    behaviors: Sequence[tuple[str, Behave]],
    call: Call,
    handler: str,
    fail: Fail,
    names_of_code: Mapping[object, str],
    returned: Returned = UNCHECKED,
) -> Linked:
    """Link behaviors around a handler.

    Args:
        behaviors: Each one's name and its `handle`, from the outside in; at least one.
        call: The handler.
        handler: Its name, for errors.
        fail: Turns what is raised into a result.
        returned: What the handler may return.
        names_of_code: The behaviors' names by the code of their `handle`, to name the one that raised.
    """
    last = len(behaviors)
    text = _CORE.format(last=last, returned="\n        ".join(returning(returned)))
    text += "".join(_LINK.format(number=number, next=number + 1) for number in range(1, last))
    text += _CHAIN
    names: dict[str, Any] = {
        "as_result": as_result,
        "NOT_BARE_VALUES": NOT_BARE_VALUES,
        **returned.names,
        "call": call,
        "fail": fail,
        "Success": Success,
        "Failure": Failure,
        "handler": handler,
        "passes_through": passes_through,
    }
    called = " or ".join(dict.fromkeys(name for name, _ in behaviors))
    raised_by = _namer(behaviors[0][0], names_of_code)

    def wrong(value: Any) -> CatgaResult[Any]:
        return no_result(value, called)

    def failed(error: BaseException) -> CatgaResult[Any]:
        return fail(error, raised_by(error))

    names |= {"wrong": wrong, "failed": failed}
    names |= {f"behavior_{number}": behave for number, (_, behave) in enumerate(behaviors)}
    # Nothing of the application is in the text: it consists of numbers alone.
    exec(compile(text, f"<pipeline of {handler}>", "exec"), names)  # noqa: S102
    for number in range(last - 1, 0, -1):
        shorter = _with_rest(behaviors[number][1], names[f"rest_{number + 1}"])
        if shorter is not None:
            names[f"rest_{number}"] = shorter
    return Linked(names["chain"], behaviors[0][1], names["rest_1"], wrong, failed)


def _with_rest(behave: Behave, rest: Call) -> Call | None:
    """Return a behavior's method with the rest of the pipeline as the default of its last parameter.

    It takes the place of `rest_N` in the text, a call less for each behavior: of the ratio between three behaviors and
    three hand-nested awaits that is 0.1 on Python 3.11 and 0.06 on 3.13 (docs/benchmarks.md).

    Args:
        behave: The behavior's `handle`.
        rest: What it is given to go on.

    Returns:
        The method, `None` where `handle` is anything but a method written in Python with two parameters and no defaults.
    """
    if not isinstance(behave, MethodType):
        return None
    function = behave.__func__
    if not isinstance(function, FunctionType) or function.__defaults__:
        return None
    code = function.__code__
    if code.co_argcount != _PARAMETERS or code.co_kwonlyargcount or code.co_flags & _VARIADIC:
        return None
    copy = FunctionType(code, function.__globals__, function.__name__, (rest,), function.__closure__)
    return MethodType(copy, behave.__self__)


def _namer(outermost: str, names_of_code: Mapping[object, str]) -> Callable[[BaseException], str]:
    """Return what names the behavior that raised: the innermost one that the error's traceback passed."""

    def raised_by(error: BaseException) -> str:
        name = outermost
        trace = error.__traceback__
        while trace is not None:
            name = names_of_code.get(trace.tb_frame.f_code, name)
            trace = trace.tb_next
        return name

    return raised_by
