"""Links behaviors and handler into one call, once for each message type; what is not needed is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from catga_core.messages.results import CatgaResult, Success
from catga_core.pipeline.failures import as_result, reported_failure_of
from catga_core.pipeline.linked import Behave, link
from catga_core.pipeline.scoped import in_scope
from catga_core.pipeline.supply import Prepare, Supply
from catga_core.pipeline.way import Call, Chain, Fail, Way
from catga_core.runtime.scope import Scope, active_scope


class Stage(msgspec.Struct, frozen=True):
    """One behavior of a pipeline.

    Parameters:
        name: the behavior's name, for errors.
        supply: where its object comes from.
        may_suspend: whether it may wait for anything but the rest of the pipeline.
    """

    name: str
    supply: Supply
    may_suspend: bool


class HandlerStage(msgspec.Struct, frozen=True):
    """The end of a pipeline.

    Parameters:
        name: the handler's name, for errors.
        supply: gives what is called with the message.
        plain: whether it can only return bare values.
        may_suspend: whether it may wait for anything.
    """

    name: str
    supply: Supply
    plain: bool
    may_suspend: bool


class Pipeline(msgspec.Struct, frozen=True):
    """A linked pipeline, in the parts that a dispatch puts together.

    Parameters:
        bare: the handler alone, where there is nothing else: no behavior and no scope; else `None`.
        wrap: makes what `bare` returns into a result.
        chain: the whole, always there; it gives a result and raises nothing but cancellation.
        name: the handler's name, for errors.
        may_suspend: whether any part may wait.
        fail: makes what is raised into a result.
        prepare: what a stream awaits in its scope before it calls `chain`; everywhere else `chain` does so itself.
        way: the movable form of `chain` that needs no counting by the dispatch; else `None`.
    """

    bare: Call | None
    wrap: Callable[[Any], CatgaResult[Any]]
    chain: Chain
    name: str
    may_suspend: bool
    fail: Fail
    prepare: tuple[Prepare, ...] = ()
    way: Way | None = None


def compile_pipeline(
    handler: HandlerStage,
    behaviors: Sequence[Stage],
    *,
    stream: bool = False,
    fail: Fail = reported_failure_of,
    fail_outside: Fail = reported_failure_of,
) -> Pipeline:
    """Link a handler and the behaviors around it.

    Parameters:
        handler: the innermost stage.
        behaviors: from the outside in.
        stream: the handler gives an async iterator, and whoever reads it keeps the scope.
        fail: makes what handler and behaviors raise into a result; not the reporting one where someone else reports.
        fail_outside: the same for what the scope raises, outside of every behavior.
    """
    call = _opening(_call_of(handler.supply)) if stream else _call_of(handler.supply)
    wrap: Callable[[Any], CatgaResult[Any]] = Success if handler.plain else as_result
    core = _guard(call, wrap, handler.name, fail)
    scoped = handler.supply.scoped or any(stage.supply.scoped for stage in behaviors)
    suspends = handler.may_suspend or any(stage.may_suspend for stage in behaviors)
    name = handler.name
    if not behaviors and not scoped:
        return Pipeline(call, wrap, core, name, suspends, fail)
    way: Way | None = None
    if behaviors:
        way = link([(stage.name, _behavior_of(stage.supply)) for stage in behaviors], call, wrap, name, fail)
        linked = way.call
    else:
        linked = core
    if scoped:
        needed = (*handler.supply.prepare, *(each for stage in behaviors for each in stage.supply.prepare))
        prepare = tuple(dict.fromkeys(needed))
        if stream:
            return Pipeline(None, wrap, linked, name, may_suspend=True, fail=fail, prepare=prepare)
        run = _ignoring_scope(linked) if behaviors else handler.supply.make
        way = in_scope(run, _same if behaviors else wrap, prepare, name, fail_outside)
        return Pipeline(None, wrap, way.call, name, may_suspend=True, fail=fail_outside, way=way)
    # What may wait has to be counted, and that is the dispatch's affair.
    return Pipeline(None, wrap, linked, name, suspends, fail, way=None if suspends else way)


def _call_of(supply: Supply) -> Call:
    make = supply.make
    if supply.constant:
        return make(None)  # type: ignore[no-any-return]
    if supply.scoped:
        return lambda message: make(active_scope.get())(message)  # noqa: PLW0108 - made anew for each message
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


def _same(result: CatgaResult[Any]) -> CatgaResult[Any]:
    return result


def _guard(call: Call, wrap: Callable[[Any], CatgaResult[Any]], name: str, fail: Fail) -> Chain:
    async def guarded(message: Any) -> CatgaResult[Any]:
        try:
            return wrap(await call(message))
        except Exception as error:  # noqa: BLE001 - every outcome but cancellation is a result
            return fail(error, name)

    return guarded


def _ignoring_scope(chain: Chain) -> Callable[[Scope], Chain]:
    # Behaviors and handler find the scope by its variable.
    return lambda _scope: chain
