"""Links behaviors and handler into one call, once for each handler; what is not configured is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from catga_core.messages.results import CatgaResult
from catga_core.pipeline.call import Call, Chain, Fail
from catga_core.pipeline.failures import as_result, reported_failure_of
from catga_core.pipeline.linked import Behave, Linked, link
from catga_core.pipeline.returned import UNCHECKED, Returned, finishing
from catga_core.pipeline.scoped import in_scope
from catga_core.pipeline.supply import Prepare, Supply
from catga_core.runtime.cancellation import passes_through
from catga_core.runtime.scope import Scope, active_scope


class BoundBehavior(msgspec.Struct, frozen=True):
    """One behavior of a pipeline.

    Args:
        name: The behavior's name, for errors.
        supply: Where its object comes from.
        code: The code of its `handle`, by which a traceback tells that it raised; `None` where it is not known.
    """

    name: str
    supply: Supply
    code: object = None


class BoundHandler(msgspec.Struct, frozen=True):
    """The end of a pipeline.

    Args:
        name: The handler's name, for errors.
        supply: Gives what is called with the message.
    """

    name: str
    supply: Supply


class Pipeline(msgspec.Struct, frozen=True):
    """A compiled pipeline, in the parts that a dispatch puts together.

    Args:
        name: The handler's name, for errors.
        bare: The handler alone, where there is nothing else: no behavior and no scope; else `None`.
        chain: The whole, always there; it gives a result and raises nothing but cancellation.
        fail: Turns what is raised into a result.
        returned: What the handler may return, for who calls `bare`.
        linked: The parts of `chain`, where behaviors and nothing else are around the handler; else `None`.
        prepare: What a stream awaits in its scope before it calls `chain`; everywhere else `chain` does so itself.
    """

    name: str
    bare: Call | None
    chain: Chain
    fail: Fail
    prepare: tuple[Prepare, ...] = ()
    linked: Linked | None = None
    returned: Returned = UNCHECKED


def compile_pipeline(
    handler: BoundHandler,
    behaviors: Sequence[BoundBehavior],
    *,
    stream: bool = False,
    returned: Returned = UNCHECKED,
    fail: Fail = reported_failure_of,
    fail_outside: Fail = reported_failure_of,
) -> Pipeline:
    """Link a handler and the behaviors around it.

    Args:
        handler: The end of the pipeline.
        behaviors: From the outside in.
        stream: The handler gives an async iterator, and its reader keeps the scope.
        returned: What the handler may return.
        fail: Turns what handler and behaviors raise into a result; not the reporting one where another part reports.
        fail_outside: The same for what the scope raises, outside of every behavior.
    """
    name = handler.name
    call = _opening(_call_of(handler.supply)) if stream else _call_of(handler.supply)
    scoped = handler.supply.scoped or any(each.supply.scoped for each in behaviors)
    if not behaviors and not scoped:
        return Pipeline(name, call, _guard(call, name, fail, returned), fail, returned=returned)
    linked = (
        link(
            [(each.name, _behavior_of(each.supply)) for each in behaviors],
            call,
            name,
            fail,
            _names_of_code(behaviors),
            returned,
        )
        if behaviors
        else None
    )
    chain = _guard(call, name, fail, returned) if linked is None else linked.chain
    if not scoped:
        return Pipeline(name, None, chain, fail, linked=linked)
    needed = (*handler.supply.prepare, *(step for each in behaviors for step in each.supply.prepare))
    prepare = tuple(dict.fromkeys(needed))
    if stream:
        return Pipeline(name, None, chain, fail, prepare)
    make = _ignoring_scope(chain) if behaviors else handler.supply.make
    finish = as_result if behaviors else finishing(returned)
    return Pipeline(name, None, in_scope(make, prepare, name, fail_outside, finish), fail_outside)


def _call_of(supply: Supply) -> Call:
    make = supply.make
    if supply.constant:
        return make(None)  # type: ignore[no-any-return]
    if supply.scoped:
        return lambda message: make(active_scope.get())(message)  # noqa: PLW0108 - a new one for each message
    return lambda message: make(None)(message)  # noqa: PLW0108 - as above


def _opening(call: Any) -> Call:
    async def opened(message: Any) -> Any:
        return call(message)

    return opened


def _behavior_of(supply: Supply) -> Behave:
    make = supply.make
    if supply.constant:
        return make(None).handle  # type: ignore[no-any-return]
    if supply.scoped:
        return lambda message, rest: make(active_scope.get()).handle(message, rest)
    return lambda message, rest: make(None).handle(message, rest)


def _names_of_code(behaviors: Sequence[BoundBehavior]) -> dict[object, str]:
    names: dict[object, str] = {}
    for each in behaviors:
        if each.code is not None:
            # Behaviors may inherit one `handle`: then they cannot be distinguished.
            known = names.get(each.code)
            names[each.code] = each.name if known is None else f"{known} or {each.name}"
    return names


def _guard(call: Call, name: str, fail: Fail, returned: Returned) -> Chain:
    finish = returned.finish

    async def guarded(message: Any) -> CatgaResult[Any]:
        try:
            return finish(await call(message))
        except BaseException as error:  # every outcome but cancellation is a result
            if passes_through(error):
                raise
            return fail(error, name)

    return guarded


def _ignoring_scope(chain: Chain) -> Callable[[Scope], Chain]:
    # Behaviors and handler find the scope by its variable.
    return lambda _scope: chain
