"""Links behaviors and handler into one call, once for each message type; what is not needed is left out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeAlias

import msgspec

from catga_core.pipeline.failures import as_result, cause_of, failure_of
from catga_core.pipeline.supply import Prepare, Supply
from catga_core.results import CatgaResult, Success
from catga_core.scope import Scope, active_scope

Call: TypeAlias = Callable[[Any], Awaitable[Any]]
Chain: TypeAlias = Callable[[Any], Coroutine[Any, Any, CatgaResult[Any]]]


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
        first: the outermost behavior's `handle`, where there is no scope; else `None`.
        rest: what `first` calls as `next`.
        chain: the whole, always there; it gives a result and raises nothing but cancellation.
        name: the handler's name, for errors.
        may_suspend: whether any part may wait.
        prepare: what a stream awaits in its scope before it calls `chain`; everywhere else `chain` does so itself.
    """

    bare: Call | None
    wrap: Callable[[Any], CatgaResult[Any]]
    first: Callable[[Any, Any], Awaitable[CatgaResult[Any]]] | None
    rest: Any
    chain: Chain
    name: str
    may_suspend: bool
    prepare: tuple[Prepare, ...] = ()


def compile_pipeline(handler: HandlerStage, behaviors: Sequence[Stage], *, stream: bool = False) -> Pipeline:
    """Link a handler and the behaviors around it.

    Parameters:
        handler: the innermost stage.
        behaviors: from the outside in.
        stream: the handler gives an async iterator, and whoever reads it keeps the scope.
    """
    call = _opening(_call_of(handler.supply)) if stream else _call_of(handler.supply)
    wrap: Callable[[Any], CatgaResult[Any]] = Success if handler.plain else as_result
    core = _guard(call, wrap, handler.name)
    scoped = handler.supply.scoped or any(stage.supply.scoped for stage in behaviors)
    suspends = handler.may_suspend or any(stage.may_suspend for stage in behaviors)
    name = handler.name
    if not behaviors and not scoped:
        return Pipeline(call, wrap, None, None, core, name, suspends)
    rest: Any = core
    for stage in reversed(behaviors[1:]):
        rest = _link(_behavior_of(stage.supply), rest)
    if not behaviors:
        linked: Chain = core
        first = None
    else:
        first = _behavior_of(behaviors[0].supply)
        linked = _guard(_link(first, rest), as_result, behaviors[0].name)
    if scoped:
        needed = (*handler.supply.prepare, *(each for stage in behaviors for each in stage.supply.prepare))
        prepare = tuple(dict.fromkeys(needed))
        if stream:
            return Pipeline(None, wrap, None, None, linked, name, may_suspend=True, prepare=prepare)
        return Pipeline(None, wrap, None, None, _in_scope(linked, prepare, name), name, may_suspend=True)
    return Pipeline(None, wrap, first, rest, linked, name, suspends)


def _call_of(supply: Supply) -> Call:
    make = supply.make
    if supply.constant:
        return make(None)  # type: ignore[no-any-return]
    if supply.scoped:
        return lambda message: make(active_scope.get())(message)
    return lambda message: make(None)(message)


def _opening(call: Any) -> Call:
    async def opened(message: Any) -> Any:
        return call(message)

    return opened


def _behavior_of(supply: Supply) -> Callable[[Any, Any], Awaitable[CatgaResult[Any]]]:
    make = supply.make
    if supply.constant:
        return make(None).handle  # type: ignore[no-any-return]
    if supply.scoped:
        return lambda message, rest: make(active_scope.get()).handle(message, rest)
    return lambda message, rest: make(None).handle(message, rest)


def _link(behavior: Callable[[Any, Any], Awaitable[CatgaResult[Any]]], rest: Any) -> Any:
    # A lambda costs half of functools.partial here, and nothing is made per message (docs/benchmarks.md).
    return lambda message: behavior(message, rest)


def _guard(call: Call, wrap: Callable[[Any], CatgaResult[Any]], name: str) -> Chain:
    async def guarded(message: Any) -> CatgaResult[Any]:
        try:
            return wrap(await call(message))
        except Exception as error:  # noqa: BLE001 - every outcome but cancellation is a result
            return failure_of(error, name)

    return guarded


def _in_scope(chain: Chain, prepare: Sequence[Prepare], name: str) -> Chain:
    set_scope, reset_scope = active_scope.set, active_scope.reset

    async def scoped(message: Any) -> CatgaResult[Any]:
        scope = Scope()
        token = set_scope(scope)
        try:
            try:
                for each in prepare:
                    await each(scope)
                result = await chain(message)
            except BaseException as error:
                await scope.close(error)
                raise
            if scope.closers:
                await scope.close(cause_of(result))
        except Exception as error:  # noqa: BLE001 - a commit that fails is the message's failure
            return failure_of(error, name)
        finally:
            reset_scope(token)
        return result

    return scoped
