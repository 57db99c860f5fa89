"""Runs a stream query: the pipeline opens the stream, and each item is fetched in the message's own surroundings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import contextmanager
from typing import Any

from catga_core.clock import Clock
from catga_core.errors import CatgaError, ErrorCode
from catga_core.mediator.routes import Route
from catga_core.messages.context import active_context
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import Failure
from catga_core.pipeline import Pipeline, failure_of, must_raise
from catga_core.runtime.cancellation import passes_through
from catga_core.runtime.scope import Scope, active_scope


async def run_stream(
    route: Route, query: Any, context: MessageContext, clock: Clock
) -> AsyncGenerator[Any, None]:
    """Yield a stream's items; the message's scope stays open until the last, or until the consumer leaves.

    Args:
        route: Its pipeline opens the stream, which was compiled without a scope of its own; its check passes each item.
        query: The message.
        context: Its context; context and scope are bound only while an item is fetched, so that neither leaks into the
            consumer between two items.
        clock: Measures what is left until the deadline.

    Raises:
        CatgaError: What the pipeline or the handler failed with, `TIMEOUT` after the deadline.
    """
    pipeline, check = route.pipeline, route.check
    scope = Scope()
    name = type(query).__name__
    items: Any = None
    waits = False
    try:
        items = await _step(_open(pipeline, query, scope), context, scope, clock, name)
        while True:
            try:
                item = await _step(anext(items), context, scope, clock, name)
            except StopAsyncIteration:
                break
            if check is not None:
                with _entered(context, scope):
                    item = check(item)
            waits = True
            yield item
            waits = False
    except BaseException as error:
        if waits and isinstance(error, GeneratorExit):
            # A consumer that stops early is not a failure: the unit of work may commit.
            await _finish(items, context, scope, pipeline.name)
            raise
        # A unit of work decides by what the handler raised, not by the error made of it.
        cause = (error.__cause__ if isinstance(error, CatgaError) else None) or error
        with _entered(context, scope):
            await _close(items, error)
            await scope.abandon(cause)
        if passes_through(error) or isinstance(error, CatgaError):
            raise
        failed = pipeline.fail(error, pipeline.name).error
        raise failed from failed.__cause__
    await _finish(items, context, scope, pipeline.name)


async def _open(pipeline: Pipeline, query: Any, scope: Scope) -> Any:
    for prepare in pipeline.prepare:
        await prepare(scope)
    opened = await pipeline.chain(query)
    if isinstance(opened, Failure):
        raise opened.error
    return aiter(opened.value)


async def _finish(items: Any, context: MessageContext, scope: Scope, name: str) -> None:
    """Close a stream that ended well; a commit that fails is the message's failure."""
    with _entered(context, scope):
        try:
            await _close(items, None)
            await scope.close(None)
        except CatgaError:
            raise
        except Exception as error:  # noqa: BLE001 - raised on as a CatgaError
            failed = failure_of(error, name).error
            raise failed from failed.__cause__


async def _close(items: Any, failed: BaseException | None) -> None:
    if hasattr(items, "aclose"):
        try:
            await items.aclose()
        except Exception as also:
            if failed is None:
                raise
            failed.add_note(f"closing the stream failed too: {type(also).__name__}: {also}")


async def _step(
    work: Coroutine[Any, Any, Any], context: MessageContext, scope: Scope, clock: Clock, name: str
) -> Any:
    if context.deadline is None:
        return await _entering(work, context, scope, name)
    left = context.deadline - clock.time()
    if left <= 0:
        work.close()
        raise _late(name)
    limit = asyncio.timeout(left)
    try:
        async with limit:
            return await _entering(work, context, scope, name)
    except TimeoutError:
        if not limit.expired():
            raise
        raise _late(name) from None


async def _entering(work: Coroutine[Any, Any, Any], context: MessageContext, scope: Scope, name: str) -> Any:
    with _entered(context, scope):
        try:
            return await work
        except GeneratorExit as error:
            if must_raise(error, context):
                raise
            raise failure_of(error, name).error from error


def _late(name: str) -> CatgaError:
    return CatgaError(
        f"The stream of {name} did not finish before its deadline. Retry with a longer timeout.",
        code=ErrorCode.TIMEOUT,
    )


@contextmanager
def _entered(context: MessageContext, scope: Scope) -> Generator[None, None, None]:
    context_token = active_context.set(context)
    scope_token = active_scope.set(scope)
    try:
        yield
    finally:
        active_scope.reset(scope_token)
        active_context.reset(context_token)
