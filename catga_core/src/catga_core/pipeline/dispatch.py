"""The coroutine functions that run a pipeline: for a message that is sent from here, and for one that is delivered.

This is the hottest path of Catga, so its shapes are written out: one frame for a handler without behaviors. Binding the
context is most of what it costs over a hand-written `try: await handler.handle(message)` (docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from catga_core.errors import CatgaError, ErrorCode
from catga_core.messages.context import Unread, active_context, begin_context
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.pipeline.call import Call, Chain, Handle
from catga_core.pipeline.compiler import Pipeline
from catga_core.pipeline.failures import NOT_BARE_VALUES, as_result

# Globals, because each name that a closure holds is a slot in the frame of every message.
_peek, _enter, _leave = active_context.peek, active_context.set, active_context.reset


class Dispatch:
    """The entry of one pipeline; it counts what runs, and can be redirected while callers hold it.

    Args:
        pipeline: As compiled.
        context: Whether a `MessageContext` is bound while it runs.
        now: The container's time, for deadlines.

    Attributes:
        send: Handles a message in a context that continues the caller's.
        handle: Handles a message in the context that it was delivered with.
    """

    __slots__ = ("_redirect", "_running", "handle", "send")

    send: Chain
    handle: Handle

    def __init__(self, pipeline: Pipeline, *, context: bool, now: Callable[[], float]) -> None:
        if pipeline.bare is not None:
            call: Call = pipeline.bare
            fail: _Fail = lambda error: pipeline.fail(error, pipeline.name)  # noqa: E731 - one slot instead of two
        else:
            # It gives results and raises nothing but cancellation.
            call, fail = pipeline.chain, _passing
        make = _in_context if context else _without_context
        self.send, self.handle, self._redirect, self._running = make(call, fail, now)

    @property
    def in_flight(self) -> int:
        """How many messages are being handled."""
        return self._running()

    def redirect(self, target: Chain) -> None:
        """Send messages that come in by an earlier `send` somewhere else.

        Args:
            target: Gives a result and raises nothing but cancellation.
        """
        self._redirect(target)


_Fail: TypeAlias = Callable[[Exception], CatgaResult[Any]]
_Shape: TypeAlias = tuple[Chain, Handle, Callable[[Chain], None], Callable[[], int]]


def _in_context(call: Call, fail: _Fail, now: Callable[[], float]) -> _Shape:
    running = 0
    moved: Chain | None = None

    async def send(message: Any) -> CatgaResult[Any]:
        nonlocal running
        if moved is not None:
            return await moved(message)
        if _peek() is not None:
            return await send_nested(message)
        token = _enter(Unread())
        running += 1
        try:
            value = await call(message)
            return as_result(value) if value.__class__ in NOT_BARE_VALUES else Success(value)
        except Exception as error:  # noqa: BLE001 - every outcome but cancellation is a result
            return fail(error)
        finally:
            _leave(token)
            running -= 1

    async def send_nested(message: Any) -> CatgaResult[Any]:
        context = begin_context()
        if context.deadline is not None and context.deadline <= now():
            return Failure(deadline_passed(type(message).__name__))
        return await handle(message, context)

    async def handle(message: Any, context: MessageContext) -> CatgaResult[Any]:
        nonlocal running
        running += 1
        token = _enter(context)
        try:
            value = await call(message)
            return as_result(value) if value.__class__ in NOT_BARE_VALUES else Success(value)
        except Exception as error:  # noqa: BLE001 - as above
            return fail(error)
        finally:
            _leave(token)
            running -= 1

    def redirect(target: Chain) -> None:
        nonlocal moved
        moved = target

    return send, handle, redirect, lambda: running


def _without_context(call: Call, fail: _Fail, _now: Callable[[], float]) -> _Shape:
    running = 0

    async def send(message: Any) -> CatgaResult[Any]:
        nonlocal running
        if _peek() is not None:
            return await send_nested(message)
        running += 1
        try:
            value = await call(message)
            return as_result(value) if value.__class__ in NOT_BARE_VALUES else Success(value)
        except Exception as error:  # noqa: BLE001 - every outcome but cancellation is a result
            return fail(error)
        finally:
            running -= 1

    async def send_nested(message: Any) -> CatgaResult[Any]:
        # The surrounding message's context is not this one's.
        token = _enter(None)
        try:
            return await send(message)
        finally:
            _leave(token)

    def handle(message: Any, _context: MessageContext) -> Coroutine[Any, Any, CatgaResult[Any]]:
        return send(message)

    def redirect(target: Chain) -> None:
        nonlocal call
        # What it gives is a result, and passes through.
        call = target

    return send, handle, redirect, lambda: running


def _passing(error: Exception) -> CatgaResult[Any]:
    raise error


def deadline_passed(name: str) -> CatgaError:
    """Return the error for a message whose deadline has passed before it was handled."""
    return CatgaError(
        f"{name} was not started: its deadline had passed",
        code=ErrorCode.TIMEOUT,
        details={"outcome": "not_started"},
    )
