"""The coroutine functions a mediator calls: the few shapes of "run this pipeline", each with no more than it needs.

This is the hottest path of Catga, so its shapes are written out. Beside a hand-written `try: await handler.handle(m)`
the bare shape costs nothing, counting 7 %, the context 100 % (docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from catga_core.errors import CatgaError, ErrorCode
from catga_core.messages.context import active_context, begin_context
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure
from catga_core.pipeline.compiler import Pipeline
from catga_core.pipeline.way import Call, Chain, Fail, Way


class Dispatch:
    """A message type's way to its handler, which can be laid anew while callers keep hold of it.

    `call` is handed out to mediators and senders; what is in flight when the way is laid anew ends on the old one.
    """

    __slots__ = ("_lay", "_running", "call")

    call: Chain

    def __init__(self, pipeline: Pipeline, *, context: bool, now: Callable[[], float]) -> None:
        self.call, self._lay, self._running = _shape(pipeline, context=context, now=now)

    @property
    def in_flight(self) -> int:
        """How many messages are being handled that may still wait."""
        return self._running()

    def redirect(self, target: Chain) -> None:
        """Send what comes in by an earlier `call` on another way.

        Parameters:
            target: gives a result and raises nothing but cancellation.
        """
        self._lay(target)


def _shape(pipeline: Pipeline, *, context: bool, now: Callable[[], float]) -> Way:
    if context:
        return _with_context(pipeline.chain, now)
    if pipeline.way is not None:
        return pipeline.way
    if pipeline.bare is not None:
        shape = _bare_counted if pipeline.may_suspend else _bare
        return shape(pipeline.bare, pipeline.wrap, pipeline.name, pipeline.fail)
    return _counted(pipeline.chain)


def _bare(call: Call, wrap: Callable[[Any], CatgaResult[Any]], name: str, fail: Fail) -> Way:
    async def dispatch(message: Any) -> CatgaResult[Any]:
        try:
            return wrap(await call(message))
        except Exception as error:  # noqa: BLE001 - every outcome but cancellation is a result
            return fail(error, name)

    def lay(target: Chain) -> None:
        nonlocal call, wrap
        call, wrap = target, _same

    return Way(dispatch, lay, _none_running)


def _bare_counted(call: Call, wrap: Callable[[Any], CatgaResult[Any]], name: str, fail: Fail) -> Way:
    running = 0

    async def dispatch(message: Any) -> CatgaResult[Any]:
        nonlocal running
        running += 1
        try:
            return wrap(await call(message))
        except Exception as error:  # noqa: BLE001 - every outcome but cancellation is a result
            return fail(error, name)
        finally:
            running -= 1

    def lay(target: Chain) -> None:
        nonlocal call, wrap
        call, wrap = target, _same

    return Way(dispatch, lay, lambda: running)


def _counted(chain: Chain) -> Way:
    running = 0

    async def dispatch(message: Any) -> CatgaResult[Any]:
        nonlocal running
        running += 1
        try:
            return await chain(message)
        finally:
            running -= 1

    def lay(target: Chain) -> None:
        nonlocal chain
        chain = target

    return Way(dispatch, lay, lambda: running)


def _with_context(chain: Chain, now: Callable[[], float]) -> Way:
    running = 0
    moved: Chain | None = None
    enter, leave = active_context.set, active_context.reset

    async def dispatch(message: Any) -> CatgaResult[Any]:
        nonlocal running
        if moved is not None:
            # The new way makes the context itself; made twice, the message would be its own cause.
            return await moved(message)
        context = begin_context()
        if context.deadline is not None and context.deadline <= now():
            return Failure(deadline_passed(type(message).__name__))
        running += 1
        token = enter(context)
        try:
            return await chain(message)
        finally:
            leave(token)
            running -= 1

    def lay(target: Chain) -> None:
        nonlocal moved
        moved = target

    return Way(dispatch, lay, lambda: running)


async def run_in_context(chain: Chain, message: Any, context: MessageContext) -> CatgaResult[Any]:
    """Run a pipeline for a message whose context is given: from the wire, or by the sender's options."""
    token = active_context.set(context)
    try:
        return await chain(message)
    finally:
        active_context.reset(token)


def deadline_passed(name: str) -> CatgaError:
    """Return the error for a message nobody waits for any more."""
    return CatgaError(
        f"{name} was not started: its deadline had passed",
        code=ErrorCode.TIMEOUT,
        details={"outcome": "not_started"},
    )


def _same(value: Any) -> Any:
    return value


def _none_running() -> int:
    return 0
