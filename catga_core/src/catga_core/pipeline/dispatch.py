"""The coroutine functions that run a pipeline: for a message that is sent from here, and for one that is delivered.

This is the hottest path of Catga, so its shapes are written out: one frame around handler or behaviors. Binding the
context is most of what it costs over a hand-written `try: await handler.handle(message)` (docs/benchmarks.md).
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from types import CodeType
from typing import Any

from catga_core.errors import CatgaError, Outcome, RequestTimeoutError
from catga_core.messages.context import Unread, active_context, begin_context
from catga_core.messages.results import Failure, Success
from catga_core.pipeline.call import Chain, Handle
from catga_core.pipeline.compiler import Pipeline
from catga_core.pipeline.failures import NOT_BARE_VALUES, as_result, must_raise
from catga_core.pipeline.returned import returning


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

    __slots__ = ("_names", "_running", "handle", "send")

    send: Chain
    handle: Handle
    _running: Callable[[], int]

    def __init__(self, pipeline: Pipeline, *, context: bool, now: Callable[[], float]) -> None:
        self._names = _names(pipeline, context=context, now=now)
        self.send, self.handle, self._running = self._names["shape"]()

    @property
    def in_flight(self) -> int:
        """How many messages are being handled."""
        return self._running()

    def redirect(self, send: Chain, handle: Handle) -> None:
        """Handle messages somewhere else that come in by earlier calls of `send` and `handle`.

        Args:
            send: Gives a result and raises nothing but cancellation.
            handle: The same, in the context that it is given.
        """

        def first(message: Any, _rest: Any) -> Awaitable[Any]:
            return send(message)

        # Without a context `send` calls the target in the pipeline's place, and does not look at each message whether it
        # was redirected.
        self._names |= {"moved": send, "moved_in": handle, "call": send, "first": first}


# Written out for each pipeline, with the names that it uses as globals: as closures the same functions cost a twentieth
# more time and a tenth more memory for each message (docs/benchmarks.md).
_IN_CONTEXT = """
def shape():
    running = 0

    async def send(message):
        nonlocal running
        if moved is not None:
            return await moved(message)
        if peek() is not None:
            return await send_nested(message)
        bound = Unread()
        token = enter(bound)
        running += 1
        try:
            {run}
        except Exception as error:
            return {fail}
        except BaseException as error:
            if must_raise(error, bound):
                raise
            return {fail}
        finally:
            running -= 1
            leave(token)

    async def send_nested(message):
        context = begin_context()
        if context.deadline is not None and context.deadline <= now():
            return Failure(deadline_passed(type(message).__name__))
        return await handle(message, context)

    async def handle(message, context):
        nonlocal running
        if moved_in is not None:
            return await moved_in(message, context)
        running += 1
        token = enter(context)
        try:
            {run}
        except Exception as error:
            return {fail}
        except BaseException as error:
            if must_raise(error, context):
                raise
            return {fail}
        finally:
            running -= 1
            leave(token)

    return send, handle, lambda: running
"""
_WITHOUT_CONTEXT = """
def shape():
    running = 0

    async def send(message):
        nonlocal running
        if peek() is not None:
            return await send_nested(message)
        running += 1
        try:
            {run}
        except Exception as error:
            return {fail}
        except BaseException as error:
            if must_raise(error, None):
                raise
            return {fail}
        finally:
            running -= 1

    async def send_nested(message):
        # The surrounding message's context is not this one's.
        token = enter(None)
        try:
            return await send(message)
        finally:
            leave(token)

    async def handle(message, context):
        if moved_in is not None:
            return await moved_in(message, context)
        return await send(message)

    return send, handle, lambda: running
"""
_RUN_HANDLER = "v = await call(message)"
_INDENT = "\n            "
_RUN_BEHAVIORS = """result = await first(message, rest)
            return result if result.__class__ is Success or result.__class__ is Failure else wrong(result)"""
_RUN_CHAIN = "return await call(message)"


@functools.lru_cache(maxsize=1024)
def _code(shape: str, run: str, fail: str) -> CodeType:
    return compile(shape.format(run=run, fail=fail), "<dispatch>", "exec")


def _names(pipeline: Pipeline, *, context: bool, now: Callable[[], float]) -> dict[str, Any]:
    """Return the functions of a dispatch, among the names that they use."""
    names: dict[str, Any] = {
        "NOT_BARE_VALUES": NOT_BARE_VALUES,
        "Failure": Failure,
        "Success": Success,
        "Unread": Unread,
        "as_result": as_result,
        "begin_context": begin_context,
        "deadline_passed": deadline_passed,
        "enter": active_context.set,
        "leave": active_context.reset,
        "must_raise": must_raise,
        "moved": None,
        "moved_in": None,
        "now": now,
        "peek": active_context.peek,
    }
    shape = _IN_CONTEXT if context else _WITHOUT_CONTEXT
    if pipeline.linked is not None:
        linked = pipeline.linked
        names |= {"first": linked.first, "rest": linked.rest, "wrong": linked.wrong, "fail": linked.fail}
        code = _code(shape, _RUN_BEHAVIORS, "fail(error)")
    elif pipeline.bare is not None:
        returned = pipeline.returned
        names |= {"call": pipeline.bare, "fail": pipeline.fail, "name": pipeline.name}
        names |= returned.names
        code = _code(shape, _INDENT.join([_RUN_HANDLER, *returning(returned)]), "fail(error, name)")
    else:
        names |= {"call": pipeline.chain, "fail": pipeline.fail, "name": pipeline.name}
        code = _code(shape, _RUN_CHAIN, "fail(error, name)")
    # Nothing of the application is in the text.
    exec(code, names)  # noqa: S102
    return names


def deadline_passed(name: str) -> CatgaError:
    """Return the error for a message whose deadline has passed before it was handled."""
    return RequestTimeoutError(
        f"{name} was not started: its deadline had passed. Retry with a longer timeout.",
        outcome=Outcome.NOT_STARTED,
    )
