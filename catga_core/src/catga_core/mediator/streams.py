"""Runs a stream query: the pipeline opens the stream, and each item is fetched in the message's own surroundings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from catga_core.clock import Clock
from catga_core.context import active_context
from catga_core.errors import CatgaError, ErrorCode
from catga_core.interfaces.context import MessageContext
from catga_core.pipeline import Pipeline, cause_of, failure_of
from catga_core.results import CatgaResult, Failure
from catga_core.scope import Scope, active_scope


async def run_stream(
    pipeline: Pipeline, query: Any, context: MessageContext, clock: Clock
) -> AsyncIterator[Any]:
    """Yield a stream's items; the message's scope stays open until the last, or until the consumer leaves.

    Parameters:
        pipeline: opens the stream; it was compiled without a scope of its own.
        query: the message.
        context: its context; context and scope are bound only while an item is fetched, so that neither leaks into the
            consumer between two items.
        clock: measures what is left until the deadline.

    Raises:
        CatgaError: what the pipeline or the handler failed with, `TIMEOUT` after the deadline.
    """
    scope = Scope()
    ended_with: BaseException | None = None
    name = type(query).__name__
    items: Any = None
    try:
        opened = await _step(_open(pipeline, query, scope), context, scope, clock, name)
        if isinstance(opened, Failure):
            ended_with = cause_of(opened)
            raise opened.error
        items = opened.value
        while True:
            try:
                item = await _step(anext(items), context, scope, clock, name)
            except StopAsyncIteration:
                break
            yield item
    except GeneratorExit:
        # A consumer that has seen enough is no failure: the unit of work may end well.
        raise
    except CatgaError as error:
        ended_with = ended_with or error
        raise
    except Exception as error:
        ended_with = error
        raise failure_of(error, pipeline.name).error from error
    except BaseException as error:
        ended_with = error
        raise
    finally:
        with _entered(context, scope):
            try:
                if items is not None and hasattr(items, "aclose"):
                    await items.aclose()
            finally:
                await scope.close(ended_with)


async def _open(pipeline: Pipeline, query: Any, scope: Scope) -> CatgaResult[Any]:
    for prepare in pipeline.prepare:
        await prepare(scope)
    return await pipeline.chain(query)


async def _step(
    work: Coroutine[Any, Any, Any], context: MessageContext, scope: Scope, clock: Clock, name: str
) -> Any:
    with _entered(context, scope):
        if context.deadline is None:
            return await work
        try:
            async with asyncio.timeout(max(0.0, context.deadline - clock.time())) as limit:
                return await work
        except TimeoutError as error:
            if not limit.expired():
                raise
            msg = f"the stream of {name} was not finished by its deadline"
            raise CatgaError(msg, code=ErrorCode.TIMEOUT) from error


@contextmanager
def _entered(context: MessageContext, scope: Scope) -> Iterator[None]:
    context_token = active_context.set(context)
    scope_token = active_scope.set(scope)
    try:
        yield
    finally:
        active_scope.reset(scope_token)
        active_context.reset(context_token)
